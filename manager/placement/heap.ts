// A binary heap whose best item may get worse or go: a thousand tasks over thousands of nodes do not compare every node for every
// task.

export class Heap<T> {
  readonly #items: T[];
  readonly #isBetter: (pair: { readonly a: T; readonly b: T }) => boolean;

  constructor(items: Iterable<T>, isBetter: (pair: { readonly a: T; readonly b: T }) => boolean) {
    this.#items = [...items];
    this.#isBetter = isBetter;
    for (let at = (this.#items.length >> 1) - 1; at >= 0; at -= 1) this.#sink(at);
  }

  get best(): T | undefined {
    return this.#items[0];
  }

  /** The best item is less good than it was: it finds its new place. */
  worsened(): void {
    this.#sink(0);
  }

  /** Takes the best item out. */
  drop(): void {
    const last = this.#items.pop();
    if (last === undefined || this.#items.length === 0) return;
    this.#items[0] = last;
    this.#sink(0);
  }

  #sink(from: number): void {
    for (let at = from; ;) {
      let best = at;
      for (const below of [2 * at + 1, 2 * at + 2])
        if (below < this.#items.length && this.#beats(below, best)) best = below;
      if (best === at) return;
      const item = this.#items[at] as T;
      this.#items[at] = this.#items[best] as T;
      this.#items[best] = item;
      at = best;
    }
  }

  #beats(first: number, second: number): boolean {
    return this.#isBetter({ a: this.#items[first] as T, b: this.#items[second] as T });
  }
}
