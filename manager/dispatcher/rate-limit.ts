// How often one key may do something: at most `max` times in any window that begins with the first of them.

import type { Clock } from "../../proto/base/clock.ts";

interface Count {
  readonly sinceMs: number;
  times: number;
}

export interface RateLimitOptions {
  readonly clock: Clock;
  readonly max: number;
  readonly windowMs: number;
}

/** Keys are the caller's to bound; those whose window is over are forgotten when the map doubles. */
export class RateLimit {
  readonly #options: RateLimitOptions;
  readonly #counts = new Map<string, Count>();
  #sweepAt = 1_024;

  constructor(options: RateLimitOptions) {
    this.#options = options;
  }

  /** Counts one more; false when it is one too many. */
  admit(key: string): boolean {
    const { clock, max, windowMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const count = this.#counts.get(key);
    if (count === undefined || nowMs - count.sinceMs >= windowMs) {
      this.#counts.set(key, { sinceMs: nowMs, times: 1 });
      this.#sweep(nowMs);
      return true;
    }
    count.times += 1;
    return count.times <= max;
  }

  #sweep(nowMs: number): void {
    if (this.#counts.size < this.#sweepAt) return;
    for (const [key, count] of this.#counts)
      if (nowMs - count.sinceMs >= this.#options.windowMs) this.#counts.delete(key);
    this.#sweepAt = Math.max(1_024, this.#counts.size * 2);
  }
}
