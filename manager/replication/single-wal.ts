// The write-ahead log: segments in one folder, one record and one sync per group commit. It knows entries as bytes with
// indexes and nothing of what they mean. One append at a time; after a failed write or sync it takes no more.

import { assert, defined } from "../../proto/base/assert.ts";
import type { Disk, DiskFile } from "../../proto/base/disk.ts";
import { type SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import { type EntryBatch, encodeEntries, encodeSegment, entriesBytes } from "./single-payload.ts";
import { RecordType, encodeRecord, recordBytes } from "./record.ts";
import { type SegmentFile, type Spare, discardSpare, prepareSpare, readNames, segmentPath } from "./segment.ts";
import { unwritable } from "./wal-errors.ts";
import { type LogEnd, replayLog } from "./single-wal-replay.ts";

export const SEGMENT_BYTES = 16_777_216;

export interface WalOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly logger: Logger;
  readonly segmentBytes: number;
}

/** What is fed while a log is opened. */
export interface WalReader {
  readonly signal: AbortSignal;
  readonly onEntries: (batch: EntryBatch) => void;
  /** Once all is read and before anything is changed on the disk. Throws to refuse the log. */
  readonly onEnd: (log: { readonly firstIndex: number; readonly lastIndex: number }) => void;
}

export type AppendResult =
  | { readonly kind: "durable" }
  /** Nothing was written and the log is whole: there is no room on the disk for another segment. */
  | { readonly kind: "full"; readonly reason: string };

export class Wal {
  readonly #options: WalOptions;
  /** Oldest first; the last one is written to. Invariant: at least one. */
  readonly #segments: SegmentFile[];
  #file: DiskFile;
  #offset: number;
  #sequence: number;
  #crc: number;
  #lastIndex: number;
  #spareCount = 0;
  /** A spare under way or ready; undefined when the last try failed or it was taken. Never rejects. */
  #spare: Promise<Spare | { readonly error: unknown }> | undefined;
  #busy = false;
  #failure: SwarmError | undefined;

  private constructor(options: WalOptions, state: { segments: readonly SegmentFile[]; file: DiskFile; end: LogEnd }) {
    this.#options = options;
    this.#segments = [...state.segments];
    this.#file = state.file;
    this.#offset = state.end.offset;
    this.#sequence = state.end.sequence;
    this.#crc = state.end.crc;
    this.#lastIndex = state.end.lastIndex;
  }

  /**
   * Opens the log in `dir`, or begins one at index 1, and hands every group of entries to the reader. What it handed over
   * is durable when it settles. Throws FailedPrecondition for a damaged log, and what the disk throws.
   */
  static async open(options: WalOptions, reader: WalReader): Promise<Wal> {
    const { disk, dir, logger } = options;
    await disk.makeDir(dir);
    const found = readNames(dir, await disk.list(dir));
    for (const spare of found.spares) await disk.remove(spare);
    const segments = found.segments.length > 0 ? found.segments : [await firstSegment(options)];
    const end = await replayLog({ disk, segments, signal: reader.signal }, reader.onEntries);
    reader.onEnd({ firstIndex: defined(segments[0], "a segment").firstIndex, lastIndex: end.lastIndex });
    const file = await disk.open(end.segment.path, "write");
    try {
      if (end.dirtyEnd > end.offset) {
        logger.warn("the log ends in a record that was never synced; it is cut", {
          path: end.segment.path,
          at: end.offset,
          bytes: end.dirtyEnd - end.offset,
        });
        await file.write(Buffer.alloc(end.dirtyEnd - end.offset), end.offset);
      }
      // After a sync that failed, the last record may be readable and yet not be on the disk: it is written again.
      await file.write(end.lastRecord.bytes, end.lastRecord.offset);
      await file.sync();
      await disk.syncDir(dir);
    } catch (error) {
      await Promise.allSettled([file.close()]);
      throw unwritable({ path: end.segment.path, error });
    }
    const wal = new Wal(options, { segments, file, end });
    wal.#beginSpare();
    return wal;
  }

  /** Index of the oldest entry that is left (or of the first to come). */
  get firstIndex(): number {
    return defined(this.#segments[0], "the oldest segment").firstIndex;
  }

  /** Index of the newest entry; one less than `firstIndex` when there is none. */
  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** Bytes of entries that one append may hold. */
  static batchBytesMax(segmentBytes: number): number {
    return Math.min(4 * 1_048_576, Math.floor(segmentBytes / 2));
  }

  /**
   * Writes the entries that follow the newest as one record and syncs it. Throws Unavailable when a write or sync failed:
   * the entries may or may not be durable, and the log takes no more.
   */
  async append(entries: readonly Uint8Array[]): Promise<AppendResult> {
    assert(!this.#busy, "one append to the log at a time");
    if (this.#failure !== undefined) throw this.#failure;
    this.#busy = true;
    try {
      const bytes = entries.reduce((sum, entry) => sum + entry.length, 0);
      const needed = recordBytes(entriesBytes({ count: entries.length, bytes }));
      if (this.#offset + needed > this.#options.segmentBytes) {
        const rolled = await this.#roll();
        if (rolled.kind === "full") return rolled;
      }
      await this.#write(RecordType.ENTRIES, encodeEntries({ firstIndex: this.#lastIndex + 1, entries }));
      this.#lastIndex += entries.length;
      return { kind: "durable" };
    } finally {
      this.#busy = false;
    }
  }

  /** Removes the segments that hold nothing after `index`. A file that cannot be removed is told of and tried again later. */
  async dropThrough(index: number): Promise<void> {
    for (;;) {
      const [oldest, next] = this.#segments;
      if (oldest === undefined || next === undefined || next.firstIndex > index + 1) return;
      try {
        await this.#options.disk.remove(oldest.path);
        await this.#options.disk.syncDir(this.#options.dir);
      } catch (error) {
        this.#options.logger.warn("cannot remove an old segment of the log", {
          path: oldest.path,
          error: errorText(error),
        });
        return;
      }
      this.#segments.shift();
    }
  }

  /** Closes the files. No append may be under way. */
  async close(): Promise<void> {
    assert(!this.#busy, "the log is closed only when no append is under way");
    this.#failure ??= unwritable({ path: this.#options.dir, error: new Error("the log is closed") });
    const spare = await this.#spare;
    if (spare !== undefined && "file" in spare) await discardSpare(this.#options.disk, spare);
    await Promise.allSettled([this.#file.close()]);
  }

  async #write(type: number, payload: Uint8Array): Promise<void> {
    const { bytes, crc } = this.#encode(type, payload);
    try {
      await this.#file.write(bytes, this.#offset);
      await this.#file.sync();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#advance({ bytes: bytes.length, crc });
  }

  /** Everything before it is synced: there is never more than one record under way. */
  #encode(type: number, payload: Uint8Array): { readonly bytes: Uint8Array; readonly crc: number } {
    const sequence = this.#sequence + 1;
    return encodeRecord({
      type,
      keyId: 0,
      sequence,
      syncedSequence: this.#sequence,
      previousCrc: this.#crc,
      payload,
    });
  }

  #advance(written: { readonly bytes: number; readonly crc: number }): void {
    this.#offset += written.bytes;
    this.#sequence += 1;
    this.#crc = written.crc;
  }

  #fail(error: unknown): SwarmError {
    this.#failure = unwritable({ path: this.#options.dir, error });
    return this.#failure;
  }

  /** Begins the next segment. Until the spare gets its name nothing of the log has changed, so a failure up to there is "full". */
  async #roll(): Promise<AppendResult> {
    const { disk, dir, logger } = this.#options;
    const ready = (await this.#spare) ?? { error: undefined };
    this.#spare = undefined;
    let spare = "file" in ready ? ready : undefined;
    const place = { segment: defined(this.#segments.at(-1), "a segment").segment + 1, firstIndex: this.#lastIndex + 1 };
    const header = this.#encode(RecordType.SEGMENT, encodeSegment(place));
    try {
      spare ??= await this.#prepare();
      await spare.file.write(header.bytes, 0);
      await spare.file.sync();
    } catch (error) {
      if (spare !== undefined) await discardSpare(disk, spare);
      const reason = `there is no room for the manager's log in ${dir}: ${errorText(error)}; free some space on its disk and try again`;
      logger.error("cannot begin a new segment of the log", { dir, error: errorText(error) });
      return { kind: "full", reason };
    }
    const path = segmentPath(dir, place);
    try {
      await disk.rename({ from: spare.path, to: path });
      await disk.syncDir(dir);
    } catch (error) {
      await Promise.allSettled([spare.file.close()]);
      throw this.#fail(error);
    }
    const old = this.#file;
    this.#file = spare.file;
    this.#offset = 0;
    this.#advance({ bytes: header.bytes.length, crc: header.crc });
    this.#segments.push({ ...place, path });
    await Promise.allSettled([old.close()]);
    this.#beginSpare();
    return { kind: "durable" };
  }

  #beginSpare(): void {
    this.#spare = this.#prepare().catch((error: unknown) => {
      this.#options.logger.warn("cannot prepare the next segment of the log", {
        dir: this.#options.dir,
        error: errorText(error),
      });
      return { error };
    });
  }

  #prepare(): Promise<Spare> {
    this.#spareCount += 1;
    const { disk, dir, segmentBytes } = this.#options;
    return prepareSpare(disk, { dir, number: this.#spareCount, bytes: segmentBytes });
  }
}

/** The first file of a log, with its first record, durable under its name. */
async function firstSegment({ disk, dir, segmentBytes }: WalOptions): Promise<SegmentFile> {
  const place = { segment: 1, firstIndex: 1 };
  const spare = await prepareSpare(disk, { dir, number: 0, bytes: segmentBytes });
  const header = encodeRecord({
    type: RecordType.SEGMENT,
    keyId: 0,
    sequence: 1,
    syncedSequence: 0,
    previousCrc: 0,
    payload: encodeSegment(place),
  });
  try {
    await spare.file.write(header.bytes, 0);
    await spare.file.sync();
  } finally {
    await spare.file.close();
  }
  const path = segmentPath(dir, place);
  await disk.rename({ from: spare.path, to: path });
  await disk.syncDir(dir);
  return { ...place, path };
}
