// What the payloads of Raft's records hold, before they are sealed: a segment's head (who this log belongs to and where the
// segment begins), entries with the hard state, and a snapshot that was installed. Pure. Numbers are big-endian.

import type { Entry, EntryType, HardState, Index, RaftId, Term } from "raft-ts";

/** What never changes in a log; in the first record of each of its files. */
export interface StorageMeta {
  readonly raftId: RaftId;
  readonly nodeId: string;
  readonly clusterId: string;
}

export interface Place {
  readonly index: Index;
  readonly term: Term;
}

/** All that the segments before this one say and that may be needed once they are gone. */
export interface SegmentHead {
  readonly meta: StorageMeta;
  readonly hard: HardState;
  /** Of the last entry before. */
  readonly base: Place;
}

/** Entries follow each other and replace what stands at their indices and after. */
export interface Batch {
  /** Null: as it was. */
  readonly hard: HardState | null;
  readonly entries: readonly Entry[];
}

const HEAD_FIXED_BYTES = 7 * 8;
const HARD_BYTES = 3 * 8;
/** A flag, the hard state, the first index, the count. */
const BATCH_FIXED_BYTES = 1 + HARD_BYTES + 8 + 4;
const ENTRY_FIXED_BYTES = 8 + 1 + 4;
const PLACE_BYTES = 2 * 8;

export function encodeHead({ meta, hard, base }: SegmentHead): Uint8Array {
  const names = [Buffer.from(meta.nodeId), Buffer.from(meta.clusterId)];
  const fixed = Buffer.alloc(HEAD_FIXED_BYTES);
  const numbers = [meta.raftId, hard.term, hard.vote, hard.commit, base.index, base.term];
  for (const [at, number] of numbers.entries()) writeNumber(fixed, { number, at: at * 8 });
  for (const [at, name] of names.entries()) fixed.writeUInt16BE(name.length, 48 + at * 2);
  return Buffer.concat([fixed, ...names]);
}

/** Undefined when it is none. */
export function decodeHead(payload: Uint8Array): SegmentHead | undefined {
  const bytes = view(payload);
  if (bytes.length < HEAD_FIXED_BYTES) return undefined;
  const nodeEnd = HEAD_FIXED_BYTES + bytes.readUInt16BE(48);
  const clusterEnd = nodeEnd + bytes.readUInt16BE(50);
  const [raftId, term, vote, commit, index, baseTerm] = readNumbers(bytes, { count: 6, at: 0 }) ?? [];
  if (clusterEnd !== bytes.length || raftId === undefined || term === undefined || vote === undefined) return undefined;
  if (commit === undefined || index === undefined || baseTerm === undefined) return undefined;
  const nodeId = bytes.toString("utf8", HEAD_FIXED_BYTES, nodeEnd);
  const clusterId = bytes.toString("utf8", nodeEnd, clusterEnd);
  return { meta: { raftId, nodeId, clusterId }, hard: { term, vote, commit }, base: { index, term: baseTerm } };
}

/** Bytes that one entry takes in a batch. */
export function entryPayloadBytes(entry: Entry): number {
  return ENTRY_FIXED_BYTES + entry.data.length;
}

export function encodeBatch({ hard, entries }: Batch): Uint8Array {
  const total = entries.reduce((sum, entry) => sum + entryPayloadBytes(entry), BATCH_FIXED_BYTES);
  const bytes = Buffer.alloc(total);
  bytes.writeUInt8(hard === null ? 0 : 1, 0);
  const numbers = [hard?.term ?? 0, hard?.vote ?? 0, hard?.commit ?? 0, entries[0]?.index ?? 0];
  for (const [place, number] of numbers.entries()) writeNumber(bytes, { number, at: 1 + place * 8 });
  bytes.writeUInt32BE(entries.length, 1 + numbers.length * 8);
  let at = BATCH_FIXED_BYTES;
  for (const entry of entries) {
    writeNumber(bytes, { number: entry.term, at });
    bytes.writeUInt8(entry.type, at + 8);
    bytes.writeUInt32BE(entry.data.length, at + 9);
    bytes.set(entry.data, at + ENTRY_FIXED_BYTES);
    at += entryPayloadBytes(entry);
  }
  return bytes;
}

/** The entries' data are views of `payload`. Undefined when it is no batch. */
export function decodeBatch(payload: Uint8Array): Batch | undefined {
  const bytes = view(payload);
  if (bytes.length < BATCH_FIXED_BYTES) return undefined;
  const flag = bytes.readUInt8(0);
  const [term, vote, commit, firstIndex] = readNumbers(bytes, { count: 4, at: 1 }) ?? [];
  if (flag > 1 || term === undefined || vote === undefined || commit === undefined || firstIndex === undefined)
    return undefined;
  const count = bytes.readUInt32BE(1 + HARD_BYTES + 8);
  const entries = decodeEntries(bytes.subarray(BATCH_FIXED_BYTES), { count, firstIndex });
  return entries === undefined ? undefined : { hard: flag === 0 ? null : { term, vote, commit }, entries };
}

export function encodeInstalled({ place, batch }: { readonly place: Place; readonly batch: Batch }): Uint8Array {
  const bytes = Buffer.alloc(PLACE_BYTES);
  writeNumber(bytes, { number: place.index, at: 0 });
  writeNumber(bytes, { number: place.term, at: 8 });
  return Buffer.concat([bytes, encodeBatch(batch)]);
}

/** Undefined when it is none. */
export function decodeInstalled(payload: Uint8Array): { readonly place: Place; readonly batch: Batch } | undefined {
  const bytes = view(payload);
  if (bytes.length < PLACE_BYTES) return undefined;
  const [index, term] = readNumbers(bytes, { count: 2, at: 0 }) ?? [];
  const batch = decodeBatch(bytes.subarray(PLACE_BYTES));
  if (index === undefined || term === undefined || batch === undefined) return undefined;
  return { place: { index, term }, batch };
}

function decodeEntries(
  bytes: Buffer,
  { count, firstIndex }: { readonly count: number; readonly firstIndex: Index },
): readonly Entry[] | undefined {
  const entries: Entry[] = [];
  let at = 0;
  while (entries.length < count) {
    if (at + ENTRY_FIXED_BYTES > bytes.length) return undefined;
    const [term] = readNumbers(bytes, { count: 1, at }) ?? [];
    const type = entryType(bytes.readUInt8(at + 8));
    const from = at + ENTRY_FIXED_BYTES;
    const length = bytes.readUInt32BE(at + 9);
    if (term === undefined || type === undefined || length > bytes.length - from) return undefined;
    entries.push({ term, type, index: firstIndex + entries.length, data: bytes.subarray(from, from + length) });
    at = from + length;
  }
  return at === bytes.length ? entries : undefined;
}

function entryType(number: number): EntryType | undefined {
  return number === 0 || number === 1 || number === 2 ? number : undefined;
}

function writeNumber(bytes: Buffer, { number, at }: { readonly number: number; readonly at: number }): void {
  bytes.writeUInt32BE(Math.floor(number / 0x1_0000_0000), at);
  bytes.writeUInt32BE(number >>> 0, at + 4);
}

/** Undefined when one of them is no safe integer. */
function readNumbers(
  bytes: Buffer,
  { count, at }: { readonly count: number; readonly at: number },
): readonly number[] | undefined {
  const numbers = Array.from(
    { length: count },
    (_, place) => bytes.readUInt32BE(at + place * 8) * 0x1_0000_0000 + bytes.readUInt32BE(at + place * 8 + 4),
  );
  return numbers.every(Number.isSafeInteger) ? numbers : undefined;
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
