// A running manager as the machine sees it: it can be held up (its loop stalls, or SIGSTOP) and it can be killed. Whatever is to
// happen in it goes through `run`, so that a dead process does nothing and a paused one does everything late. Its clock goes at its own pace.

import type { Clock } from "../../proto/base/clock.ts";
import type { Scheduler } from "./scheduler.ts";

/** Wall-clock time at the start of every simulation. */
const EPOCH_MS = 1_700_000_000_000;

export interface Pace {
  /** Seconds of its clock in one true second. */
  readonly rate: number;
  /** How wrong its wall clock is. */
  readonly offsetMs: number;
}

export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #scheduler: Scheduler;
  readonly #startedMs: number;
  #isAlive = true;
  #isPaused = false;
  #held: (() => void)[] = [];
  readonly #death = new AbortController();

  constructor(options: { readonly name: string; readonly scheduler: Scheduler; readonly pace: Pace }) {
    this.name = options.name;
    this.#scheduler = options.scheduler;
    this.#startedMs = options.scheduler.nowMs;
    this.clock = this.#makeClock(options.pace);
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Aborts when it is killed: others see their connections to it break. */
  get death(): AbortSignal {
    return this.#death.signal;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Now, or when the pause ends, or never. */
  run(action: () => void): void {
    if (!this.#isAlive) return;
    if (this.#isPaused) this.#held.push(action);
    else action();
  }

  /** A call from outside: it begins when the process gets to it, and nobody hears of it again when the process is killed. */
  ask<T>(action: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => this.run(() => void action().then(resolve, reject)));
  }

  pause(): void {
    this.#isPaused = true;
  }

  /** What came meanwhile happens in its order, each with a turn of the loop. */
  resume(): void {
    this.#isPaused = false;
    for (const action of this.#held.splice(0)) this.#scheduler.after(0, () => this.run(action));
  }

  /** kill -9: nothing of it happens any more. */
  kill(): void {
    this.#isAlive = false;
    this.#held = [];
    this.#death.abort();
  }

  #makeClock({ rate, offsetMs }: Pace): Clock {
    const scheduler = this.#scheduler;
    const after = (ms: number, action: () => void): (() => void) =>
      scheduler.after(Math.max(0, ms) / rate, () => this.run(action));
    return {
      now: () => Math.floor(EPOCH_MS + offsetMs + scheduler.nowMs * rate),
      monotonicMs: () => (scheduler.nowMs - this.#startedMs) * rate,
      after: (ms, action) => {
        let isWanted = true;
        const cancel = after(ms, () => {
          if (isWanted) action();
        });
        return () => {
          isWanted = false;
          cancel();
        };
      },
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal.aborted) {
            reject(signal.reason as Error);
            return;
          }
          const fail = (): void => {
            cancel();
            reject(signal.reason as Error);
          };
          const cancel = after(ms, () => {
            signal.removeEventListener("abort", fail);
            resolve();
          });
          signal.addEventListener("abort", fail, { once: true });
        }),
    };
  }
}
