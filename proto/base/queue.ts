// A bounded queue between one producer and one consumer that both wait: a full queue holds the producer back.

/** Iterate it once. After `end` the consumer still gets what is in it. */
export class Queue<T> implements AsyncIterable<T> {
  readonly #max: number;
  readonly #items: T[] = [];
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  /** Waiters; each takes its own listeners away when it goes. */
  #wakeProducer: (() => void) | undefined;
  #wakeConsumer: (() => void) | undefined;

  /** `max`: items it holds. */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#items.length;
  }

  /** Settles when there was room, or the queue has ended (the item is then dropped). Rejects with the signal's reason. */
  async put(item: T, signal: AbortSignal): Promise<void> {
    while (!this.#ended && this.#items.length >= this.#max) {
      await waitFor(signal, (wake) => {
        this.#wakeProducer = wake;
      });
    }
    signal.throwIfAborted();
    if (this.#ended) return;
    this.#items.push(item);
    this.#wakeConsumer?.();
  }

  /** No more items; with an error, the consumer's loop throws it after what is left. Idempotent. */
  end(failure?: { readonly error: unknown }): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#wakeConsumer?.();
    this.#wakeProducer?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#wakeProducer?.();
        yield item;
      } else if (this.#ended) {
        if (this.#failure !== undefined) throw this.#failure.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeConsumer = resolve;
        });
      }
    }
  }
}

function waitFor(signal: AbortSignal, register: (wake: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (): void => reject(signal.reason as Error);
    if (signal.aborted) {
      fail();
      return;
    }
    signal.addEventListener("abort", fail, { once: true });
    register(() => {
      signal.removeEventListener("abort", fail);
      resolve();
    });
  });
}
