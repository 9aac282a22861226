// What the cluster's API needs to know of the group of managers: who is in it and who answers. The store says what a node is
// meant to be; this says what it is at the moment.

import { type Node, ManagerStatus_Reachability } from "../../proto/gen/objects.ts";
import { NodeRole } from "../../proto/gen/specs.ts";
import type { WholeNode } from "../../proto/model/objects.ts";

export interface MemberFacts {
  readonly nodeId: string;
  /** host:port */
  readonly addr: string;
  readonly isLeader: boolean;
  readonly isReachable: boolean;
  /** It does not count for the quorum yet. */
  readonly isLearner: boolean;
}

/** The node as people see it: with the leader and the reachability of this moment. */
export function withManagerStatus(node: WholeNode, members: readonly MemberFacts[]): Node {
  const member = members.find(({ nodeId }) => nodeId === node.id);
  if (member?.isLearner === true) return node;
  if (member === undefined) {
    if (node.managerStatus === undefined) return node;
    const { addr } = node.managerStatus;
    return { ...node, managerStatus: { addr, leader: false, reachability: ManagerStatus_Reachability.UNREACHABLE } };
  }
  const { REACHABLE, UNREACHABLE } = ManagerStatus_Reachability;
  const reachability = member.isReachable ? REACHABLE : UNREACHABLE;
  return { ...node, managerStatus: { addr: member.addr, leader: member.isLeader, reachability } };
}

/** Why this manager may not become a worker, in Docker's words; undefined when it may. */
export function demotionProblem(
  node: WholeNode,
  group: { readonly nodes: readonly WholeNode[]; readonly members: readonly MemberFacts[] },
): string | undefined {
  const staying = group.nodes.filter((each) => each.id !== node.id && each.spec.role === NodeRole.MANAGER);
  if (staying.length === 0) return "attempting to demote the last manager of the swarm";
  const voters = group.members.filter((member) => !member.isLearner);
  if (!voters.some((member) => member.nodeId === node.id)) return undefined;
  const left = voters.filter((member) => staying.some((each) => each.id === member.nodeId));
  const reachable = left.filter((member) => member.isReachable).length;
  if (reachable > left.length / 2) return undefined;
  return `can't remove member from the raft: this would result in a loss of quorum (of the ${left.length} managers that stay, ${reachable} can be reached)`;
}
