// How long to wait before the next try. Pure arithmetic: who waits, and on which clock, is the caller's.

import type { Random } from "./random.ts";

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly random: Random;
}

/** Doubles from `firstMs` to `maxMs`; each delay is drawn from [half, whole), so that many clients do not return together. */
export class Backoff {
  readonly #options: BackoffOptions;
  #tries = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Tries since the start or the last reset. */
  get tries(): number {
    return this.#tries;
  }

  /** Whole milliseconds to wait before the next try. */
  nextMs(): number {
    const whole = Math.min(this.#options.maxMs, this.#options.firstMs * 2 ** Math.min(this.#tries, 30));
    this.#tries += 1;
    return Math.round(whole / 2 + (this.#options.random.float() * whole) / 2);
  }

  /** After a success: the next failure waits `firstMs` again. */
  reset(): void {
    this.#tries = 0;
  }
}
