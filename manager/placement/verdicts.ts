// What every node says to a task, by the very filters that the scheduler asks, and the smallest changes that would place it.

import type { NodeVerdict } from "../../proto/gen/control.ts";
import { filtersFor, type Wish } from "./filters.ts";
import type { LoadBook } from "./load-book.ts";
import { type Refusal, nodeTitle } from "./refusals.ts";

export interface Verdicts {
  readonly verdicts: readonly NodeVerdict[];
  readonly remedies: readonly string[];
}

/** Remedies that are told; those for nodes that refuse for the same reasons are one. */
const REMEDIES_MAX = 4;

/** Nodes that refuse for the fewest reasons first, then by name; at most `limit`. */
export function verdictsOf(book: LoadBook, wish: Wish, limit: number): Verdicts {
  const filters = filtersFor(wish);
  const asked = [...book.all()].map((load) => ({
    node: load.node,
    refusals: filters.flatMap((filter) => filter.refusals(load)),
  }));
  asked.sort((a, b) => a.refusals.length - b.refusals.length || (nodeTitle(a.node) < nodeTitle(b.node) ? -1 : 1));
  const verdicts = asked.slice(0, limit).map(({ node, refusals }) => ({
    nodeId: node.id,
    hostname: nodeTitle(node),
    accepted: refusals.length === 0,
    refusals: refusals.map(({ sentence }) => sentence),
  }));
  return { verdicts, remedies: remediesOf(asked.map(({ refusals }) => refusals)) };
}

/** Of the nodes that refuse for the fewest reasons, all of which have to go. */
function remediesOf(refusals: readonly (readonly Refusal[])[]): readonly string[] {
  const [fewest] = refusals;
  if (fewest === undefined) return ["add a node to the cluster"];
  if (fewest.length === 0) return [];
  const nearest = refusals.filter((each) => each.length === fewest.length);
  const sentences = new Set(nearest.map((each) => each.map(({ remedy }) => remedy).join(", and ")));
  return [...sentences].slice(0, REMEDIES_MAX);
}
