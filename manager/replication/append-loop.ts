// The core's append thread: one write at a time goes to storage, and what comes up meanwhile gathers into the next. What depends
// on a write leaves only when it is durable. A commit that moved and nothing else waits for the next write: losing it loses nothing.

import type { Entry, HardState, Message, SnapshotRef } from "raft-ts";
import { Backoff } from "../../proto/base/backoff.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import type { LogAppendResult, LogStorage } from "./replicated-log-storage.ts";

const FULL_RETRY_FIRST_MS = 100;
const FULL_RETRY_MAX_MS = 2_000;

export interface AppendLoopOptions {
  readonly storage: Pick<LogStorage, "append" | "initialState">;
  readonly clock: Clock;
  readonly random: Random;
  /** What a durable write lets go, in order. */
  readonly deliver: (responses: readonly Message[]) => void;
  /** Puts a received snapshot, the hard state and the entries after it in place of the log. */
  readonly install: (work: {
    readonly snapshot: SnapshotRef;
    readonly hard: HardState | null;
    readonly entries: readonly Entry[];
  }) => Promise<void>;
  /** The disk is full, and why; undefined: it is no more. */
  readonly onFull: (reason: string | undefined) => void;
  readonly onDurable: (tookMs: number) => void;
  /** The storage failed for good. */
  readonly onFailure: (error: unknown) => void;
}

interface Group {
  readonly hard: HardState | null;
  readonly entries: readonly Entry[];
  readonly snapshot: SnapshotRef | null;
  readonly responses: readonly Message[];
}

export class AppendLoop {
  readonly #options: AppendLoopOptions;
  readonly #stop = new AbortController();
  #queue: Message[] = [];
  /** As last written. */
  #written: HardState;
  /** A later commit than the written one, and nothing else new. */
  #lazy: HardState | null = null;
  #isFlushDue = false;
  #running: Promise<void> | undefined;
  #busySinceMs: number | undefined;

  constructor(options: AppendLoopOptions) {
    this.#options = options;
    this.#written = options.storage.initialState().hard;
  }

  /** Since when the write under way is under way; undefined: there is none. */
  get busySinceMs(): number | undefined {
    return this.#busySinceMs;
  }

  /** Takes a storageAppend. */
  push(work: Message): void {
    if (this.#stop.signal.aborted) return;
    if (this.#running === undefined && this.#isLazy(work)) {
      this.#lazy = hardOf(work) ?? this.#lazy;
      this.#options.deliver(work.responses);
      return;
    }
    this.#queue.push(work);
    this.#start();
  }

  /** Writes a commit that waits for a write, if there is none under way. */
  flush(): void {
    if (this.#lazy === null || this.#stop.signal.aborted) return;
    this.#isFlushDue = true;
    this.#start();
  }

  /** Ends what is under way and writes the last commit. Idempotent. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#queue = [];
    this.flush();
    this.#stop.abort(new Error("the log is closing"));
    await this.#running;
  }

  /** Nothing more is written or delivered, not even what is under way. */
  abandon(): void {
    this.#queue = [];
    this.#lazy = null;
    this.#stop.abort(new Error("the log has failed"));
  }

  #start(): void {
    this.#running ??= this.#run().then(
      () => undefined,
      (error: unknown) => {
        if (!this.#stop.signal.aborted) this.#options.onFailure(error);
      },
    );
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    for (let group = this.#take(); group !== undefined; group = this.#take()) {
      this.#busySinceMs = clock.monotonicMs();
      await this.#store(group);
      this.#written = group.hard ?? this.#written;
      const tookMs = clock.monotonicMs() - this.#busySinceMs;
      this.#busySinceMs = undefined;
      if (this.#stop.signal.aborted) return;
      this.#options.onDurable(tookMs);
      this.#options.deliver(group.responses);
    }
    this.#running = undefined;
  }

  /** What gathered, as one write; a snapshot stands at the beginning of one. */
  #take(): Group | undefined {
    if (this.#queue.every((work) => this.#isLazy(work))) return this.#takeLazy();
    const [first, ...others] = this.#queue;
    if (first === undefined) return undefined;
    let count = 1;
    let hard = hardOf(first) ?? this.#lazy;
    this.#lazy = null;
    const entries: Entry[] = [...first.entries];
    const responses: Message[] = [...first.responses];
    for (const work of others) {
      if (work.snapshot !== null) break;
      hard = hardOf(work) ?? hard;
      const from = work.entries[0]?.index;
      // A later write replaces what stands at its indices and after.
      while (from !== undefined && (entries.at(-1)?.index ?? 0) >= from) entries.pop();
      entries.push(...work.entries);
      responses.push(...work.responses);
      count += 1;
    }
    this.#queue.splice(0, count);
    return { hard, entries, snapshot: first.snapshot, responses };
  }

  /** Only commits have moved: they wait, but for when the last one is to be written. */
  #takeLazy(): Group | undefined {
    const waited = this.#queue.splice(0);
    for (const work of waited) this.#lazy = hardOf(work) ?? this.#lazy;
    for (const { responses } of waited) this.#options.deliver(responses);
    const hard = this.#isFlushDue ? this.#lazy : null;
    this.#isFlushDue = false;
    if (hard === null) return undefined;
    this.#lazy = null;
    return { hard, entries: [], snapshot: null, responses: [] };
  }

  /** A snapshot first and what follows it after that: where the disk is full between the two, only the rest is tried again. */
  async #store({ hard, entries, snapshot }: Group): Promise<void> {
    const { install, storage } = this.#options;
    let rest = hard;
    if (snapshot !== null) {
      const { index } = snapshot;
      const first = hard === null ? null : { ...hard, commit: Math.min(hard.commit, index) };
      await this.#untilTaken(() => installed(install({ snapshot, hard: first, entries: [] })));
      rest = hard === null || hard.commit <= index ? null : hard;
    }
    if (rest !== null || entries.length > 0) await this.#untilTaken(() => storage.append({ hard: rest, entries }));
  }

  /** Tries again and again where the disk is full. */
  async #untilTaken(write: () => Promise<LogAppendResult>): Promise<void> {
    const { clock, random, onFull } = this.#options;
    const backoff = new Backoff({ firstMs: FULL_RETRY_FIRST_MS, maxMs: FULL_RETRY_MAX_MS, random });
    for (;;) {
      const result = await write();
      if (result.kind === "durable") break;
      if (!this.#stop.signal.aborted) onFull(result.reason);
      await clock.sleep(backoff.nextMs(), this.#stop.signal);
    }
    if (backoff.tries > 0) onFull(undefined);
  }

  #isLazy(work: Message): boolean {
    const hard = hardOf(work);
    if (work.entries.length > 0 || work.snapshot !== null) return false;
    return hard === null || (hard.term === this.#written.term && hard.vote === this.#written.vote);
  }
}

function hardOf(work: Message): HardState | null {
  return work.term === 0 ? null : { term: work.term, vote: work.vote, commit: work.commit };
}

/** No room for the record of a snapshot is like no room for any other; then nothing of it is in place. */
async function installed(done: Promise<void>): Promise<LogAppendResult> {
  try {
    await done;
    return { kind: "durable" };
  } catch (error) {
    if (isSwarmError(error, "ResourceExhausted")) return { kind: "full", reason: error.message };
    throw error;
  }
}
