// The generic resources of one node: what it declares, what tasks hold of it, and what a task is given. A kind with names is given
// out name by name, so that no two tasks hold the same one; a kind with a number is only counted.

import { amountOf } from "../../proto/model/generic-resource.ts";
import type { GenericResource } from "../../proto/gen/specs.ts";

interface Held {
  count: number;
  /** How many tasks hold each name; one unless something went wrong. */
  readonly names: Map<string, number>;
}

export class GenericLoad {
  readonly #declared: readonly GenericResource[];
  readonly #held = new Map<string, Held>();

  constructor(declared: readonly GenericResource[]) {
    this.#declared = declared;
  }

  /** Counts what a task holds, or gives it back. */
  count(generic: readonly GenericResource[], by: 1 | -1): void {
    for (const { kind, count, names } of generic) {
      let held = this.#held.get(kind);
      if (held === undefined) this.#held.set(kind, (held = { count: 0, names: new Map() }));
      held.count += by * count;
      for (const name of names) {
        const holders = (held.names.get(name) ?? 0) + by;
        if (holders > 0) held.names.set(name, holders);
        else held.names.delete(name);
      }
    }
  }

  total(kind: string): number {
    const declared = this.#of(kind);
    return declared === undefined ? 0 : amountOf(declared);
  }

  /** Not below zero: a node may come to declare less than its tasks hold. */
  free(kind: string): number {
    const declared = this.#of(kind);
    if (declared === undefined) return 0;
    return declared.names.length > 0
      ? this.#freeNames(declared).length
      : Math.max(0, declared.count - this.#count(kind));
  }

  hasFree(asked: readonly GenericResource[]): boolean {
    return asked.every(({ kind, count }) => this.free(kind) >= count);
  }

  /** What a task that asks for this is given. The node must have it free. */
  choose(asked: readonly GenericResource[]): readonly GenericResource[] {
    return asked.map(({ kind, count }) => {
      const declared = this.#of(kind);
      if (declared === undefined || declared.names.length === 0) return { kind, count, names: [] };
      return { kind, count: 0, names: this.#freeNames(declared).slice(0, count) };
    });
  }

  #of(kind: string): GenericResource | undefined {
    return this.#declared.find((each) => each.kind === kind);
  }

  #count(kind: string): number {
    return this.#held.get(kind)?.count ?? 0;
  }

  #freeNames({ kind, names }: GenericResource): readonly string[] {
    const held = this.#held.get(kind)?.names;
    return held === undefined ? names : names.filter((name) => !held.has(name));
  }
}
