// Reads a tar archive that arrives in pieces of any size: v7, ustar, star, GNU (long names, sparse) and PAX. Pure: bytes in,
// calls on a sink out; no file, no clock. Whatever the bytes are, it either tells entries or throws SwarmError saying where.

import { assert } from "../proto/base/assert.ts";
import { decodeHeader, isZeroBlock, numberField, type TarHeader } from "./tar-header.ts";
import { decodePax, paxName, paxNumber, paxTimeNs, paxXattrs, type PaxRecords } from "./tar-pax.ts";
import { checkPieces, oldSparsePieces, recordSparsePieces, SparseMapText, type SparsePiece } from "./tar-sparse.ts";
import {
  padded,
  shownName,
  TAR_BLOCK,
  TAR_LIMITS,
  tarError,
  tarTooLarge,
  type TarKind,
  type TarLimits,
  type TarSink,
} from "./tar-entry.ts";

/** What the parser needs next: exactly so many bytes at once, or whatever is there up to a number. */
type Want = { readonly kind: "exact"; readonly bytes: number } | { readonly kind: "upTo"; readonly bytes: number };
type Parse<T> = Generator<Want, T, Buffer>;

/** Headers that came before the entry they describe. */
interface Pending {
  readonly records: PaxRecords | undefined;
  readonly longPath: string | undefined;
  readonly longLink: string | undefined;
}

const NOTHING_PENDING: Pending = { records: undefined, longPath: undefined, longLink: undefined };

const KINDS: ReadonlyMap<string, TarKind> = new Map([
  ["0", "file"],
  ["7", "file"],
  ["S", "file"],
  ["1", "hardlink"],
  ["2", "symlink"],
  ["3", "character"],
  ["4", "block"],
  ["5", "directory"],
  ["6", "fifo"],
]);

export class TarReader {
  readonly #sink: TarSink;
  readonly #limits: TarLimits;
  readonly #parse: Parse<void>;
  #want: Want | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #received = 0;
  /** Bytes the parser has taken: where it is in the archive. */
  #at = 0;
  /** True where an archive may end. */
  #mayEnd = true;
  #entries = 0;

  constructor(sink: TarSink, limits: TarLimits = TAR_LIMITS) {
    this.#sink = sink;
    this.#limits = limits;
    this.#parse = this.#archive();
    this.#want = undefined;
    this.#step(Buffer.alloc(0));
  }

  /** Entries told so far. */
  get entries(): number {
    return this.#entries;
  }

  /** Takes the next bytes. Throws SwarmError when they are no tar; what the sink throws comes out as it is. */
  push(chunk: Uint8Array): void {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#received += rest.length;
    if (this.#received > this.#limits.archiveBytesMax) {
      throw tarTooLarge(this.#received, `it is longer than ${this.#limits.archiveBytesMax} bytes`);
    }
    while (rest.length > 0 && this.#want !== undefined) {
      if (this.#want.kind === "upTo") {
        const piece = rest.subarray(0, this.#want.bytes);
        rest = rest.subarray(piece.length);
        this.#step(piece);
        continue;
      }
      const missing = this.#want.bytes - this.#heldBytes;
      const piece = rest.subarray(0, missing);
      rest = rest.subarray(piece.length);
      if (piece.length === missing && this.#heldBytes === 0) {
        this.#step(piece);
        continue;
      }
      // The caller may use its buffer again: what is kept is copied.
      this.#held.push(Buffer.from(piece));
      this.#heldBytes += piece.length;
      if (this.#heldBytes < this.#want.bytes) continue;
      const whole = Buffer.concat(this.#held);
      this.#held = [];
      this.#heldBytes = 0;
      this.#step(whole);
    }
  }

  /** Says that no more bytes come. Throws SwarmError when the archive was cut off. */
  finish(): void {
    if (this.#want === undefined || (this.#mayEnd && this.#heldBytes === 0)) return;
    throw tarError(this.#received, "it ends in the middle of an entry");
  }

  #step(bytes: Buffer): void {
    this.#at += bytes.length;
    const next = this.#parse.next(bytes);
    this.#want = next.done === true ? undefined : next.value;
  }

  *#exact(bytes: number): Parse<Buffer> {
    return bytes === 0 ? Buffer.alloc(0) : yield { kind: "exact", bytes };
  }

  *#archive(): Parse<void> {
    let globals: PaxRecords = new Map();
    let pending = NOTHING_PENDING;
    // The first step only starts the parser.
    for (;;) {
      this.#mayEnd = pending === NOTHING_PENDING;
      const offset = this.#at;
      const block = yield* this.#exact(TAR_BLOCK);
      this.#mayEnd = false;
      if (isZeroBlock(block)) {
        if (pending !== NOTHING_PENDING) throw tarError(offset, "an extended header describes nothing");
        this.#mayEnd = true;
        if (!isZeroBlock(yield* this.#exact(TAR_BLOCK))) throw tarError(offset, "an empty block is followed by more");
        return;
      }
      const header = decodeHeader(block, offset);
      switch (header.type) {
        case "x":
        case "X":
          pending = { ...pending, records: decodePax(yield* this.#meta(header, offset), offset) };
          break;
        case "g":
          globals = merge(globals, decodePax(yield* this.#meta(header, offset), offset));
          if (sizeOf(globals) > this.#limits.headerBytesMax)
            throw tarTooLarge(offset, "its global headers are too long");
          break;
        case "L":
          pending = { ...pending, longPath: cString(yield* this.#meta(header, offset)) };
          break;
        case "K":
          pending = { ...pending, longLink: cString(yield* this.#meta(header, offset)) };
          break;
        case "V":
          yield* this.#skip(padded(header.size));
          break;
        default:
          yield* this.#member(header, { globals, pending, offset });
          pending = NOTHING_PENDING;
      }
    }
  }

  /** The body of a header that describes another. */
  *#meta(header: TarHeader, offset: number): Parse<Buffer> {
    if (header.size > this.#limits.headerBytesMax) {
      throw tarTooLarge(offset, `an extended header is longer than ${this.#limits.headerBytesMax} bytes`);
    }
    return Buffer.from((yield* this.#exact(padded(header.size))).subarray(0, header.size));
  }

  *#skip(bytes: number): Parse<void> {
    let left = bytes;
    while (left > 0) left -= (yield { kind: "upTo", bytes: left }).length;
  }

  /** One entry with its data. */
  *#member(
    header: TarHeader,
    context: { readonly globals: PaxRecords; readonly pending: Pending; readonly offset: number },
  ): Parse<void> {
    const { pending, offset } = context;
    if (++this.#entries > this.#limits.entriesMax) {
      throw tarTooLarge(offset, `it has more than ${this.#limits.entriesMax} entries`);
    }
    const records = pending.records === undefined ? context.globals : merge(context.globals, pending.records);
    let path = paxName(records, "path", offset) ?? pending.longPath ?? header.path;
    let kind = KINDS.get(header.type);
    if (kind === undefined)
      throw tarError(offset, `${shownName(path)} is of an unknown type ${JSON.stringify(header.type)}`);
    if (kind === "file" && header.oldType && path.endsWith("/")) kind = "directory";
    const linkPath =
      kind === "symlink" || kind === "hardlink"
        ? (paxName(records, "linkpath", offset) ?? pending.longLink ?? header.linkPath)
        : "";
    // Only files carry data, whatever the size field of the others says.
    const stored = kind === "file" ? (paxNumber(records, "size", offset) ?? header.size) : 0;
    let sizeBytes = stored;
    let dataBytes = stored;
    let pieces: readonly SparsePiece[] | undefined;
    if (kind === "file" && header.type === "S") {
      sizeBytes = numberField(header.block, { at: 483, length: 12, offset, what: "real size" });
      pieces = yield* this.#oldSparseMap(header.block, offset);
    } else if (kind === "file" && paxNumber(records, "GNU.sparse.major", offset) === 1) {
      path = paxName(records, "GNU.sparse.name", offset) ?? path;
      sizeBytes = paxNumber(records, "GNU.sparse.realsize", offset) ?? stored;
      const map = yield* this.#sparseMapBlocks(stored, offset);
      pieces = map.pieces;
      dataBytes -= map.bytes;
    } else if (kind === "file" && records.has("GNU.sparse.map")) {
      path = paxName(records, "GNU.sparse.name", offset) ?? path;
      sizeBytes = paxNumber(records, "GNU.sparse.size", offset) ?? stored;
      pieces = recordSparsePieces(records.get("GNU.sparse.map") ?? Buffer.alloc(0), offset);
    }
    if (path === "") throw tarError(offset, "an entry has no name");
    if (sizeBytes < 0) throw tarError(offset, `the size of ${shownName(path)} is negative`);
    if (pieces !== undefined) {
      checkPieces(pieces, { sizeBytes, dataBytes, offset, piecesMax: this.#limits.sparsePiecesMax });
    }
    this.#sink.entry({
      kind,
      path,
      linkPath,
      sizeBytes,
      sparse: pieces !== undefined,
      mode: header.mode,
      ...owner(header, records, offset),
      mtimeNs: paxTimeNs(records, "mtime", offset) ?? headerTimeNs(header, offset),
      ...device(kind, header, offset),
      xattrs: paxXattrs(records),
      offset,
      dataOffset: this.#at,
    });
    for (const piece of pieces ?? [{ position: 0, length: dataBytes }]) yield* this.#piece(piece);
    yield* this.#skip(padded(dataBytes) - dataBytes);
    this.#sink.end();
  }

  *#piece(piece: SparsePiece): Parse<void> {
    let done = 0;
    while (done < piece.length) {
      const bytes = yield { kind: "upTo", bytes: piece.length - done };
      assert(bytes.length > 0, "the reader feeds its parser only with bytes");
      this.#sink.data(bytes, piece.position + done);
      done += bytes.length;
    }
  }

  /** The map of the old GNU form: four pieces in the header, 21 in each further block. */
  *#oldSparseMap(header: Buffer, offset: number): Parse<SparsePiece[]> {
    const pieces = oldSparsePieces(header, { at: 386, count: 4, offset });
    let goesOn = header[482] !== 0;
    while (goesOn) {
      if (pieces.length > this.#limits.sparsePiecesMax) throw tarTooLarge(offset, "a sparse file has too many pieces");
      const block = yield* this.#exact(TAR_BLOCK);
      const found = oldSparsePieces(block, { at: 0, count: 21, offset });
      goesOn = block[504] !== 0;
      if (goesOn && found.length === 0) throw tarError(offset, "the map of a sparse file has an empty block");
      pieces.push(...found);
    }
    return pieces;
  }

  /** The map of the PAX 1.0 form, which is the first part of the data. */
  *#sparseMapBlocks(
    dataBytes: number,
    offset: number,
  ): Parse<{ readonly pieces: readonly SparsePiece[]; readonly bytes: number }> {
    const text = new SparseMapText({ offset, piecesMax: this.#limits.sparsePiecesMax });
    for (let bytes = TAR_BLOCK; bytes <= dataBytes; bytes += TAR_BLOCK) {
      const pieces = text.take(yield* this.#exact(TAR_BLOCK));
      if (pieces !== undefined) return { pieces, bytes };
    }
    throw tarError(offset, "the map of a sparse file is cut off");
  }
}

/** Records over records; an empty one takes the key away, except that an extended attribute may be empty. */
function merge(base: PaxRecords, over: PaxRecords): PaxRecords {
  const merged = new Map(base);
  for (const [key, value] of over) {
    if (value.length === 0 && !key.startsWith("SCHILY.xattr.")) merged.delete(key);
    else merged.set(key, value);
  }
  return merged;
}

function sizeOf(records: PaxRecords): number {
  let bytes = 0;
  for (const [key, value] of records) bytes += key.length + value.length;
  return bytes;
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("latin1", 0, end < 0 ? bytes.length : end);
}

/** The largest user and group id of Linux; the one above means "leave as it is" to chown. */
const ID_MAX = 0xffff_fffe;

function owner(header: TarHeader, records: PaxRecords, offset: number): { readonly uid: number; readonly gid: number } {
  const uid =
    paxNumber(records, "uid", offset) ?? numberField(header.block, { at: 108, length: 8, offset, what: "user id" });
  const gid =
    paxNumber(records, "gid", offset) ?? numberField(header.block, { at: 116, length: 8, offset, what: "group id" });
  if (uid < 0 || uid > ID_MAX || gid < 0 || gid > ID_MAX) throw tarError(offset, "a user or group id is out of range");
  return { uid, gid };
}

function headerTimeNs(header: TarHeader, offset: number): bigint {
  return BigInt(numberField(header.block, { at: 136, length: 12, offset, what: "time" })) * 1_000_000_000n;
}

function device(
  kind: TarKind,
  header: TarHeader,
  offset: number,
): { readonly deviceMajor: number; readonly deviceMinor: number } {
  if (kind !== "character" && kind !== "block") return { deviceMajor: 0, deviceMinor: 0 };
  const deviceMajor = numberField(header.block, { at: 329, length: 8, offset, what: "device number" });
  const deviceMinor = numberField(header.block, { at: 337, length: 8, offset, what: "device number" });
  if (deviceMajor < 0 || deviceMajor > 0xfff || deviceMinor < 0 || deviceMinor > 0xfffff) {
    throw tarError(offset, "a device number is out of range");
  }
  return { deviceMajor, deviceMinor };
}
