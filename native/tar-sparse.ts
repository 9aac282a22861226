// Maps of sparse files: the old GNU form (in the header), PAX 0.x (in a record) and PAX 1.0 (before the data).

import { numberField } from "./tar-header.ts";
import { TAR_BLOCK, tarError, tarTooLarge } from "./tar-entry.ts";

/** A run of data; all between the pieces are holes. In bytes. */
export interface SparsePiece {
  readonly position: number;
  readonly length: number;
}

/** Pieces in one block of the old form: `count` slots from `at` on; a slot without a length field ends them. */
export function oldSparsePieces(
  block: Buffer,
  slots: { readonly at: number; readonly count: number; readonly offset: number },
): SparsePiece[] {
  const pieces: SparsePiece[] = [];
  for (let index = 0; index < slots.count; index++) {
    const at = slots.at + index * 24;
    if (block[at] === 0 || block[at + 12] === 0) break;
    pieces.push({
      position: numberField(block, { at, length: 12, offset: slots.offset, what: "sparse map" }),
      length: numberField(block, { at: at + 12, length: 12, offset: slots.offset, what: "sparse map" }),
    });
  }
  return pieces;
}

/** Pieces from a "GNU.sparse.map" record: "position,length,position,length". */
export function recordSparsePieces(record: Buffer, offset: number): SparsePiece[] {
  const text = record.toString("latin1");
  const numbers = text === "" ? [] : text.split(",").map((digits) => decimal(digits, offset));
  return pairs(numbers, offset);
}

/** Reads the map of the 1.0 form, a line per number, block by block. */
export class SparseMapText {
  readonly #offset: number;
  readonly #piecesMax: number;
  readonly #numbers: number[] = [];
  #line = "";

  constructor(options: { readonly offset: number; readonly piecesMax: number }) {
    this.#offset = options.offset;
    this.#piecesMax = options.piecesMax;
  }

  /** Takes one more block; the pieces once the map is whole, undefined when it goes on. */
  take(block: Buffer): SparsePiece[] | undefined {
    for (const byte of block.subarray(0, TAR_BLOCK)) {
      if (byte !== 0x0a) {
        this.#line += String.fromCharCode(byte);
        if (this.#line.length > 20) throw tarError(this.#offset, "the map of a sparse file is not made of numbers");
        continue;
      }
      this.#numbers.push(decimal(this.#line, this.#offset));
      this.#line = "";
      const count = this.#numbers[0] ?? 0;
      if (count > this.#piecesMax) throw tooMany(this.#offset);
      if (this.#numbers.length === 1 + 2 * count) return pairs(this.#numbers.slice(1), this.#offset);
    }
    return undefined;
  }
}

/** Throws SwarmError unless the pieces rise, stay inside the file and hold exactly the data that follows. */
export function checkPieces(
  pieces: readonly SparsePiece[],
  file: { readonly sizeBytes: number; readonly dataBytes: number; readonly offset: number; readonly piecesMax: number },
): void {
  if (pieces.length > file.piecesMax) throw tooMany(file.offset);
  let end = 0;
  let data = 0;
  for (const piece of pieces) {
    if (piece.position < end || piece.length < 0)
      throw tarError(file.offset, "the map of a sparse file is out of order");
    end = piece.position + piece.length;
    data += piece.length;
    if (end > file.sizeBytes) throw tarError(file.offset, "the map of a sparse file goes beyond its end");
  }
  if (data !== file.dataBytes) throw tarError(file.offset, "the map of a sparse file does not match its data");
}

function tooMany(offset: number): Error {
  return tarTooLarge(offset, "a sparse file has too many pieces");
}

function decimal(digits: string, offset: number): number {
  const value = /^[0-9]{1,16}$/.test(digits) ? Number(digits) : NaN;
  if (!Number.isSafeInteger(value)) throw tarError(offset, "the map of a sparse file is not made of numbers");
  return value;
}

function pairs(numbers: readonly number[], offset: number): SparsePiece[] {
  if (numbers.length % 2 !== 0) throw tarError(offset, "the map of a sparse file has half a piece");
  const pieces: SparsePiece[] = [];
  for (let index = 0; index < numbers.length; index += 2) {
    pieces.push({ position: numbers[index] ?? 0, length: numbers[index + 1] ?? 0 });
  }
  return pieces;
}
