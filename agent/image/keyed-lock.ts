// One at a time per key, in the order of asking. Nobody holds a lock while waiting for a person or the network.

export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `action` when all earlier ones of this key have settled. */
  run<T>(key: string, action: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(action);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    return result;
  }
}
