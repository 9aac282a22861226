// Reading the log back, and the rule for its end: what looks bad is the torn last write only if nothing shows that it was
// ever synced. Anything else is damage, and opening is refused rather than acknowledged data cut.

import type { Disk } from "../../proto/base/disk.ts";
import { decodeEntries, decodeSegment, type EntryBatch } from "./single-payload.ts";
import { type FoundRecord, RecordType, decodeRecord, findRecord } from "./record.ts";
import type { SegmentFile } from "./segment.ts";
import { damaged } from "./wal-errors.ts";

/** Where the next record goes, and what it must chain to. */
export interface LogEnd {
  readonly segment: SegmentFile;
  /** Offset in the last segment's file. */
  readonly offset: number;
  /** What lies from `offset` to here is the remains of a torn write, to be zeroed. Equals `offset` when there are none. */
  readonly dirtyEnd: number;
  readonly sequence: number;
  readonly crc: number;
  /** Of the last entry; one less than the first index where there is none. */
  readonly lastIndex: number;
  /** The last record's place and bytes. */
  readonly lastRecord: { readonly offset: number; readonly bytes: Uint8Array };
}

interface Position {
  sequence: number;
  crc: number;
  lastIndex: number;
}

/**
 * Reads every record of `segments` (in order, at least one) and hands each group of entries to `onEntries`. Throws
 * FailedPrecondition for a damaged log.
 */
export async function replayLog(
  options: { readonly disk: Disk; readonly segments: readonly SegmentFile[]; readonly signal: AbortSignal },
  onEntries: (batch: EntryBatch) => void,
): Promise<LogEnd> {
  let at: Position | undefined;
  let end: LogEnd | undefined;
  for (const [number, segment] of options.segments.entries()) {
    options.signal.throwIfAborted();
    const bytes = await readWhole(options.disk, segment.path);
    const before = options.segments[number - 1];
    if (before !== undefined && segment.segment !== before.segment + 1) {
      throw damaged({ path: segment.path, detail: `the file before it is missing (after ${before.path})` });
    }
    const position: Position = at ?? firstPosition(segment, bytes);
    end = replaySegment({ segment, bytes, position, last: number === options.segments.length - 1 }, onEntries);
    at = position;
  }
  if (end === undefined) throw new RangeError("a log has at least one segment");
  return end;
}

/** The oldest segment that is left chains to one that is gone; its own first record says where it stands. */
function firstPosition(segment: SegmentFile, bytes: Buffer): Position {
  const decoded = decodeRecord(bytes, 0);
  if (decoded.kind !== "record") throw damaged({ path: segment.path, detail: "its first record cannot be read" });
  return {
    sequence: decoded.record.sequence - 1,
    crc: decoded.record.previousCrc,
    lastIndex: segment.firstIndex - 1,
  };
}

interface SegmentTask {
  readonly segment: SegmentFile;
  readonly bytes: Buffer;
  /** Of the last record before; moves on. */
  readonly position: Position;
  readonly last: boolean;
}

function replaySegment(task: SegmentTask, onEntries: (batch: EntryBatch) => void): LogEnd {
  const { segment, bytes, position } = task;
  let offset = 0;
  let lastRecord = { offset: 0, bytes: bytes.subarray(0, 0) };
  for (;;) {
    const decoded = decodeRecord(bytes, offset);
    if (decoded.kind !== "record") {
      const reason = decoded.kind === "bad" ? decoded.reason : "its header is missing";
      const dirtyEnd = checkTail(task, { offset, reason });
      return { segment, offset, dirtyEnd, ...position, lastRecord };
    }
    const { record } = decoded;
    checkChain(task, { record, offset });
    if (offset === 0) checkSegmentRecord(segment, { record, lastIndex: position.lastIndex });
    else replayRecord(task, { record, offset }, onEntries);
    position.sequence = record.sequence;
    position.crc = record.crc;
    lastRecord = { offset, bytes: bytes.subarray(offset, offset + record.bytes) };
    offset += record.bytes;
  }
}

function replayRecord(
  { segment, position }: SegmentTask,
  { record, offset }: { readonly record: FoundRecord; readonly offset: number },
  onEntries: (batch: EntryBatch) => void,
): void {
  if (record.type !== RecordType.ENTRIES || record.keyId !== 0) {
    const kind = record.keyId === 0 ? `of type ${record.type}` : `sealed with key ${record.keyId}`;
    throw damaged({
      path: segment.path,
      detail: `a record at byte ${offset} is ${kind}, which this version does not know`,
    });
  }
  const batch = decodeEntries(record.payload);
  if (batch?.firstIndex !== position.lastIndex + 1) {
    throw damaged({
      path: segment.path,
      detail: `entry ${position.lastIndex + 1} is missing at byte ${offset}`,
    });
  }
  onEntries(batch);
  position.lastIndex += batch.entries.length;
}

function checkChain(
  { segment, position }: SegmentTask,
  { record, offset }: { readonly record: FoundRecord; readonly offset: number },
): void {
  if (record.sequence === position.sequence + 1 && record.previousCrc === position.crc) return;
  throw damaged({
    path: segment.path,
    detail: `the record at byte ${offset} has sequence ${record.sequence} and does not follow record ${position.sequence}`,
  });
}

function checkSegmentRecord(
  segment: SegmentFile,
  { record, lastIndex }: { readonly record: FoundRecord; readonly lastIndex: number },
): void {
  const place = record.type === RecordType.SEGMENT ? decodeSegment(record.payload) : undefined;
  const fits =
    place?.segment === segment.segment && place.firstIndex === segment.firstIndex && place.firstIndex === lastIndex + 1;
  if (!fits) throw damaged({ path: segment.path, detail: "its first record is not that of this file" });
}

/** Where the remains of a torn write end; `offset` when all is zero. Throws when what is there had been synced. */
function checkTail(
  { segment, bytes, position, last }: SegmentTask,
  tail: { readonly offset: number; readonly reason: string },
): number {
  const dirtyEnd = lastNonZero(bytes) + 1;
  if (dirtyEnd <= tail.offset && tail.offset > 0) return tail.offset;
  const sequence = position.sequence + 1;
  const where = `record ${sequence} at byte ${tail.offset} cannot be read (${tail.reason})`;
  // A segment gets its name only after its first record was synced, and a new one is begun only when all before is synced.
  if (tail.offset === 0) throw damaged({ path: segment.path, detail: `${where}, and it begins the file` });
  if (!last) throw damaged({ path: segment.path, detail: `${where}, and files after it show that it was synced` });
  // Records are synced one by one: a whole one after the bad one shows that the bad one had been synced.
  const next = findRecord(bytes, { offset: tail.offset, sequence });
  if (next !== undefined) {
    throw damaged({
      path: segment.path,
      detail: `${where}, and a whole record after it, at byte ${next}, shows that it was synced`,
    });
  }
  return dirtyEnd;
}

function lastNonZero(bytes: Buffer): number {
  let at = bytes.length - 1;
  const zeros = Buffer.alloc(65_536);
  while (at + 1 >= zeros.length && bytes.compare(zeros, 0, zeros.length, at + 1 - zeros.length, at + 1) === 0) {
    at -= zeros.length;
  }
  while (at >= 0 && bytes[at] === 0) at -= 1;
  return at;
}

async function readWhole(disk: Disk, path: string): Promise<Buffer> {
  const file = await disk.open(path, "read");
  try {
    const bytes = await file.read({ offset: 0, length: await file.size() });
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  } finally {
    await file.close();
  }
}
