// What the payloads of the log's records hold: a segment's place in the log, and the entries of one group commit. Pure.

import type { SegmentPlace } from "./segment.ts";

/** "TSWL", then the version of this form. */
const MAGIC = 0x5453574c;
const VERSION = 1;
const SEGMENT_BYTES = 24;
const ENTRIES_HEADER_BYTES = 12;

export interface EntryBatch {
  readonly firstIndex: number;
  readonly entries: readonly Uint8Array[];
}

export function encodeSegment(place: SegmentPlace): Uint8Array {
  const bytes = Buffer.alloc(SEGMENT_BYTES);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(VERSION, 4);
  bytes.writeBigUInt64BE(BigInt(place.segment), 8);
  bytes.writeBigUInt64BE(BigInt(place.firstIndex), 16);
  return bytes;
}

/** Undefined when it is none, or of another version. */
export function decodeSegment(payload: Uint8Array): SegmentPlace | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  if (bytes.length !== SEGMENT_BYTES || bytes.readUInt32BE(0) !== MAGIC || bytes.readUInt32BE(4) !== VERSION)
    return undefined;
  return { segment: Number(bytes.readBigUInt64BE(8)), firstIndex: Number(bytes.readBigUInt64BE(16)) };
}

/** Bytes that these entries take as one payload. */
export function entriesBytes(lengths: { readonly count: number; readonly bytes: number }): number {
  return ENTRIES_HEADER_BYTES + 4 * lengths.count + lengths.bytes;
}

export function encodeEntries(batch: EntryBatch): Uint8Array {
  const total = batch.entries.reduce((sum, entry) => sum + entry.length, 0);
  const bytes = Buffer.alloc(entriesBytes({ count: batch.entries.length, bytes: total }));
  bytes.writeBigUInt64BE(BigInt(batch.firstIndex), 0);
  bytes.writeUInt32BE(batch.entries.length, 8);
  let at = ENTRIES_HEADER_BYTES;
  for (const entry of batch.entries) {
    bytes.writeUInt32BE(entry.length, at);
    bytes.set(entry, at + 4);
    at += 4 + entry.length;
  }
  return bytes;
}

/** The entries are views of `payload`. Undefined when it is no such payload. */
export function decodeEntries(payload: Uint8Array): EntryBatch | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  if (bytes.length < ENTRIES_HEADER_BYTES) return undefined;
  const count = bytes.readUInt32BE(8);
  const entries: Uint8Array[] = [];
  let at = ENTRIES_HEADER_BYTES;
  while (entries.length < count) {
    if (at + 4 > bytes.length) return undefined;
    const length = bytes.readUInt32BE(at);
    if (length > bytes.length - at - 4) return undefined;
    entries.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return at === bytes.length ? { firstIndex: Number(bytes.readBigUInt64BE(0)), entries } : undefined;
}
