// Why one node refuses a task, in a sentence with the figures, and the smallest thing to do about it. Words only; what is refused is
// filters.ts's.

import { printBytes, printCpus } from "../../proto/base/units.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import {
  NodeSpec_Availability,
  type Platform,
  type PortConfig,
  PortConfig_Protocol,
  type Resources,
} from "../../proto/gen/specs.ts";
import type { Affinity } from "../../proto/model/affinity.ts";
import { type Constraint, shownValue } from "../../proto/model/constraint.ts";
import type { WholeNode, WholeTask } from "../../proto/model/objects.ts";
import { taskName } from "../../proto/model/task-name.ts";
import type { NodeLoad, Room } from "./node-load.ts";

export interface Refusal {
  readonly sentence: string;
  /** What would make the node accept, as far as this filter goes: "drop constraint node.labels.zone==a". */
  readonly remedy: string;
}

/** What messages call a node. */
export function nodeTitle(node: WholeNode): string {
  return node.description.hostname || node.spec.name || node.id;
}

export function refusedByOwner(nodeId: string): Refusal {
  return { sentence: `the task belongs to node ${nodeId}`, remedy: `wait for node ${nodeId}` };
}

export function refusedByState(node: WholeNode): Refusal {
  const name = nodeTitle(node);
  if (node.status.state === NodeStatus_State.DOWN)
    return { sentence: `the node is down${because(node)}`, remedy: `bring node ${name} back` };
  if (node.status.state !== NodeStatus_State.READY)
    return { sentence: `the node has not reported yet${because(node)}`, remedy: `wait for node ${name} to report` };
  const availability = node.spec.availability === NodeSpec_Availability.DRAIN ? "drain" : "pause";
  return {
    sentence: `the node takes no new tasks: its availability is ${availability}`,
    remedy: `make node ${name} active`,
  };
}

function because({ status }: WholeNode): string {
  return status.message === "" ? "" : ` (${status.message})`;
}

export function refusedByConstraint(node: WholeNode, constraint: Constraint): Refusal {
  const { subject, text } = constraint;
  const value = shownValue(node, constraint);
  const found = value === "" ? "has none" : `has ${JSON.stringify(value)}`;
  const remedy = `drop constraint ${text}`;
  const isLabel = subject.kind === "nodeLabel" && constraint.equal;
  return {
    sentence: `constraint ${text} is not met: the node ${found}`,
    remedy: isLabel ? `${remedy} or label node ${nodeTitle(node)} with ${subject.label}=${constraint.value}` : remedy,
  };
}

export function refusedByPlatform({ description }: WholeNode, wanted: readonly Platform[]): Refusal {
  const names = wanted.map(platformText).join(" or ");
  const own = description.platform === undefined ? "an unknown platform" : platformText(description.platform);
  return { sentence: `platform ${names} is wanted: the node is ${own}`, remedy: `allow --platform ${own}` };
}

function platformText({ os, architecture }: Platform): string {
  return [os === "" ? "*" : os, ...(architecture === "" ? [] : [architecture])].join("/");
}

/** Empty when there is room for all of it. */
export function refusedByResources(load: NodeLoad, { nanoCpus, memoryBytes, generic }: Resources): readonly Refusal[] {
  const name = nodeTitle(load.node);
  const print = String;
  const kinds = [
    { what: "cpu", needs: nanoCpus, room: load.cpus, print: printCpus, unit: " cpu", flag: "--reserve-cpu" },
    {
      what: "memory",
      needs: memoryBytes,
      room: load.memory,
      print: printBytes,
      unit: " of memory",
      flag: "--reserve-memory",
    },
    ...generic.map(({ kind, count }) => {
      const room = load.generic(kind);
      return { what: kind, needs: count, room, print, unit: ` ${kind}`, flag: `--generic-resource ${kind}` };
    }),
  ];
  return kinds
    .filter(({ needs, room }) => needs > 0 && needs > room.free)
    .map(({ what, needs, room, print, unit, flag }) => {
      const { total, free }: Room = room;
      const lower = free > 0 ? `, or lower ${flag} to ${print(free)}` : "";
      return {
        sentence: `insufficient ${what}: needs ${print(needs)}, ${print(free)} of ${print(total)} unreserved`,
        remedy: `free or add ${print(needs - free)}${unit} on ${name}${lower}`,
      };
    });
}

export function refusedByPort(load: NodeLoad, port: PortConfig): readonly Refusal[] {
  const holder = load.holderOf(port);
  if (holder === undefined) return [];
  const task = load.task(holder);
  const name = task === undefined ? holder : taskName(task);
  const protocol = port.protocol === PortConfig_Protocol.UDP ? "udp" : "tcp";
  return [
    {
      sentence: `host port ${port.publishedPort}/${protocol} is held by ${name}`,
      remedy: `publish another port than ${port.publishedPort}, or stop ${name} on ${nodeTitle(load.node)}`,
    },
  ];
}

export function refusedByReplicas({ most, tasks }: { readonly most: number; readonly tasks: number }): Refusal {
  return {
    sentence: `it has ${tasks} of the service's tasks, and --replicas-max-per-node is ${most}`,
    remedy: `raise --replicas-max-per-node to ${tasks + 1}`,
  };
}

export function refusedByAffinity(facts: {
  readonly affinity: Affinity;
  /** A task that it speaks of and that is there. */
  readonly companion: WholeTask | undefined;
  /** Said by the task itself, or by one that is there. */
  readonly isOwn: boolean;
}): Refusal {
  const { affinity, companion, isOwn } = facts;
  if (!isOwn)
    return {
      sentence: `a task that is there has affinity ${affinity.text}`,
      remedy: `drop affinity ${affinity.text} of the service that has it`,
    };
  const found = companion === undefined ? "no such task is there" : `${taskName(companion)} is there`;
  return { sentence: `affinity ${affinity.text} is not met: ${found}`, remedy: `drop affinity ${affinity.text}` };
}
