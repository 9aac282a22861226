// When the next batch may go. After a quiet time the first few go at once, so that one service starts without waiting; under
// load there is one batch per window, so that ten thousand changes cost a few commits.

import type { Clock } from "../../proto/base/clock.ts";

export interface BatchWindowOptions {
  readonly clock: Clock;
  /** Between two batches under load. */
  readonly windowMs: number;
  /** Batches that may go without waiting after `burst * windowMs` of quiet. */
  readonly burst: number;
}

/** Use it from one loop: it counts the turns that it grants. */
export class BatchWindow {
  readonly #options: BatchWindowOptions;
  /** Invariant: in [0, burst]; grows by one per window. */
  #turns: number;
  #atMs: number;

  constructor(options: BatchWindowOptions) {
    this.#options = options;
    this.#turns = options.burst;
    this.#atMs = options.clock.monotonicMs();
  }

  /** Milliseconds until a turn is free; 0 for at once. */
  waitMs(): number {
    this.#refill();
    return this.#turns >= 1 ? 0 : Math.ceil((1 - this.#turns) * this.#options.windowMs);
  }

  /** Settles when the next batch may go, and takes the turn. Rejects with the signal's reason. */
  async turn(signal: AbortSignal): Promise<void> {
    for (let waitMs = this.waitMs(); waitMs > 0; waitMs = this.waitMs()) {
      await this.#options.clock.sleep(waitMs, signal);
    }
    this.take();
  }

  /** Takes a turn whether or not one is free: a batch that is full goes at once. */
  take(): void {
    this.#refill();
    this.#turns = Math.max(0, this.#turns - 1);
  }

  #refill(): void {
    const { clock, windowMs, burst } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#turns = Math.min(burst, this.#turns + (nowMs - this.#atMs) / windowMs);
    this.#atMs = nowMs;
  }
}
