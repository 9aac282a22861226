// Which nodes a task may go to. The filters are asked in this order, the first that refuses a node is the reason, and the words
// are Docker Swarm's.

import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { NodeSpec_Availability, type Placement } from "../../proto/gen/specs.ts";
import { type Constraint, meetsConstraints, parseConstraint } from "../../proto/model/constraint.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import type { NodeLoad } from "./node-load.ts";

export interface Filter {
  readonly accepts: (load: NodeLoad) => boolean;
  /** Why `count` nodes were refused. */
  readonly reason: (count: number) => string;
}

/** For one task; all of a group of like tasks can share them. */
export function filtersFor(task: WholeTask, placement: Placement): readonly Filter[] {
  const constraints: readonly Constraint[] = placement.constraints.map(parseConstraint);
  const most = placement.maxReplicasPerNode;
  return [
    {
      accepts: ({ node }) =>
        node.status.state === NodeStatus_State.READY && node.spec.availability === NodeSpec_Availability.ACTIVE,
      reason: (count) => `${nodes(count)} not available for new tasks`,
    },
    {
      accepts: ({ node }) => meetsConstraints(node, constraints),
      reason: (count) => `scheduling constraints not satisfied on ${nodes(count)}`,
    },
    {
      accepts: (load) => load.hasRoomFor(task),
      reason: (count) => `insufficient resources on ${nodes(count)}`,
    },
    {
      accepts: (load) => load.hasPortsFor(task),
      reason: (count) => `host-mode port already in use on ${nodes(count)}`,
    },
    {
      accepts: (load) => most === 0 || load.tasksOf(task.serviceId) < most,
      reason: (count) => `max replicas per node limit exceed on ${nodes(count)}`,
    },
  ];
}

/** "no suitable node (scheduling constraints not satisfied on 2 nodes; insufficient resources on 1 node)" */
export function explain(filters: readonly Filter[], loads: Iterable<NodeLoad>): string {
  const counts = filters.map((filter) => ({ filter, count: 0 }));
  for (const load of loads) {
    const refusing = counts.find(({ filter }) => !filter.accepts(load));
    if (refusing !== undefined) refusing.count += 1;
  }
  const reasons = counts
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
    .map(({ filter, count }) => filter.reason(count));
  return reasons.length === 0 ? "no suitable node" : `no suitable node (${reasons.join("; ")})`;
}

function nodes(count: number): string {
  return count === 1 ? "1 node" : `${count} nodes`;
}
