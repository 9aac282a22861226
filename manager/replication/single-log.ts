// The log of a cluster with one manager, behind the store's Proposer: group commits to the write-ahead log, snapshots of the
// store, and both read back when it is opened. It knows the store only as a target to fill and a source of snapshots.

import { AssertionError, assert } from "../../proto/base/assert.ts";
import type { Clock } from "../../proto/base/clock.ts";
import type { Disk } from "../../proto/base/disk.ts";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import { StoreChanges } from "../../proto/gen/control.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { ProposalResult, Proposer, ReplayTarget } from "../store/proposer.ts";
import type { EntryBatch } from "./single-payload.ts";
import { SnapshotFolder } from "./single-snapshot.ts";
import { SEGMENT_BYTES, Wal } from "./single-wal.ts";
import { damaged } from "./wal-errors.ts";

/** Proposals that wait; more are dropped. */
const QUEUE_MAX = 10_000;
const QUEUE_BYTES_MAX = 64 * 1_048_576;
/** Entries of one group commit, so that what follows a commit does not hold the loop long. */
const BATCH_ENTRIES_MAX = 512;
/** Of a batch's payload beside its entries. */
const BATCH_OVERHEAD_BYTES = 64;
const SLOW_COMMIT_MS = 1_000;
/** Turns within which whoever awaits a settled proposal, through a promise or two of its own, has gone on. */
const SETTLING_HOPS = 8;

export interface SingleLogOptions {
  readonly disk: Disk;
  /** Folder of the manager's state; `wal/` and `snap/` are made in it. */
  readonly dir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Filled while the log is opened. */
  readonly target: ReplayTarget;
  /**
   * The whole state as ReplayTarget.restore takes it, in pieces. The call itself must fix what state it is (it runs right
   * after a commit); the pieces may be made later, while other commits go on.
   */
  readonly snapshot: () => Iterable<Uint8Array> | Uint8Array;
  /** Entries between snapshots. 10,000 in production. */
  readonly snapshotEvery: number;
  /** Absent: 16 MiB. */
  readonly segmentBytes?: number;
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly onCommit: (index: number) => void;
  readonly resolve: (result: ProposalResult) => void;
}

export class SingleLog implements Proposer {
  readonly #options: SingleLogOptions;
  readonly #wal: Wal;
  readonly #snapshots: SnapshotFolder;
  readonly #batchBytesMax: number;
  readonly #queue: Waiting[] = [];
  #queueBytes = 0;
  readonly #failure: AbortController = new AbortController();
  #closing = false;
  /** Why proposals are dropped for a few turns of the microtask queue. */
  #falling: string | undefined;
  #fallingHops = 0;
  #hopping = false;
  /** Settles when the queue is empty. */
  #writing: Promise<void> | undefined;
  #snapshotting: Promise<void> | undefined;
  /** Index at which a snapshot was last tried. */
  #snapshotTriedAt: number;

  private constructor(options: SingleLogOptions, parts: { wal: Wal; snapshots: SnapshotFolder }) {
    this.#options = options;
    this.#wal = parts.wal;
    this.#snapshots = parts.snapshots;
    this.#batchBytesMax = Wal.batchBytesMax(options.segmentBytes ?? SEGMENT_BYTES);
    this.#snapshotTriedAt = parts.snapshots.indexes.at(-1) ?? 0;
  }

  /**
   * Restores the newest good snapshot into the target and applies every entry after it. Throws FailedPrecondition when the
   * log is damaged (nothing is changed then), Unavailable when it cannot be written, or the signal's reason.
   */
  static async open(options: SingleLogOptions, signal: AbortSignal): Promise<SingleLog> {
    const { disk, dir, logger, target } = options;
    signal.throwIfAborted();
    await disk.makeDir(dir);
    const snapshots = new SnapshotFolder({ disk, dir: `${dir}/snap`, logger });
    const snapshot = await snapshots.load();
    if (snapshot !== undefined) target.restore(snapshot.bytes, snapshot.index);
    const replay = new Replay(target, { path: `${dir}/wal`, after: snapshot?.index ?? 0 });
    const wal = await Wal.open(
      { disk, dir: `${dir}/wal`, logger, segmentBytes: options.segmentBytes ?? SEGMENT_BYTES },
      { signal, onEntries: (batch) => replay.apply(batch), onEnd: (log) => replay.finish(log) },
    );
    logger.info("the log is open", { snapshot: snapshot?.index ?? 0, last: wal.lastIndex });
    return new SingleLog(options, { wal, snapshots });
  }

  /** Index of the newest durable entry. */
  get lastIndex(): number {
    return this.#wal.lastIndex;
  }

  /** Aborts, with a SwarmError as reason, when the log can no longer be written. The manager must stop then. */
  get failure(): AbortSignal {
    return this.#failure.signal;
  }

  propose(changes: StoreChanges, onCommit: (index: number) => void): Promise<ProposalResult> {
    const bytes = StoreChanges.encode(changes).finish();
    const refusal = this.#refusal(bytes.length);
    if (refusal !== undefined) return Promise.resolve(this.#dropped(refusal));
    return new Promise((resolve) => {
      this.#queue.push({ bytes, onCommit, resolve });
      this.#queueBytes += bytes.length;
      this.#writing ??= this.#write();
    });
  }

  /** Finishes what was proposed and a snapshot under way, then closes the files. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    await this.#writing;
    await this.#snapshotting;
    await this.#wal.close();
  }

  /** Why a proposal of so many bytes cannot be taken now. */
  #refusal(bytes: number): string | undefined {
    if (this.#failure.signal.aborted) return errorText(this.#failure.signal.reason);
    if (this.#closing) return "the manager is stopping";
    if (this.#falling !== undefined) return this.#falling;
    if (this.#queue.length >= QUEUE_MAX || this.#queueBytes >= QUEUE_BYTES_MAX)
      return `the manager's disk does not keep up: ${this.#queue.length} changes wait for it; try again later`;
    const most = Math.min(DEFAULTS.transactionBytesMax, this.#batchBytesMax - BATCH_OVERHEAD_BYTES);
    if (bytes > most)
      return `a change of ${bytes} bytes is too large for one transaction, which holds ${most}; split it`;
    return undefined;
  }

  /**
   * The answer to a proposal that is dropped. Until its proposer can have seen it, everything proposed is dropped too: it may
   * have been made over the state that the dropped one would have led to.
   */
  #dropped(reason: string): ProposalResult {
    this.#falling = reason;
    this.#fallingHops = SETTLING_HOPS;
    if (!this.#hopping) this.#hop();
    return { kind: "dropped", reason };
  }

  /** Counts turns of the microtask queue: a settled promise reaches those who await it within a few. */
  #hop(): void {
    this.#hopping = this.#fallingHops > 0;
    if (!this.#hopping) {
      this.#falling = undefined;
      return;
    }
    this.#fallingHops -= 1;
    void Promise.resolve().then(() => this.#hop());
  }

  /** Writes group after group until nothing waits: while one is being synced the next one gathers. */
  async #write(): Promise<void> {
    // What is proposed in the same turn of the loop shares the first sync.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#take();
      const startedMs = this.#options.clock.monotonicMs();
      const outcome = await this.#append(batch);
      const tookMs = this.#options.clock.monotonicMs() - startedMs;
      if (tookMs > SLOW_COMMIT_MS) this.#options.logger.warn("the disk is slow", { commitMs: Math.round(tookMs) });
      if (outcome.kind === "durable") this.#commit(batch, this.#wal.lastIndex - batch.length + 1);
      else this.#giveUp(batch, outcome);
    }
    this.#writing = undefined;
  }

  /** What waits behind the batch never reached the disk and may build on it: it is dropped with it. */
  #giveUp(batch: readonly Waiting[], outcome: Exclude<ProposalResult, { readonly kind: "committed" }>): void {
    const dropped = this.#dropped(outcome.reason);
    for (const each of batch) each.resolve(outcome);
    for (const each of this.#queue.splice(0)) each.resolve(dropped);
    this.#queueBytes = 0;
  }

  #take(): readonly Waiting[] {
    let count = 0;
    let bytes = 0;
    for (const each of this.#queue) {
      bytes += each.bytes.length + 4;
      if (count > 0 && (bytes > this.#batchBytesMax - BATCH_OVERHEAD_BYTES || count >= BATCH_ENTRIES_MAX)) break;
      count += 1;
    }
    const batch = this.#queue.splice(0, count);
    this.#queueBytes -= batch.reduce((sum, each) => sum + each.bytes.length, 0);
    return batch;
  }

  async #append(
    batch: readonly Waiting[],
  ): Promise<{ readonly kind: "durable" } | Exclude<ProposalResult, { readonly kind: "committed" }>> {
    try {
      const result = await this.#wal.append(batch.map((each) => each.bytes));
      return result.kind === "durable" ? result : { kind: "dropped", reason: result.reason };
    } catch (error) {
      if (!isSwarmError(error, "Unavailable")) throw error;
      this.#options.logger.error("the log cannot be written", { error: error.message });
      this.#failure.abort(error);
      return { kind: "ambiguous", reason: error.message };
    }
  }

  #commit(batch: readonly Waiting[], firstIndex: number): void {
    for (const [offset, each] of batch.entries()) {
      each.onCommit(firstIndex + offset);
      each.resolve({ kind: "committed", index: firstIndex + offset });
    }
    if (this.#snapshotting === undefined && this.lastIndex - this.#snapshotTriedAt >= this.#options.snapshotEvery) {
      this.#snapshotting = this.#snapshot(this.lastIndex, this.#options.snapshot()).finally(() => {
        this.#snapshotting = undefined;
      });
    }
  }

  async #snapshot(index: number, state: Iterable<Uint8Array> | Uint8Array): Promise<void> {
    this.#snapshotTriedAt = index;
    try {
      await this.#snapshots.write(index, state instanceof Uint8Array ? [state] : state);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      // The log goes on and holds everything; the next try comes after as many entries again.
      this.#options.logger.error("cannot write a snapshot", { index, error: errorText(error) });
      return;
    }
    const [older, newest] = this.#snapshots.indexes;
    // The older of the two stays usable: the log keeps all that follows it.
    if (older !== undefined && newest !== undefined) await this.#wal.dropThrough(older);
  }
}

/** Feeds the target while the log is read, and proves that nothing is missing between snapshot and log. */
class Replay {
  readonly #target: ReplayTarget;
  readonly #path: string;
  readonly #after: number;
  #next: number;

  constructor(target: ReplayTarget, options: { readonly path: string; readonly after: number }) {
    this.#target = target;
    this.#path = options.path;
    this.#after = options.after;
    this.#next = options.after + 1;
  }

  apply(batch: EntryBatch): void {
    for (const [offset, bytes] of batch.entries.entries()) {
      const index = batch.firstIndex + offset;
      if (index <= this.#after) continue;
      if (index !== this.#next) throw this.#gap(index);
      this.#target.apply(decode(bytes, { path: this.#path, index }), index);
      this.#next += 1;
    }
  }

  finish(wal: { readonly firstIndex: number; readonly lastIndex: number }): void {
    if (wal.firstIndex > this.#after + 1) throw this.#gap(wal.firstIndex);
    if (wal.lastIndex < this.#after) {
      throw damaged({
        path: this.#path,
        detail: `it ends at entry ${wal.lastIndex}, but there is a snapshot of entry ${this.#after}`,
      });
    }
    assert(this.#next === wal.lastIndex + 1, "every entry after the snapshot was applied");
  }

  #gap(firstIndex: number): SwarmError {
    return damaged({
      path: this.#path,
      detail: `it begins at entry ${firstIndex}, and there is no good snapshot that reaches to entry ${firstIndex - 1}`,
    });
  }
}

function decode(bytes: Uint8Array, entry: { readonly path: string; readonly index: number }): StoreChanges {
  try {
    return StoreChanges.decode(bytes);
  } catch (error) {
    throw new SwarmError(
      "FailedPrecondition",
      `entry ${entry.index} of the manager's log at ${entry.path} cannot be read: ${errorText(error)}; it may be of a newer version`,
      { cause: error },
    );
  }
}
