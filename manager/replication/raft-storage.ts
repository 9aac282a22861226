// Raft's storage: the log and hard state on the disk (wal.ts) with a copy in memory that the core reads, and the snapshots
// beside them. It knows nothing of peers, ticks or what entries mean. One append or install at a time; snapshots are written
// and received meanwhile.

import {
  type Entry,
  type HardState,
  type Index,
  type LogReader,
  MemoryStorage,
  type RaftId,
  type SnapshotRef,
  type Term,
  confStateHas,
} from "raft-ts";
import { assert, defined } from "../../proto/base/assert.ts";
import { type Disk, diskErrorCode } from "../../proto/base/disk.ts";
import { SwarmError, isSwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import { type Membership, NO_MEMBERSHIP } from "./membership.ts";
import { type StorageMeta, encodeBatch, encodeHead, encodeInstalled } from "./payload.ts";
import { splitWork } from "./raft-storage-batch.ts";
import { LogReplay, entriesProblem, hardProblem } from "./raft-storage-replay.ts";
import { RecordType } from "./record.ts";
import { KeyRing } from "./seal-keys.ts";
import type { SnapshotMeta } from "./snapshot-file.ts";
import { type LoadedSnapshot, type SnapshotFile, SnapshotFolder } from "./snapshot-folder.ts";
import { type AppendResult, SEGMENT_BYTES, Wal, type WalHead, type WalOptions, type WalWrite } from "./wal.ts";
import { damaged, unwritable } from "./wal-errors.ts";

export type { StorageMeta } from "./payload.ts";
export type { SnapshotMeta } from "./snapshot-file.ts";
export type { AppendResult } from "./wal.ts";

/** Entries that are kept behind the newest for followers that lag a little. */
const KEPT_ENTRIES = 500;
const NO_DATA = new Uint8Array(0);

export interface RaftStorageOptions {
  readonly disk: Disk;
  /** Folder of the manager's state: `wal/`, `snap/` and `keys.json` are in it. */
  readonly dir: string;
  readonly logger: Logger;
  /** For keys: must be the system's in production. */
  readonly random: Random;
  /** Absent: 16 MiB. */
  readonly segmentBytes?: number;
  /** Entries that stay in the log behind the newest one, whatever snapshots hold. Absent: 500. */
  readonly keptEntries?: number;
}

/** What the core asks to be stored at once. */
export interface StorageWork {
  /** Null: unchanged. */
  readonly hard: HardState | null;
  /** They replace what stands at their indices and after. */
  readonly entries: readonly Entry[];
}

export interface FirstState {
  readonly meta: StorageMeta;
  readonly hard: HardState;
  readonly entries: readonly Entry[];
  /** The state that the entries follow. Absent: they begin at 1. */
  readonly snapshot?: { readonly meta: SnapshotMeta; readonly pieces: Iterable<Uint8Array> };
}

interface Parts {
  readonly folder: SnapshotFolder;
  readonly replay: LogReplay;
}

export class RaftStorage implements LogReader {
  readonly meta: StorageMeta;
  readonly #options: RaftStorageOptions;
  readonly #memory: MemoryStorage;
  readonly #folder: SnapshotFolder;
  #wal: Wal | undefined;
  #hard: HardState;
  #newest: SnapshotMeta | undefined;
  /** The newest as it was read at opening, until somebody takes it. */
  #loaded: LoadedSnapshot | undefined;
  /** Own snapshots and what follows from them, one after the other. Never rejects. */
  #saving: Promise<unknown> = Promise.resolve();

  private constructor(options: RaftStorageOptions, { folder, replay }: Parts) {
    this.#options = options;
    this.#folder = folder;
    this.#memory = replay.memory;
    this.#hard = replay.hard;
    this.meta = defined(replay.meta, "the log's first record");
  }

  /**
   * Reads the log and the newest snapshot. Undefined: there is no log in the folder. Throws FailedPrecondition for damage
   * (nothing is changed then), Unavailable when the log cannot be written, or the signal's reason.
   */
  static async open(options: RaftStorageOptions, signal: AbortSignal): Promise<RaftStorage | undefined> {
    return naming(options, () => RaftStorage.#open(options, signal));
  }

  static async #open(options: RaftStorageOptions, signal: AbortSignal): Promise<RaftStorage | undefined> {
    signal.throwIfAborted();
    const keys = await KeyRing.open(options);
    const folder = snapshotFolder(options, keys);
    const walOptions = walOptionsOf(options, keys);
    if (!(await Wal.exists(walOptions))) {
      await refuseOrphans(folder, walOptions.dir);
      return undefined;
    }
    const replay = new LogReplay();
    let storage: RaftStorage | undefined;
    const head = (): WalHead => defined(storage, "the storage").#head();
    const onEnd = async (): Promise<void> => {
      const detail = replay.problem();
      if (detail !== undefined) throw damaged({ path: walOptions.dir, detail });
      storage = new RaftStorage(options, { folder, replay });
      await storage.#loadNewest(walOptions.dir);
    };
    const wal = await Wal.open(
      walOptions,
      { signal, onHead: (bytes) => replay.onHead(bytes), onRecord: (record) => replay.onRecord(record), onEnd },
      head,
    );
    const opened = defined<RaftStorage>(storage, "the storage");
    opened.#wal = wal;
    await folder.settle();
    return opened;
  }

  /** Begins a log. A crash leaves none or all of it. Throws AlreadyExists when there is one, Unavailable when it cannot be written. */
  static async create(options: RaftStorageOptions, first: FirstState, signal: AbortSignal): Promise<RaftStorage> {
    return naming(options, () => RaftStorage.#create(options, first, signal));
  }

  static async #create(options: RaftStorageOptions, first: FirstState, signal: AbortSignal): Promise<RaftStorage> {
    signal.throwIfAborted();
    const keys = await KeyRing.open(options);
    const folder = snapshotFolder(options, keys);
    const walOptions = walOptionsOf(options, keys);
    if (await Wal.exists(walOptions))
      throw new SwarmError("AlreadyExists", `there is a manager's log in ${walOptions.dir} already`);
    await refuseOrphans(folder, walOptions.dir);
    await folder.settle();
    await folder.tidy();
    const { snapshot, meta } = first;
    // Received ones count only once a log names them: a crash before that leaves nothing.
    if (snapshot !== undefined)
      await folder.write(snapshot.meta, { pieces: snapshot.pieces, isReceived: true, signal });
    const base = { index: snapshot?.meta.index ?? 0, term: snapshot?.meta.term ?? 0 };
    const hard = { ...first.hard, commit: Math.max(first.hard.commit, base.index) };
    const head = encodeHead({ meta, hard: { ...hard, commit: base.index }, base });
    const works = splitWork({ hard, entries: first.entries }, Wal.payloadBytesMax(walOptions.segmentBytes));
    const firstIndex = base.index + 1;
    await Wal.create(walOptions, { head: { firstIndex, payload: head }, writes: works.map(entriesWrite) });
    return defined(await RaftStorage.open(options, signal), "the log that was just made");
  }

  /** As of the newest snapshot. */
  get membership(): Membership {
    return this.#newest?.membership ?? NO_MEMBERSHIP;
  }

  /** Of the newest snapshot; 0: there is none. */
  get snapshotIndex(): Index {
    return this.#newest?.index ?? 0;
  }

  initialState(): { readonly hard: HardState; readonly conf: Membership["conf"] } {
    return { hard: this.#hard, conf: this.membership.conf };
  }

  firstIndex(): Index {
    return this.#memory.firstIndex();
  }

  lastIndex(): Index {
    return this.#memory.lastIndex();
  }

  term(index: Index): Term | "compacted" | "unavailable" {
    return this.#memory.term(index);
  }

  entries(lo: Index, hi: Index, maxBytes: number): readonly Entry[] | "compacted" {
    return this.#memory.entries(lo, hi, maxBytes);
  }

  /** "unavailable" also for a peer that has no part in the newest one's membership: a fresh one must be cut for it. */
  snapshot(forPeer: RaftId): SnapshotRef | "unavailable" {
    if (this.#newest === undefined || !confStateHas(this.#newest.membership.conf, forPeer)) return "unavailable";
    return snapshotRef(this.#newest);
  }

  /** The newest snapshot; undefined when there is none. */
  async loadSnapshot(): Promise<LoadedSnapshot | undefined> {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    if (loaded !== undefined && loaded.meta.index === this.#newest?.index) return loaded;
    const file = this.#newest === undefined ? undefined : this.#folder.findUsable(this.#newest.index);
    return file === undefined ? undefined : this.#folder.load(file);
  }

  /**
   * Makes work durable: one record and one sync (several where it is larger than a record may be). "full": there is no room,
   * and the same work may be given again. Throws Unavailable when it is not known what was written; nothing can be then.
   */
  async append(work: StorageWork): Promise<AppendResult> {
    this.#check(work);
    for (const part of splitWork(work, Wal.payloadBytesMax(this.#segmentBytes))) {
      const result = await this.#log.append(entriesWrite(part));
      if (result.kind === "full") return result;
      this.#memory.append(part.entries);
      this.#hard = part.hard ?? this.#hard;
    }
    return { kind: "durable" };
  }

  /**
   * Writes a snapshot of the own state at an index that is in the log, takes older ones but one away, and the log that only
   * they need. Settles without a trace when a newer one was installed meanwhile. On failure all is as it was; it throws what
   * the disk throws.
   */
  saveSnapshot(meta: SnapshotMeta, pieces: Iterable<Uint8Array>): Promise<void> {
    const saved = this.#saving.then(() => this.#save(meta, pieces));
    this.#saving = Promise.allSettled([saved]);
    return saved;
  }

  /** The state of a stored snapshot, in pieces of at most 256 KiB. Throws NotFound when it is not there any more. */
  async *readSnapshot(index: Index): AsyncGenerator<Uint8Array, void, undefined> {
    const file = this.#folder.findUsable(index);
    if (file === undefined) throw notThere(index);
    yield* this.#folder.stream(file);
  }

  /**
   * Stores a snapshot from a peer, durable but without effect until installSnapshot(). Throws the signal's reason, what
   * the chunks throw, and what the disk throws; nothing is left then. The chunks must end soon after the signal is aborted.
   */
  async receiveSnapshot(meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#folder.write(meta, { pieces: chunks, isReceived: true, signal });
  }

  /**
   * The received snapshot takes the place of the whole log, and the entries follow it. Answers its state. Throws
   * ResourceExhausted when there is no room (nothing is changed, it may be tried again), Unavailable as append() does,
   * NotFound when no such snapshot was received, FailedPrecondition when it is damaged.
   */
  async installSnapshot(work: StorageWork & { readonly meta: SnapshotMeta }): Promise<{ readonly bytes: Uint8Array }> {
    const place = { index: work.meta.index, term: work.meta.term };
    const file = this.#folder.findWaiting(place);
    if (file === undefined) throw notThere(place.index);
    const { meta, bytes } = await this.#folder.load(file);
    assert(place.index >= this.#memory.firstIndex(), "an installed snapshot is newer than the ones before");
    const hard = { ...(work.hard ?? this.#hard), commit: Math.max((work.hard ?? this.#hard).commit, place.index) };
    const problem = hardProblem(this.#hard, hard);
    assert(problem === undefined, `a snapshot's hard state ${problem}`);
    const [head, ...rest] = splitWork({ hard, entries: work.entries }, Wal.payloadBytesMax(this.#segmentBytes));
    const batch = defined(head, "the hard state");
    const top = Math.max(place.index, batch.entries.at(-1)?.index ?? 0);
    const payload = encodeInstalled({ place, batch });
    const result = await this.#log.append({ type: RecordType.SNAPSHOT_INSTALLED, payload, top });
    if (result.kind === "full") throw new SwarmError("ResourceExhausted", result.reason);
    this.#folder.install(file);
    this.#newest = meta;
    this.#loaded = undefined;
    this.#memory.applySnapshot(snapshotRef(meta));
    this.#memory.append(batch.entries);
    this.#hard = batch.hard ?? hard;
    for (const part of rest) {
      const appended = await this.append(part);
      if (appended.kind === "full") throw new SwarmError("ResourceExhausted", appended.reason);
    }
    await this.#folder.tidy();
    return { bytes };
  }

  /** Waits for an own snapshot under way and closes the files. No append may be under way. */
  async close(): Promise<void> {
    await this.#saving;
    await this.#log.close();
  }

  get #log(): Wal {
    return defined(this.#wal, "the open log");
  }

  get #segmentBytes(): number {
    return this.#options.segmentBytes ?? SEGMENT_BYTES;
  }

  #head(): WalHead {
    const index = this.#memory.lastIndex();
    const term = this.#memory.term(index);
    assert(typeof term === "number", "the last entry's term is known");
    const payload = encodeHead({ meta: this.meta, hard: this.#hard, base: { index, term } });
    return { firstIndex: index + 1, payload };
  }

  #check({ hard, entries }: StorageWork): void {
    const problem = entriesProblem(this.#memory, entries) ?? hardProblem(this.#hard, hard);
    assert(problem === undefined, `what is appended ${problem}`);
    const last = entries.at(-1)?.index ?? this.#memory.lastIndex();
    assert((hard ?? this.#hard).commit <= last, `entry ${(hard ?? this.#hard).commit} is committed and not in the log`);
  }

  async #save(meta: SnapshotMeta, pieces: Iterable<Uint8Array>): Promise<void> {
    if (meta.index <= this.snapshotIndex || meta.index < this.#memory.firstIndex()) return;
    assert(this.#memory.term(meta.index) === meta.term, "a snapshot is of an entry that is in the log");
    const file = await this.#folder.write(meta, { pieces, isReceived: false, signal: undefined });
    if (this.#memory.term(meta.index) === meta.term && meta.index > this.snapshotIndex) {
      this.#folder.use(file);
      this.#newest = meta;
      this.#loaded = undefined;
      this.#memory.setSnapshot(snapshotRef(meta));
      await this.#compact();
    }
    await this.#folder.tidy();
  }

  /** Drops what the older of two snapshots holds, but not the newest entries. */
  async #compact(): Promise<void> {
    const [older, newest] = this.#folder.usable;
    if (older === undefined || newest === undefined) return;
    const through = Math.min(older.index, this.#memory.lastIndex() - (this.#options.keptEntries ?? KEPT_ENTRIES));
    if (through >= this.#memory.firstIndex()) this.#memory.compact(through);
    await this.#wal?.dropThrough(through);
  }

  /** Finds the newest good snapshot that fits the log. Throws FailedPrecondition where the log needs one and there is none. */
  async #loadNewest(walDir: string): Promise<void> {
    const base = this.#memory.firstIndex() - 1;
    const last = this.#memory.lastIndex();
    const files = await this.#folder.list();
    for (const file of files) if (!file.isReceived) checkOwn(file, { memory: this.#memory, walDir });
    const fitting = files.filter((file) => this.#memory.term(file.index) === file.term);
    const newest = await this.#folder.loadNewest(fitting);
    if (newest === undefined && base > 0) {
      const detail = `the log holds entries ${base + 1} to ${last}, and there is no good snapshot of entry ${base} or a later one`;
      throw damaged({ path: this.#folder.path, detail });
    }
    if (newest === undefined) return;
    const { file, loaded } = newest;
    this.#folder.keep(fitting.filter((each) => each.index <= file.index));
    this.#newest = loaded.meta;
    this.#loaded = loaded;
    this.#memory.setSnapshot(snapshotRef(loaded.meta));
    // What is in a snapshot is committed, also where the hard state was not written since.
    this.#hard = { ...this.#hard, commit: Math.max(this.#hard.commit, file.index) };
    await this.#compact();
  }
}

/** What the disk throws while a log is opened is told with the folder and what to do. */
async function naming<T>({ dir }: RaftStorageOptions, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (isSwarmError(error) || diskErrorCode(error) === "") throw error;
    throw unwritable({ path: dir, error });
  }
}

function snapshotFolder({ disk, dir, logger, random }: RaftStorageOptions, keys: KeyRing): SnapshotFolder {
  return new SnapshotFolder({ disk, dir: `${dir}/snap`, logger, random, keys });
}

function walOptionsOf({ disk, dir, logger, segmentBytes }: RaftStorageOptions, keys: KeyRing): WalOptions {
  return { disk, dir: `${dir}/wal`, logger, segmentBytes: segmentBytes ?? SEGMENT_BYTES, keys };
}

/** An own snapshot without a log shows that the log was lost. */
async function refuseOrphans(folder: SnapshotFolder, walDir: string): Promise<void> {
  const own = (await folder.list()).find((file) => !file.isReceived);
  if (own === undefined) return;
  throw damaged({ path: walDir, detail: `it is gone, but there is a snapshot of entry ${own.index} at ${own.path}` });
}

function checkOwn(
  file: SnapshotFile,
  { memory, walDir }: { readonly memory: MemoryStorage; readonly walDir: string },
): void {
  const term = memory.term(file.index);
  // Older than the log: left from before a snapshot was installed.
  if (term === file.term || term === "compacted") return;
  const has =
    term === "unavailable" ? `it ends at entry ${memory.lastIndex()}` : `entry ${file.index} is of term ${term}`;
  throw damaged({
    path: walDir,
    detail: `${has}, but there is a snapshot of entry ${file.index} of term ${file.term}`,
  });
}

function entriesWrite(work: StorageWork): WalWrite {
  return { type: RecordType.ENTRIES, payload: encodeBatch(work), top: work.entries.at(-1)?.index ?? 0 };
}

function snapshotRef({ index, term, membership }: SnapshotMeta): SnapshotRef {
  return { index, term, conf: membership.conf, data: NO_DATA };
}

function notThere(index: Index): SwarmError {
  return new SwarmError("NotFound", `the snapshot of entry ${index} is not stored here (any more)`);
}
