// Several async streams as one, items in the order they come. Every source may be one item ahead of the reader, so the pace is
// the reader's. Sources may be added while it is read.

/** Read it once. A source that throws ends the whole with its error. */
export class Merge<T> {
  readonly #ready: { readonly source: AsyncIterator<T>; readonly item: T }[] = [];
  readonly #sources = new Set<AsyncIterator<T>>();
  #failure: { readonly error: unknown } | undefined;
  #sealed = false;
  #wake: (() => void) | undefined;

  /** Begins to read one more. */
  add(stream: AsyncIterable<T>): void {
    const source = stream[Symbol.asyncIterator]();
    this.#sources.add(source);
    this.#pull(source);
  }

  /** Sources that have not ended. */
  get size(): number {
    return this.#sources.size;
  }

  /** No more sources: the merge ends when those it has do. */
  seal(): void {
    this.#sealed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        const next = this.#ready.shift();
        if (next !== undefined) {
          yield next.item;
          this.#pull(next.source);
          continue;
        }
        if (this.#failure !== undefined) throw this.#failure.error;
        if (this.#sealed && this.#sources.size === 0) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      for (const source of this.#sources) void source.return?.().catch(() => undefined);
      this.#sources.clear();
    }
  }

  #pull(source: AsyncIterator<T>): void {
    if (!this.#sources.has(source)) return;
    source.next().then(
      (next) => {
        if (next.done === true) this.#sources.delete(source);
        else this.#ready.push({ source, item: next.value });
        this.#wake?.();
      },
      (error: unknown) => {
        this.#sources.delete(source);
        this.#failure ??= { error };
        this.#wake?.();
      },
    );
  }
}
