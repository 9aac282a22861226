// A log's storage in memory for tests of the driver: writes take time on the test's clock, may find the disk full or fail, and a
// restart finds what was durable.

import {
  EMPTY_HARD_STATE,
  type Entry,
  type HardState,
  type Index,
  MemoryStorage,
  type RaftId,
  type SnapshotRef,
  type Term,
} from "raft-ts";
import { defined } from "../../proto/base/assert.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { type Membership, NO_MEMBERSHIP } from "../../manager/replication/membership.ts";
import type {
  LogAppendResult,
  LogMeta,
  LogSnapshotMeta,
  LogStorage,
} from "../../manager/replication/replicated-log-storage.ts";

/** Kept beside the newest snapshot, for followers that lag a little. */
const KEPT = 5;

export class MemoryRaftStorage implements LogStorage {
  readonly meta: LogMeta;
  readonly #clock: Clock;
  #log = new MemoryStorage();
  #snapshots: { readonly meta: LogSnapshotMeta; readonly bytes: Uint8Array }[] = [];
  #received: { readonly meta: LogSnapshotMeta; readonly bytes: Uint8Array } | undefined;
  /** How long a write takes. */
  delayMs = 0;
  /** What the next writes find; it goes on until the test changes it. */
  fault: "none" | "full" | "broken" = "none";
  #isDead = false;
  isClosed = false;

  constructor(options: {
    readonly clock: Clock;
    readonly meta: LogMeta;
    readonly hard?: HardState;
    readonly entries?: readonly Entry[];
  }) {
    this.#clock = options.clock;
    this.meta = options.meta;
    this.#log.setHardState(options.hard ?? EMPTY_HARD_STATE);
    this.#log.append(options.entries ?? []);
  }

  get membership(): Membership {
    return this.#snapshots.at(-1)?.meta.membership ?? NO_MEMBERSHIP;
  }

  initialState(): ReturnType<MemoryStorage["initialState"]> {
    return this.#log.initialState();
  }

  firstIndex(): Index {
    return this.#log.firstIndex();
  }

  lastIndex(): Index {
    return this.#log.lastIndex();
  }

  term(index: Index): Term | "compacted" | "unavailable" {
    return this.#log.term(index);
  }

  entries(lo: Index, hi: Index, maxBytes: number): readonly Entry[] | "compacted" {
    return this.#log.entries(lo, hi, maxBytes);
  }

  snapshot(forPeer: RaftId): SnapshotRef | "unavailable" {
    const newest = this.#snapshots.at(-1)?.meta;
    if (newest === undefined) return "unavailable";
    const { index, term, membership } = newest;
    if (!membership.members.some((member) => member.raftId === forPeer)) return "unavailable";
    return { index, term, conf: membership.conf, data: new Uint8Array(0) };
  }

  loadSnapshot(): Promise<{ readonly meta: LogSnapshotMeta; readonly bytes: Uint8Array } | undefined> {
    return Promise.resolve(this.#snapshots.at(-1));
  }

  async append(work: {
    readonly hard: HardState | null;
    readonly entries: readonly Entry[];
  }): Promise<LogAppendResult> {
    await this.#wait();
    if (this.fault === "full") return { kind: "full", reason: "no space left" };
    this.#log.append(work.entries);
    if (work.hard !== null) this.#log.setHardState(work.hard);
    return { kind: "durable" };
  }

  async saveSnapshot(meta: LogSnapshotMeta, pieces: Iterable<Uint8Array>): Promise<void> {
    const bytes = Buffer.concat([...pieces]);
    await this.#wait();
    this.#snapshots = [...this.#snapshots, { meta, bytes }].slice(-2);
    const { index, term, membership } = meta;
    this.#log.setSnapshot({ index, term, conf: membership.conf, data: new Uint8Array(0) });
    if (index - KEPT >= this.#log.firstIndex()) this.#log.compact(index - KEPT);
  }

  async *readSnapshot(index: Index): AsyncGenerator<Uint8Array, void, undefined> {
    await this.#wait();
    yield defined(
      this.#snapshots.find((each) => each.meta.index === index),
      "the snapshot",
    ).bytes;
  }

  async receiveSnapshot(meta: LogSnapshotMeta, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    signal.throwIfAborted();
    await this.#wait();
    this.#received = { meta, bytes: Buffer.concat(parts) };
  }

  async installSnapshot(work: {
    readonly meta: LogSnapshotMeta;
    readonly hard: HardState | null;
    readonly entries: readonly Entry[];
  }): Promise<{ readonly bytes: Uint8Array }> {
    await this.#wait();
    const received = defined(this.#received, "the received snapshot");
    this.#snapshots = [received];
    const { index, term, membership } = work.meta;
    this.#log.applySnapshot({ index, term, conf: membership.conf, data: new Uint8Array(0) });
    this.#log.append(work.entries);
    if (work.hard !== null) this.#log.setHardState(work.hard);
    return { bytes: received.bytes };
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }

  /** The process is gone: what it still waits for never reaches the disk. The answer is what the next one finds there. */
  crash(): MemoryRaftStorage {
    this.#isDead = true;
    const next = new MemoryRaftStorage({ clock: this.#clock, meta: this.meta });
    next.#log = this.#log;
    next.#snapshots = this.#snapshots;
    // What is in a snapshot is committed, also where the hard state was not written since.
    const { hard } = this.initialState();
    const commit = Math.max(hard.commit, this.#snapshots.at(-1)?.meta.index ?? 0);
    next.#log.setHardState({ ...hard, commit });
    return next;
  }

  async #wait(): Promise<void> {
    if (this.delayMs > 0) await this.#clock.sleep(this.delayMs, new AbortController().signal);
    else await Promise.resolve();
    if (this.#isDead) throw new Error("the process is gone");
    if (this.fault === "broken") throw new Error("EIO: the disk is broken");
  }
}
