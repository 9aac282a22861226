// A map for very many strings that never takes long over one of them. A plain map that is full copies itself into one of twice the
// size: with a hundred thousand entries that holds the loop for milliseconds, and all maps over the same objects do it together.
// Here the entries are divided among small maps of unequal shares, which fill up one after another.

/** Small maps. The last gets about twice as many entries as the first. */
const PARTS = 64;
/** Hashes are this many; a power of two. */
const HASHES = 4_096;
/** Characters that are hashed, from the end: of ids any are as good as others. */
const HASHED_MAX = 12;

/** The part of each hash. The shares of the parts rise by the same factor from each to the next. */
const PART_OF: Uint8Array = Uint8Array.from({ length: HASHES }, (_, hash) =>
  Math.min(PARTS - 1, Math.floor(PARTS * Math.log2(1 + hash / HASHES))),
);

export class WideMap<T> implements Pick<ReadonlyMap<string, T>, "get"> {
  readonly #parts: readonly Map<string, T>[] = Array.from({ length: PARTS }, () => new Map<string, T>());

  get(key: string): T | undefined {
    return this.#partOf(key).get(key);
  }

  set(key: string, value: T): void {
    this.#partOf(key).set(key, value);
  }

  delete(key: string): void {
    this.#partOf(key).delete(key);
  }

  /** In no order that means anything, but the same for the same entries set in the same order. */
  values(): readonly T[] {
    return this.#parts.flatMap((part) => [...part.values()]);
  }

  #partOf(key: string): Map<string, T> {
    let hash = 0;
    for (let at = Math.max(0, key.length - HASHED_MAX); at < key.length; at += 1)
      hash = Math.imul(hash ^ key.charCodeAt(at), 0x9e3779b1);
    // The high bits are the mixed ones.
    return this.#parts[PART_OF[hash >>> 20] ?? 0] as Map<string, T>;
  }
}
