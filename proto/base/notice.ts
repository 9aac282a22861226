// "Something changed": many notifies before a wait count as one. The queue of length one that level-triggered loops need.

/** One waiter at a time. */
export class Notice {
  #raised = false;
  #wake: (() => void) | undefined;

  /** Lets the waiter go, or the next one at once. */
  raise(): void {
    this.#raised = true;
    this.#wake?.();
  }

  /** Settles when raised since the last wait; rejects with the signal's reason when it aborts. */
  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#wake = undefined;
        signal.removeEventListener("abort", fail);
        this.#raised = false;
        resolve();
      };
      const fail = (): void => {
        this.#wake = undefined;
        signal.removeEventListener("abort", fail);
        reject(signal.reason as Error);
      };
      if (signal.aborted) fail();
      else if (this.#raised) settle();
      else {
        this.#wake = settle;
        signal.addEventListener("abort", fail, { once: true });
      }
    });
  }
}
