// Read barriers: what a reader must wait for, so that it sees everything that was committed before it asked (thesis 6.4). The
// barriers of one turn share one round. There are no leases: a paused process would serve stale data.

import type { Index, ReadState, StepError } from "raft-ts";
import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";

/** Longest wait for a majority's word. */
export const READ_TIMEOUT_MS = 5_000;
/** A request that was passed to the leader may be lost on the way: it is asked again. */
const ASK_AGAIN_MS = 500;
/** Barriers that wait; more are refused. */
const WAITING_MAX = 10_000;

interface Barrier {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  isOver: boolean;
}

interface Round {
  readonly context: Uint8Array;
  readonly barriers: readonly Barrier[];
  askedMs: number;
}

export interface ReadsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly ask: (context: Uint8Array) => StepError | null;
  /** Why no majority answers, in a sentence. */
  readonly why: () => string;
  /** A turn is wanted. */
  readonly wake: () => void;
}

export class Reads {
  readonly #options: ReadsOptions;
  #gathering: Barrier[] = [];
  /** By context, in the order in which they were asked. */
  readonly #rounds = new Map<string, Round>();
  /** Answered, waiting for the index to be applied. */
  #confirmed: { readonly index: Index; readonly barriers: readonly Barrier[] }[] = [];
  #count = 0;
  #failure: Error | undefined;

  constructor(options: ReadsOptions) {
    this.#options = options;
  }

  barrier(signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    if (this.#count >= WAITING_MAX)
      return Promise.reject(
        new SwarmError("ResourceExhausted", "too many reads wait for this manager; try again later"),
      );
    return new Promise((resolve, reject) => {
      const end = (action: () => void) => (): void => {
        if (barrier.isOver) return;
        barrier.isOver = true;
        this.#count -= 1;
        signal.removeEventListener("abort", abort);
        action();
      };
      const barrier: Barrier = {
        deadlineMs: this.#options.clock.monotonicMs() + READ_TIMEOUT_MS,
        resolve: end(resolve),
        reject: (error) => end(() => reject(error))(),
        isOver: false,
      };
      const abort = (): void => barrier.reject(signal.reason as Error);
      signal.addEventListener("abort", abort, { once: true });
      this.#count += 1;
      this.#gathering.push(barrier);
      this.#options.wake();
    });
  }

  /** Opens one round for what gathered. */
  flush(): void {
    if (this.#gathering.length === 0) return;
    // Random, so that an answer to this node's former life is not taken for one to this.
    const round: Round = { context: this.#options.random.bytes(16), barriers: this.#gathering, askedMs: 0 };
    this.#gathering = [];
    this.#rounds.set(keyOf(round.context), round);
    this.#ask(round);
  }

  answered(state: ReadState): void {
    const key = keyOf(state.context);
    const round = this.#rounds.get(key);
    if (round === undefined) return;
    this.#rounds.delete(key);
    if (state.kind === "ready") this.#confirmed.push({ index: state.index, barriers: round.barriers });
    else this.#refuse(round);
  }

  /** Lets those go whose index is applied. */
  advance(applied: Index): void {
    if (this.#confirmed.length === 0) return;
    const ready = this.#confirmed.filter((each) => each.index <= applied);
    if (ready.length === 0) return;
    this.#confirmed = this.#confirmed.filter((each) => each.index > applied);
    for (const { barriers } of ready) for (const barrier of barriers) barrier.resolve();
  }

  tick(nowMs: number): void {
    const why = (): SwarmError => new SwarmError("Unavailable", this.#options.why());
    for (const [key, round] of this.#rounds) {
      for (const barrier of round.barriers) if (!barrier.isOver && nowMs >= barrier.deadlineMs) barrier.reject(why());
      if (round.barriers.every((barrier) => barrier.isOver)) this.#rounds.delete(key);
      else if (nowMs - round.askedMs >= ASK_AGAIN_MS) this.#ask(round);
    }
    for (const { barriers } of this.#confirmed)
      for (const barrier of barriers) if (nowMs >= barrier.deadlineMs) barrier.reject(why());
    this.#confirmed = this.#confirmed.filter((each) => each.barriers.some((barrier) => !barrier.isOver));
  }

  /** Everybody who waits, and whoever comes, is told so. */
  fail(error: Error): void {
    this.#failure ??= error;
    const waiting = [
      ...this.#gathering,
      ...[...this.#rounds.values()].flatMap((round) => round.barriers),
      ...this.#confirmed.flatMap((each) => each.barriers),
    ];
    this.#gathering = [];
    this.#rounds.clear();
    this.#confirmed = [];
    for (const barrier of waiting) barrier.reject(error);
  }

  #ask(round: Round): void {
    round.askedMs = this.#options.clock.monotonicMs();
    const error = this.#options.ask(round.context);
    if (error === null) return;
    this.#rounds.delete(keyOf(round.context));
    this.#refuse(round);
  }

  #refuse(round: Round): void {
    const error = new SwarmError("Unavailable", this.#options.why());
    for (const barrier of round.barriers) barrier.reject(error);
  }
}

function keyOf(context: Uint8Array): string {
  return Buffer.from(context).toString("hex");
}
