// The order in which nodes are taken for the tasks of one service: fewest of its tasks, then fewest in all, then by id. A heap, so
// that a thousand tasks over thousands of nodes do not compare every node for every task.

import type { UnixMs } from "../../proto/base/clock.ts";
import type { NodeLoad } from "./node-load.ts";

interface Candidate {
  readonly load: NodeLoad;
  readonly faulty: boolean;
}

export class Spread {
  readonly #serviceId: string;
  /** A binary heap: the best is first. */
  readonly #heap: Candidate[] = [];

  constructor(loads: Iterable<NodeLoad>, options: { readonly serviceId: string; readonly now: UnixMs }) {
    this.#serviceId = options.serviceId;
    for (const load of loads) {
      this.#heap.push({ load, faulty: load.isFaulty(options.serviceId, options.now) });
      this.#rise(this.#heap.length - 1);
    }
  }

  /** The node to take; undefined when none is left. */
  get best(): NodeLoad | undefined {
    return this.#heap[0]?.load;
  }

  /** The best node got a task: it finds its new place. */
  taken(): void {
    this.#sink();
  }

  /** The best node cannot take more. */
  drop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink();
  }

  #rise(from: number): void {
    for (let at = from; at > 0;) {
      const above = (at - 1) >> 1;
      if (!this.#isBetter(at, above)) return;
      this.#swap(at, above);
      at = above;
    }
  }

  #sink(): void {
    for (let at = 0; ;) {
      let best = at;
      for (const below of [2 * at + 1, 2 * at + 2])
        if (below < this.#heap.length && this.#isBetter(below, best)) best = below;
      if (best === at) return;
      this.#swap(at, best);
      at = best;
    }
  }

  /** Of two places in the heap: is the node at the first to be taken before that at the second? */
  #isBetter(first: number, second: number): boolean {
    const [a, b] = [this.#heap[first], this.#heap[second]];
    if (a === undefined || b === undefined) return false;
    if (a.faulty !== b.faulty) return b.faulty;
    const ofService = a.load.tasksOf(this.#serviceId) - b.load.tasksOf(this.#serviceId);
    if (ofService !== 0) return ofService < 0;
    if (a.load.tasks !== b.load.tasks) return a.load.tasks < b.load.tasks;
    return a.load.node.id < b.load.node.id;
  }

  #swap(first: number, second: number): void {
    const [a, b] = [this.#heap[first], this.#heap[second]];
    if (a === undefined || b === undefined) return;
    this.#heap[first] = b;
    this.#heap[second] = a;
  }
}
