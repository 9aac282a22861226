// Which nodes a task may go to. The filters are asked in this order; the first that refuses a node is the reason on the task, in
// Docker Swarm's words. Each can also say in figures why it refuses one node, and what would change its mind (refusals.ts words it).

import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { NodeSpec_Availability, type Placement, type Platform } from "../../proto/gen/specs.ts";
import { type Affinity, parseAffinity } from "../../proto/model/affinity.ts";
import { type Constraint, meetsConstraint, parseConstraint } from "../../proto/model/constraint.ts";
import type { WholeNode, WholeTask } from "../../proto/model/objects.ts";
import type { NodeLoad } from "./node-load.ts";
import {
  type Refusal,
  refusedByAffinity,
  refusedByConstraint,
  refusedByOwner,
  refusedByPlatform,
  refusedByPort,
  refusedByReplicas,
  refusedByResources,
  refusedByState,
} from "./refusals.ts";

export interface Filter {
  readonly accepts: (load: NodeLoad) => boolean;
  /** Why `count` nodes were refused. */
  readonly reason: (count: number) => string;
  /** Why this node is refused; empty exactly when it is accepted. */
  readonly refusals: (load: NodeLoad) => readonly Refusal[];
}

/** A task, and where its service wants it now: that may have changed since the task was made. */
export interface Wish {
  readonly task: WholeTask;
  readonly placement: Placement;
}

/** For one task; all of a group of like tasks can share them. */
export function filtersFor({ task, placement }: Wish): readonly Filter[] {
  const filters = [
    ownNode(task),
    available(),
    constrained(placement.constraints.map(parseConstraint)),
    platforms(placement.platforms),
    resources(task),
    ports(task),
    maxReplicas(task, placement.maxReplicasPerNode),
    affinities(task, placement.affinities.map(parseAffinity)),
  ];
  return filters.flatMap((filter) => filter ?? []);
}

export function acceptsAll(filters: readonly Filter[], load: NodeLoad): boolean {
  for (const filter of filters) if (!filter.accepts(load)) return false;
  return true;
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

/** The task of a node (slot 0) goes there or nowhere. */
function ownNode({ slot, nodeId }: WholeTask): Filter | undefined {
  if (slot !== 0) return undefined;
  return {
    accepts: ({ node }) => node.id === nodeId,
    reason: (count) => `the task belongs to another node than ${nodes(count)}`,
    refusals: ({ node }) => (node.id === nodeId ? [] : [refusedByOwner(nodeId)]),
  };
}

function available(): Filter {
  return {
    accepts: ({ node }) => isAvailable(node),
    reason: (count) => `${nodes(count)} not available for new tasks`,
    refusals: ({ node }) => (isAvailable(node) ? [] : [refusedByState(node)]),
  };
}

function isAvailable({ status, spec }: WholeNode): boolean {
  return status.state === NodeStatus_State.READY && spec.availability === NodeSpec_Availability.ACTIVE;
}

function constrained(constraints: readonly Constraint[]): Filter | undefined {
  if (constraints.length === 0) return undefined;
  return {
    accepts: ({ node }) => constraints.every((constraint) => meetsConstraint(node, constraint)),
    reason: (count) => `scheduling constraints not satisfied on ${nodes(count)}`,
    refusals: ({ node }) =>
      constraints
        .filter((constraint) => !meetsConstraint(node, constraint))
        .map((constraint) => refusedByConstraint(node, constraint)),
  };
}

function platforms(wanted: readonly Platform[]): Filter | undefined {
  if (wanted.length === 0) return undefined;
  const fits = (node: WholeNode): boolean => meetsPlatforms(node, wanted);
  return {
    accepts: ({ node }) => fits(node),
    reason: (count) => `unsupported platform on ${nodes(count)}`,
    refusals: ({ node }) => (fits(node) ? [] : [refusedByPlatform(node, wanted)]),
  };
}

/** None asked for is any. */
export function meetsPlatforms(node: WholeNode, wanted: readonly Platform[]): boolean {
  return wanted.length === 0 || wanted.some((platform) => isPlatform(node, platform));
}

/** What a platform leaves open is not asked for. */
function isPlatform({ description: { platform } }: WholeNode, wanted: Platform): boolean {
  if (wanted.os !== "" && wanted.os !== platform?.os) return false;
  return wanted.architecture === "" || architecture(wanted.architecture) === architecture(platform?.architecture ?? "");
}

/** The kernel's names for what images call amd64 and arm64. */
function architecture(name: string): string {
  return name === "x86_64" ? "amd64" : name === "aarch64" ? "arm64" : name;
}

function resources(task: WholeTask): Filter {
  return {
    accepts: (load) => load.hasRoomFor(task),
    reason: (count) => `insufficient resources on ${nodes(count)}`,
    refusals: (load) => refusedByResources(load, task.spec.reservations),
  };
}

function ports(task: WholeTask): Filter | undefined {
  if (task.ports.length === 0) return undefined;
  return {
    accepts: (load) => load.hasPortsFor(task),
    reason: (count) => `host-mode port already in use on ${nodes(count)}`,
    refusals: (load) => task.ports.flatMap((port) => refusedByPort(load, port)),
  };
}

function maxReplicas({ serviceId }: WholeTask, most: number): Filter | undefined {
  if (most === 0) return undefined;
  return {
    accepts: (load) => load.tasksOf(serviceId) < most,
    reason: (count) => `max replicas per node limit exceed on ${nodes(count)}`,
    refusals: (load) => {
      const tasks = load.tasksOf(serviceId);
      return tasks < most ? [] : [refusedByReplicas({ most, tasks })];
    },
  };
}

/** What the task says of others, and what those that are there say of it. */
function affinities(task: WholeTask, wanted: readonly Affinity[]): Filter {
  const holds = (load: NodeLoad, affinity: Affinity): boolean =>
    (load.companion(affinity) !== undefined) === affinity.together;
  return {
    accepts: (load) => wanted.every((affinity) => holds(load, affinity)) && load.repelling(task) === undefined,
    reason: (count) => `service affinity not satisfied on ${nodes(count)}`,
    refusals: (load) => [
      ...wanted
        .filter((affinity) => !holds(load, affinity))
        .map((affinity) => refusedByAffinity({ affinity, companion: load.companion(affinity), isOwn: true })),
      ...[load.repelling(task)]
        .filter((affinity) => affinity !== undefined)
        .map((affinity) => refusedByAffinity({ affinity, companion: undefined, isOwn: false })),
    ],
  };
}

function nodes(count: number): string {
  return count === 1 ? "1 node" : `${count} nodes`;
}
