// Waiting for what only the driver's turns bring about: each waiter has a probe that is asked after every turn, and an end.

/** Asked after each turn; undefined: not yet. What it throws is what the waiter is told. */
export type Probe<T> = () => T | undefined;

interface Waiter {
  /** True when it is settled and may go. */
  readonly poll: (nowMs: number) => boolean;
  readonly fail: (error: Error) => void;
}

export class Waits {
  #waiters: readonly Waiter[] = [];
  #failure: Error | undefined;

  /** Settles with the probe's first answer; rejects with what it throws, with `late()` after the deadline, or with the signal's reason. */
  until<T>(
    probe: Probe<T>,
    end: { readonly deadlineMs: number; readonly late: () => Error; readonly signal: AbortSignal },
  ): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const { signal } = end;
      const abort = (): void => {
        this.#waiters = this.#waiters.filter((each) => each !== waiter);
        reject(signal.reason as Error);
      };
      const settle = (action: () => void): true => {
        signal.removeEventListener("abort", abort);
        action();
        return true;
      };
      const waiter: Waiter = {
        poll: (nowMs) => {
          let answer: T | undefined;
          try {
            answer = probe();
          } catch (error) {
            const failure = error as Error;
            return settle(() => reject(failure));
          }
          if (answer !== undefined) {
            const found = answer;
            return settle(() => resolve(found));
          }
          return nowMs >= end.deadlineMs ? settle(() => reject(end.late())) : false;
        },
        fail: (error) => settle(() => reject(error)),
      };
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      signal.addEventListener("abort", abort, { once: true });
      this.#waiters = [...this.#waiters, waiter];
    });
  }

  poll(nowMs: number): void {
    if (this.#waiters.length === 0) return;
    const settled = new Set(this.#waiters.filter((waiter) => waiter.poll(nowMs)));
    this.#waiters = this.#waiters.filter((waiter) => !settled.has(waiter));
  }

  /** Everybody who waits, and whoever comes, is told so. */
  fail(error: Error): void {
    this.#failure ??= error;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.fail(error);
  }
}
