// The write-ahead log: segments in one folder, one sealed record and one sync per append. It knows records as a type and
// bytes and nothing of what they mean. One append at a time; after a failed write or sync it takes no more.

import { assert, defined } from "../../proto/base/assert.ts";
import { type Disk, type DiskFile, diskErrorCode } from "../../proto/base/disk.ts";
import { type SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import { RECORD_HEADER_BYTES, RecordType, encodeRecord } from "./record.ts";
import { SEAL_TAG_BYTES, type SealKey, recordSealing } from "./seal.ts";
import type { KeyRing } from "./seal-keys.ts";
import {
  type SegmentPlace,
  type Spare,
  discardSpare,
  encodeSegment,
  prepareSpare,
  readNames,
  segmentPath,
} from "./segment.ts";
import { unwritable } from "./wal-errors.ts";
import { type LogEnd, type ReplayReader, type ReplayedSegment, replayLog } from "./wal-replay.ts";

export const SEGMENT_BYTES = 16_777_216;
const PAYLOAD_BYTES_MAX = 4_194_304;

export interface WalOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly logger: Logger;
  readonly segmentBytes: number;
  readonly keys: KeyRing;
}

export interface WalReader extends ReplayReader {
  /** Once all is read and before anything is changed on the disk. Throws to refuse the log. */
  onEnd(): Promise<void>;
}

/** What the first record of a segment says beside its number. */
export interface WalHead {
  /** Index that the next new entry has; a part of the file's name. */
  readonly firstIndex: number;
  readonly payload: Uint8Array;
}

export interface WalWrite {
  readonly type: number;
  readonly payload: Uint8Array;
  /** A segment may go once dropThrough() reaches the highest of its records' tops, and those of all before it. */
  readonly top: number;
}

export type AppendResult =
  | { readonly kind: "durable" }
  /** Nothing was written and the log is whole: there is no room on the disk for another segment. It may be tried again. */
  | { readonly kind: "full"; readonly reason: string };

export class Wal {
  readonly #options: WalOptions;
  /** Called when a segment is begun: it must speak of everything written so far. */
  readonly #head: () => WalHead;
  /** Oldest first; the last one is written to. Invariant: at least one. */
  readonly #segments: ReplayedSegment[];
  #file: DiskFile;
  #offset: number;
  #sequence: number;
  #crc: number;
  #spareCount = 0;
  /** A spare under way or ready; undefined when the last try failed or it was taken. Never rejects. */
  #spare: Promise<Spare | { readonly error: unknown }> | undefined;
  /** The next sequence sealed a head that may be on the disk somewhere: it must not seal anything else. */
  #mustRoll = false;
  #busy = false;
  #failure: SwarmError | undefined;

  private constructor(
    options: WalOptions,
    state: {
      readonly segments: readonly ReplayedSegment[];
      readonly file: DiskFile;
      readonly end: LogEnd;
      readonly head: () => WalHead;
    },
  ) {
    this.#options = options;
    this.#head = state.head;
    this.#segments = [...state.segments];
    this.#file = state.file;
    this.#offset = state.end.offset;
    this.#sequence = state.end.sequence;
    this.#crc = state.end.crc;
  }

  /** Whether there is a log in the folder; one whose making was cut short is none. */
  static async exists({ disk, dir }: { readonly disk: Disk; readonly dir: string }): Promise<boolean> {
    try {
      return readNames(dir, await disk.list(dir)).segments.length > 0;
    } catch (error) {
      if (diskErrorCode(error) === "ENOENT") return false;
      throw error;
    }
  }

  /**
   * Opens the log in the folder, where there is one, and hands every record to the reader. What it handed over is durable
   * when it settles. Throws FailedPrecondition for a damaged log, and what the disk throws.
   */
  static async open(options: WalOptions, reader: WalReader, head: () => WalHead): Promise<Wal> {
    const { disk, dir, logger, keys } = options;
    const found = readNames(dir, await disk.list(dir));
    const { end, segments } = await replayLog({ disk, keys, segments: found.segments }, reader);
    await reader.onEnd();
    for (const spare of found.spares) await disk.remove(spare);
    const file = await disk.open(end.segment.path, "write");
    try {
      if (end.dirtyEnd > end.offset) {
        const cut = { path: end.segment.path, at: end.offset, bytes: end.dirtyEnd - end.offset };
        logger.warn("the log ends in a record that was never synced; it is cut", cut);
        await file.write(Buffer.alloc(cut.bytes), end.offset);
      }
      // After a sync that failed, the last record may be readable and yet not be on the disk: it is written again.
      await file.write(end.lastRecord.bytes, end.lastRecord.offset);
      await file.sync();
      await disk.syncDir(dir);
    } catch (error) {
      await Promise.allSettled([file.close()]);
      throw unwritable({ path: end.segment.path, error });
    }
    const wal = new Wal(options, { segments, file, end, head });
    wal.#beginSpare();
    return wal;
  }

  /**
   * The first file of a log, with its first records, durable under its name: a crash leaves all or none. It is as large as
   * the records need. There must be no log in the folder.
   */
  static async create(
    options: WalOptions,
    first: { readonly head: WalHead; readonly writes: readonly WalWrite[] },
  ): Promise<void> {
    const { disk, dir, segmentBytes, keys } = options;
    await disk.makeDir(dir);
    for (const spare of readNames(dir, await disk.list(dir)).spares) await disk.remove(spare);
    const place = { segment: 1, firstIndex: first.head.firstIndex };
    const chain = new Chain({ sequence: 0, crc: 0, key: await keys.current() });
    const records = [
      chain.encode(RecordType.SEGMENT, encodeSegment({ place, head: first.head.payload })),
      ...first.writes.map((write) => chain.encode(write.type, write.payload)),
    ];
    const bytes = Buffer.concat(records);
    const spare = await prepareSpare(disk, { dir, number: 0, bytes: Math.max(segmentBytes, bytes.length) });
    try {
      await spare.file.write(bytes, 0);
      await spare.file.sync();
    } finally {
      await spare.file.close();
    }
    await disk.rename({ from: spare.path, to: segmentPath(dir, place) });
    await disk.syncDir(dir);
  }

  /** Bytes that one record's payload may hold. */
  static payloadBytesMax(segmentBytes: number): number {
    return Math.min(PAYLOAD_BYTES_MAX, Math.floor(segmentBytes / 2));
  }

  /**
   * Writes one record and syncs it. Throws Unavailable when a write or sync failed: the record may or may not be durable,
   * and the log takes no more.
   */
  async append(write: WalWrite): Promise<AppendResult> {
    assert(!this.#busy, "one append to the log at a time");
    if (this.#failure !== undefined) throw this.#failure;
    this.#busy = true;
    try {
      const key = await this.#key();
      if ("kind" in key) return key;
      if (this.#mustRoll || this.#offset + sealedBytes(write.payload) > this.#options.segmentBytes) {
        const rolled = await this.#roll(key);
        if (rolled.kind === "full") return rolled;
      }
      await this.#write(key, write);
      return { kind: "durable" };
    } finally {
      this.#busy = false;
    }
  }

  /** Removes the segments that hold nothing above `top`. A file that cannot be removed is told of and tried again later. */
  async dropThrough(top: number): Promise<void> {
    for (;;) {
      const [oldest, next] = this.#segments;
      if (oldest === undefined || next === undefined || oldest.top > top) return;
      try {
        await this.#options.disk.remove(oldest.file.path);
        await this.#options.disk.syncDir(this.#options.dir);
      } catch (error) {
        const path = oldest.file.path;
        this.#options.logger.warn("cannot remove an old segment of the log", { path, error: errorText(error) });
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

  /** Until this opening's key is durable nothing of the log has changed, so a failure is "full". */
  async #key(): Promise<SealKey | (AppendResult & { readonly kind: "full" })> {
    try {
      return await this.#options.keys.current();
    } catch (error) {
      return this.#full("cannot write a key for the log", error);
    }
  }

  async #write(key: SealKey, write: WalWrite): Promise<void> {
    const chain = this.#chain(key);
    const bytes = chain.encode(write.type, write.payload);
    const segment = this.#current();
    // Whatever comes of the write, the segment may hold it.
    segment.top = Math.max(segment.top, write.top);
    try {
      await this.#file.write(bytes, this.#offset);
      await this.#file.sync();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#offset += bytes.length;
    this.#advance(chain);
  }

  #chain(key: SealKey): Chain {
    return new Chain({ sequence: this.#sequence, crc: this.#crc, key });
  }

  #advance(chain: Chain): void {
    this.#sequence = chain.sequence;
    this.#crc = chain.crc;
  }

  #current(): ReplayedSegment {
    return defined(this.#segments.at(-1), "a segment");
  }

  #fail(error: unknown): SwarmError {
    this.#failure = unwritable({ path: this.#options.dir, error });
    return this.#failure;
  }

  #full(what: string, error: unknown): AppendResult & { readonly kind: "full" } {
    const { dir, logger } = this.#options;
    logger.error(what, { dir, error: errorText(error) });
    const reason = `there is no room for the manager's log in ${dir}: ${errorText(error)}; free some space on its disk and try again`;
    return { kind: "full", reason };
  }

  /** Begins the next segment. Until the spare gets its name nothing of the log has changed, so a failure up to there is "full". */
  async #roll(key: SealKey): Promise<AppendResult> {
    const { disk, dir } = this.#options;
    const ready = (await this.#spare) ?? { error: undefined };
    this.#spare = undefined;
    let spare = "file" in ready ? ready : undefined;
    const head = this.#head();
    const place: SegmentPlace = { segment: this.#current().file.segment + 1, firstIndex: head.firstIndex };
    const chain = this.#chain(key);
    const header = chain.encode(RecordType.SEGMENT, encodeSegment({ place, head: head.payload }));
    try {
      spare ??= await this.#prepare();
      this.#mustRoll = true;
      await spare.file.write(header, 0);
      await spare.file.sync();
    } catch (error) {
      if (spare !== undefined) await discardSpare(disk, spare);
      return this.#full("cannot begin a new segment of the log", error);
    }
    const path = segmentPath(dir, place);
    try {
      await disk.rename({ from: spare.path, to: path });
      await disk.syncDir(dir);
    } catch (error) {
      await Promise.allSettled([spare.file.close()]);
      throw this.#fail(error);
    }
    this.#mustRoll = false;
    const old = this.#file;
    this.#file = spare.file;
    this.#offset = header.length;
    this.#advance(chain);
    this.#segments.push({ file: { ...place, path }, top: 0 });
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

/** Records that follow each other. Everything before a record is synced: there is never more than one under way. */
class Chain {
  sequence: number;
  crc: number;
  readonly #key: SealKey;

  constructor(state: { readonly sequence: number; readonly crc: number; readonly key: SealKey }) {
    this.sequence = state.sequence;
    this.crc = state.crc;
    this.#key = state.key;
  }

  encode(type: number, payload: Uint8Array): Uint8Array {
    const place = { sequence: this.sequence + 1, syncedSequence: this.sequence, previousCrc: this.crc };
    const { bytes, crc } = encodeRecord({ type, keyId: this.#key.id, ...place, payload }, recordSealing(this.#key));
    this.sequence += 1;
    this.crc = crc;
    return bytes;
  }
}

/** Bytes in the file, at most. */
function sealedBytes(payload: Uint8Array): number {
  return RECORD_HEADER_BYTES + payload.length + SEAL_TAG_BYTES + 7;
}
