// One 512-byte tar header: v7, ustar, star and GNU. Decodes fields and checks the sum; knows nothing of what follows it.

import { TAR_BLOCK, tarError } from "./tar-entry.ts";

/** The fields of a header as stored. Names are byte strings. */
export interface TarHeader {
  /** One character; "0" for the old NUL type. */
  readonly type: string;
  /** The type byte was NUL, where old archives mark a directory by a slash at the end of the name. */
  readonly oldType: boolean;
  readonly path: string;
  readonly linkPath: string;
  /** In bytes, of what follows the header. */
  readonly size: number;
  readonly mode: number;
  readonly block: Buffer;
}

export function isZeroBlock(block: Uint8Array): boolean {
  for (const byte of block) if (byte !== 0) return false;
  return true;
}

/** Decodes `block`, which begins at `offset` in the archive. Throws SwarmError when it is no header. */
export function decodeHeader(block: Buffer, offset: number): TarHeader {
  checkSum(block, offset);
  const typeByte = block[156] ?? 0;
  const size = numberField(block, { at: 124, length: 12, offset, what: "size" });
  if (size < 0) throw tarError(offset, "a size is negative");
  const name = text(block, 0, 100);
  const prefix = pathPrefix(block);
  return {
    type: typeByte === 0 ? "0" : String.fromCharCode(typeByte),
    oldType: typeByte === 0,
    path: prefix === "" ? name : `${prefix}/${name}`,
    linkPath: text(block, 157, 100),
    size,
    mode: numberField(block, { at: 100, length: 8, offset, what: "mode" }) & 0o7777,
    block,
  };
}

/** NUL-terminated field as a byte string. */
function text(block: Buffer, at: number, length: number): string {
  const field = block.toString("latin1", at, at + length);
  const end = field.indexOf("\0");
  return end < 0 ? field : field.slice(0, end);
}

/** ustar splits long names in two; GNU uses that room for other things, star a shorter part of it. */
function pathPrefix(block: Buffer): string {
  const magic = block.toString("latin1", 257, 265);
  if (!magic.startsWith("ustar") || magic === "ustar  \0") return "";
  const isStar = block.toString("latin1", 508, 512) === "tar\0";
  return text(block, 345, isStar ? 131 : 155);
}

/** A number in octal digits, or in base 256 (GNU) where the first bit is set. Always a safe integer. */
export function numberField(
  block: Uint8Array,
  field: { readonly at: number; readonly length: number; readonly offset: number; readonly what: string },
): number {
  const bytes = block.subarray(field.at, field.at + field.length);
  const first = bytes[0] ?? 0;
  if ((first & 0x80) !== 0) {
    const raw = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const bits = BigInt(field.length * 8);
    const value = Number((first & 0x40) === 0 ? raw & ~(1n << (bits - 1n)) : BigInt.asIntN(Number(bits), raw));
    if (!Number.isSafeInteger(value)) throw tarError(field.offset, `the ${field.what} of an entry is out of range`);
    return value;
  }
  const digits = Buffer.from(bytes)
    .toString("latin1")
    .replace(/^[\0 ]+/, "")
    .replace(/[\0 ][^]*$/, "");
  if (!/^[0-7]*$/.test(digits)) throw tarError(field.offset, `the ${field.what} of an entry is not a number`);
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function checkSum(block: Uint8Array, offset: number): void {
  let unsigned = 0;
  let signed = 0;
  for (let index = 0; index < TAR_BLOCK; index++) {
    const byte = index >= 148 && index < 156 ? 32 : (block[index] ?? 0);
    unsigned += byte;
    // Some old programs summed signed bytes.
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stored = numberField(block, { at: 148, length: 8, offset, what: "checksum" });
  if (stored !== unsigned && stored !== signed)
    throw tarError(offset, "the checksum of a header is wrong (is it a tar?)");
}
