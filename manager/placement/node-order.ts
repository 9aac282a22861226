// The nodes by how many wanted tasks they have, fewest first, kept in order as tasks come and go: a step costs the same with a
// hundred nodes and with thousands. Among equals the one that has been there longest comes first.

import { assert } from "../../proto/base/assert.ts";
import type { NodeLoad } from "./node-load.ts";

export class NodeOrder {
  readonly #buckets = new Map<number, Set<NodeLoad>>();
  /** The keys of the buckets, lowest first. */
  readonly #counts: number[] = [];
  readonly #countOf = new Map<NodeLoad, number>();

  add(load: NodeLoad): void {
    this.#countOf.set(load, load.tasks);
    let bucket = this.#buckets.get(load.tasks);
    if (bucket === undefined) {
      this.#buckets.set(load.tasks, (bucket = new Set()));
      this.#counts.splice(this.#firstAbove(load.tasks), 0, load.tasks);
    }
    bucket.add(load);
  }

  remove(load: NodeLoad): void {
    const count = this.#countOf.get(load);
    if (count === undefined) return;
    this.#countOf.delete(load);
    const bucket = this.#buckets.get(count);
    assert(bucket?.delete(load) === true, "a node is in the bucket of its count");
    if (bucket.size > 0) return;
    this.#buckets.delete(count);
    this.#counts.splice(this.#firstAbove(count) - 1, 1);
  }

  /** Its tasks were counted anew. */
  moved(load: NodeLoad): void {
    if (this.#countOf.get(load) === load.tasks) return;
    this.remove(load);
    this.add(load);
  }

  /** Fewest tasks first. A node that moves up meanwhile is met again, one that moves down may be missed. */
  *walk(): Generator<NodeLoad> {
    for (
      let count: number | undefined = this.#counts[0];
      count !== undefined;
      count = this.#counts[this.#firstAbove(count)]
    )
      yield* this.#buckets.get(count) ?? [];
  }

  #firstAbove(count: number): number {
    let low = 0;
    let high = this.#counts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#counts[middle] ?? 0) <= count) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
