// A clock that moves only when a test moves it. Timers run in the order of their times.

import type { Clock, UnixMs } from "../../proto/base/clock.ts";

interface Timer {
  readonly atMs: number;
  readonly action: () => void;
}

export class ManualClock implements Clock {
  #nowMs: number;
  readonly #timers = new Set<Timer>();

  constructor(startMs: UnixMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
  }

  now(): UnixMs {
    return Math.floor(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.size;
  }

  after(ms: number, action: () => void): () => void {
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, ms), action };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const fail = (): void => {
        cancel();
        reject(signal.reason as Error);
      };
      const cancel = this.after(ms, () => {
        signal.removeEventListener("abort", fail);
        resolve();
      });
      signal.addEventListener("abort", fail, { once: true });
    });
  }

  /** Moves time on by `ms`, running what comes due on the way; between two timers everything promised gets its turn. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await settled();
      const next = [...this.#timers].filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#timers.delete(next);
      next.action();
    }
    this.#nowMs = endMs;
    await settled();
  }
}

/** Gives every promise that can settle without time or input its turn (several turns of the event loop, so file work has gone on too). */
export async function settled(turns = 5): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
