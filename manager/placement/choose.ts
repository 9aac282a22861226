// Which node the next of some like tasks goes to. Spread: the node with the fewest tasks of the service, then with the fewest in all.
// Binpack: the fullest node that still has room. Preferences divide the nodes first (branches.ts). Nodes where the service kept
// failing come last. Whoever asks counts the task on the node that it got before asking for the next.

import type { UnixMs } from "../../proto/base/clock.ts";
import type { GenericResource } from "../../proto/gen/specs.ts";
import { Placement_Strategy } from "../../proto/gen/specs.ts";
import { Branches } from "./branches.ts";
import { type Filter, type Wish, acceptsAll, explain, filtersFor } from "./filters.ts";
import { LevelSpread } from "./level-spread.ts";
import type { LoadBook } from "./load-book.ts";
import type { NodeLoad } from "./node-load.ts";

export interface Chooser {
  /** Nodes that were looked at before the first was asked for. */
  readonly looks: number;
  /** The node for the next task; undefined when none is left. The same one as long as nothing is counted on it. */
  next(): NodeLoad | undefined;
  /** A task was counted on the node that `next` gave. */
  taken(): void;
}

/** What all choosers are made from. */
export interface Choice {
  readonly book: LoadBook;
  readonly wish: Wish;
  readonly filters: readonly Filter[];
  readonly now: UnixMs;
}

export function chooserFor(choice: Choice): Chooser {
  const { book, wish, filters } = choice;
  const { placement, task } = wish;
  if (task.slot === 0) return new OwnNode(book.get(task.nodeId), filters);
  const isPlain = placement.preferences.length === 0 && placement.strategy === Placement_Strategy.SPREAD;
  return isPlain ? new LevelSpread(choice) : new Branches(choice);
}

/** The one node that a task of slot 0 belongs to. */
class OwnNode implements Chooser {
  readonly looks = 1;
  readonly #load: NodeLoad | undefined;
  readonly #filters: readonly Filter[];

  constructor(load: NodeLoad | undefined, filters: readonly Filter[]) {
    this.#load = load;
    this.#filters = filters;
  }

  next(): NodeLoad | undefined {
    return this.#load !== undefined && acceptsAll(this.#filters, this.#load) ? this.#load : undefined;
  }

  taken(): void {
    // The filters see what was counted.
  }
}

/** The nodes that are asked for a task; those that a reason on it counts. */
export function askedNodes(book: LoadBook, { task }: Wish): Iterable<NodeLoad> {
  if (task.slot !== 0) return book.all();
  const own = book.get(task.nodeId);
  return own === undefined ? [] : [own];
}

export type Place =
  | { readonly kind: "node"; readonly nodeId: string; readonly generic: readonly GenericResource[] }
  | { readonly kind: "none"; readonly reason: string };

/**
 * Where one task would go if it were placed now. One that has a node is asked about as if it had left it, and may be told to stay.
 * Nothing is changed.
 */
export function placeFor(book: LoadBook, wish: Wish, now: UnixMs): Place {
  const { task } = wish;
  const counted = book.get(task.nodeId)?.task(task.id);
  if (counted !== undefined) book.drop(counted);
  try {
    const filters = filtersFor(wish);
    const load = chooserFor({ book, wish, filters, now }).next();
    if (load === undefined) return { kind: "none", reason: explain(filters, askedNodes(book, wish)) };
    return { kind: "node", nodeId: load.node.id, generic: load.chooseGeneric(task) };
  } finally {
    if (counted !== undefined) book.put(counted);
  }
}
