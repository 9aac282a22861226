// Turns the monotonic clock into the core's ticks. A process that was held up makes up for nothing: a late wake-up is at most
// one tick, and that one comes after the messages that arrived meanwhile.

import type { Clock } from "../../proto/base/clock.ts";

export const TICK_MS = 100;
export const HEARTBEAT_TICKS = 1;
export const ELECTION_TICKS = 10;
export const ELECTION_MS: number = ELECTION_TICKS * TICK_MS;

/** From here on a wake-up is late: what waits in the sockets is taken first. */
const LATE_MS = TICK_MS / 2;

export interface TickerOptions {
  readonly clock: Clock;
  /** `lateMs`: how much later than wanted the wake-up came. */
  readonly onTick: (lateMs: number) => void;
}

export class Ticker {
  readonly #options: TickerOptions;
  #cancel: (() => void) | undefined;

  constructor(options: TickerOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#cancel === undefined) this.#arm(this.#options.clock.monotonicMs() + TICK_MS);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #arm(dueMs: number): void {
    const { clock } = this.#options;
    this.#cancel = clock.after(Math.max(0, dueMs - clock.monotonicMs()), () => {
      const lateMs = Math.max(0, clock.monotonicMs() - dueMs);
      if (lateMs < LATE_MS) this.#tick(dueMs, lateMs);
      // A timer of no length runs after the next look at the sockets.
      else this.#cancel = clock.after(0, () => this.#tick(clock.monotonicMs(), lateMs));
    });
  }

  #tick(dueMs: number, lateMs: number): void {
    this.#arm(dueMs + TICK_MS);
    this.#options.onTick(lateMs);
  }
}
