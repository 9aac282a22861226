// Reading the log back, and the rule for its end: what looks bad is the torn last write only if nothing shows that it was
// ever synced. Anything else is damage, and opening is refused rather than acknowledged data cut. It unseals payloads and
// knows nothing of what is in them.

import type { Disk } from "../../proto/base/disk.ts";
import { type FoundRecord, RecordType, decodeRecord, findRecord } from "./record.ts";
import { unsealRecord } from "./seal.ts";
import type { KeyRing } from "./seal-keys.ts";
import { type SegmentFile, decodeSegment } from "./segment.ts";
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
  /** The last record's place and bytes. */
  readonly lastRecord: { readonly offset: number; readonly bytes: Uint8Array };
}

/** What the reader makes of a record. */
export type Taken =
  /** `top` as in Wal.append(). */
  | { readonly kind: "taken"; readonly top: number }
  /** It makes no sense there: the log is damaged. */
  | { readonly kind: "refused"; readonly detail: string };

export interface ReplayReader {
  readonly signal: AbortSignal;
  /** Of each segment, before its other records. */
  onHead(head: Uint8Array): Taken;
  onRecord(record: { readonly type: number; readonly payload: Uint8Array }): Taken;
}

export interface ReplayedSegment {
  readonly file: SegmentFile;
  /** The highest of its records. */
  top: number;
}

export interface ReplayOptions {
  readonly disk: Disk;
  readonly keys: KeyRing;
  /** In order, at least one. */
  readonly segments: readonly SegmentFile[];
}

interface Position {
  sequence: number;
  crc: number;
}

/** Reads every record and hands it to the reader. Throws FailedPrecondition for a damaged log. */
export async function replayLog(
  options: ReplayOptions,
  reader: ReplayReader,
): Promise<{ readonly end: LogEnd; readonly segments: readonly ReplayedSegment[] }> {
  let position: Position | undefined;
  let end: LogEnd | undefined;
  const segments: ReplayedSegment[] = [];
  for (const [number, file] of options.segments.entries()) {
    reader.signal.throwIfAborted();
    const bytes = await readWhole(options.disk, file.path);
    const before = options.segments[number - 1];
    if (before !== undefined && file.segment !== before.segment + 1) {
      throw damaged({ path: file.path, detail: `the file before it is missing (after ${before.path})` });
    }
    position ??= firstPosition(file, bytes);
    const segment: ReplayedSegment = { file, top: 0 };
    segments.push(segment);
    const last = number === options.segments.length - 1;
    end = new SegmentReplay({ segment, bytes, position, last, keys: options.keys }).run(reader);
  }
  if (end === undefined) throw new RangeError("a log has at least one segment");
  return { end, segments };
}

/** The oldest segment that is left chains to one that is gone; its own first record says where it stands. */
function firstPosition(file: SegmentFile, bytes: Buffer): Position {
  const decoded = decodeRecord(bytes, 0);
  if (decoded.kind !== "record") throw damaged({ path: file.path, detail: "its first record cannot be read" });
  return { sequence: decoded.record.sequence - 1, crc: decoded.record.previousCrc };
}

interface SegmentTask {
  readonly segment: ReplayedSegment;
  readonly bytes: Buffer;
  /** Of the last record before; moves on. */
  readonly position: Position;
  readonly last: boolean;
  readonly keys: KeyRing;
}

class SegmentReplay {
  readonly #task: SegmentTask;
  readonly #path: string;
  #offset = 0;

  constructor(task: SegmentTask) {
    this.#task = task;
    this.#path = task.segment.file.path;
  }

  run(reader: ReplayReader): LogEnd {
    const { segment, bytes, position } = this.#task;
    let lastRecord = { offset: 0, bytes: bytes.subarray(0, 0) };
    for (;;) {
      const decoded = decodeRecord(bytes, this.#offset);
      if (decoded.kind !== "record") {
        const reason = decoded.kind === "bad" ? decoded.reason : "its header is missing";
        const dirtyEnd = this.#checkTail(reason);
        return { segment: segment.file, offset: this.#offset, dirtyEnd, ...position, lastRecord };
      }
      const { record } = decoded;
      this.#checkChain(record);
      this.#take(record, reader);
      position.sequence = record.sequence;
      position.crc = record.crc;
      lastRecord = { offset: this.#offset, bytes: bytes.subarray(this.#offset, this.#offset + record.bytes) };
      this.#offset += record.bytes;
    }
  }

  #take(record: FoundRecord, reader: ReplayReader): void {
    const payload = this.#unseal(record);
    const isHead = this.#offset === 0;
    const taken = isHead ? reader.onHead(this.#head(record, payload)) : reader.onRecord({ type: record.type, payload });
    if (taken.kind === "refused") throw this.#damaged(`the record at byte ${this.#offset} ${taken.detail}`);
    this.#task.segment.top = Math.max(this.#task.segment.top, taken.top);
  }

  #head(record: FoundRecord, payload: Uint8Array): Uint8Array {
    const { file } = this.#task.segment;
    const found = record.type === RecordType.SEGMENT ? decodeSegment(payload) : undefined;
    if (found?.place.segment === file.segment && found.place.firstIndex === file.firstIndex) return found.head;
    throw this.#damaged("its first record is not that of this file");
  }

  #unseal(record: FoundRecord): Uint8Array {
    if (record.keyId === 0) throw this.#damaged(`the record at byte ${this.#offset} is not sealed`);
    const plain = unsealRecord(this.#task.keys.find(record.keyId, { path: this.#path }), record);
    if (plain !== undefined) return plain;
    throw this.#damaged(
      `the record at byte ${this.#offset} does not open with key ${record.keyId}: the key is another one, or the record was changed`,
    );
  }

  #checkChain(record: FoundRecord): void {
    const { position } = this.#task;
    if (record.sequence === position.sequence + 1 && record.previousCrc === position.crc) return;
    throw this.#damaged(
      `the record at byte ${this.#offset} has sequence ${record.sequence} and does not follow record ${position.sequence}`,
    );
  }

  /** Where the remains of a torn write end; the present offset when all is zero. Throws when what is there had been synced. */
  #checkTail(reason: string): number {
    const { bytes, position, last } = this.#task;
    const offset = this.#offset;
    const dirtyEnd = lastNonZero(bytes) + 1;
    const sequence = position.sequence + 1;
    const where = `record ${sequence} at byte ${offset} cannot be read (${reason})`;
    if (dirtyEnd <= offset && offset > 0) return offset;
    // A segment gets its name only after its first record was synced, and a new one is begun only when all before is synced.
    if (offset === 0) throw this.#damaged(`${where}, and it begins the file`);
    if (!last) throw this.#damaged(`${where}, and files after it show that it was synced`);
    // Records are synced one by one: a whole one after the bad one shows that the bad one had been synced.
    const next = findRecord(bytes, { offset, sequence });
    if (next === undefined) return dirtyEnd;
    throw this.#damaged(`${where}, and a whole record after it, at byte ${next}, shows that it was synced`);
  }

  #damaged(detail: string): Error {
    return damaged({ path: this.#path, detail });
  }
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
