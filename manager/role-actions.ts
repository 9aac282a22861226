// What must be done next so that each node is what its spec says: manager or worker. Pure: a function of the nodes in the store
// and the members of the group. role-manager.ts does it. Roles follow SwarmKit's role manager (manager/role_manager.go).

import { NodeRole } from "../proto/gen/specs.ts";
import type { WholeNode } from "../proto/model/objects.ts";
import type { MemberView } from "./group-log.ts";

export type RoleAction =
  /** The node's next certificate is a manager's; with it, it joins the group. */
  | { readonly kind: "makeManager"; readonly nodeId: string }
  /** The learner has caught up and answers: it counts from now on. */
  | { readonly kind: "promote"; readonly nodeId: string; readonly raftId: number }
  /** Where the manager is reached is written down. */
  | { readonly kind: "noteAddress"; readonly nodeId: string; readonly addr: string }
  /** This manager leads and is to go: another one takes over, and removes it. */
  | { readonly kind: "handOver"; readonly nodeId: string }
  | { readonly kind: "removeMember"; readonly nodeId: string; readonly raftId: number }
  /** It is no member (any more): its next certificate is a worker's. `lost`: nobody asked for it, the group was made anew without it. */
  | { readonly kind: "makeWorker"; readonly nodeId: string; readonly lost: boolean };

export interface RoleView {
  readonly nodes: readonly WholeNode[];
  readonly members: readonly MemberView[];
  /** Nodes in the middle of joining: their membership is being changed by somebody else. */
  readonly joining: ReadonlySet<string>;
}

/** All that can be done now, membership last and one change of it at a time. */
export function roleActions(view: RoleView): readonly RoleAction[] {
  const nodes = view.nodes.filter((node) => !view.joining.has(node.id));
  const members = view.members.filter((member) => !view.joining.has(member.nodeId));
  const memberOf = new Map(members.map((member) => [member.nodeId, member]));
  const known = new Set(nodes.map((node) => node.id));
  const actions: RoleAction[] = nodes.flatMap((node) => roleAction(node, memberOf.get(node.id)) ?? []);
  for (const { nodeId, raftId, isSelf } of members)
    if (!known.has(nodeId) && !isSelf) actions.push({ kind: "removeMember", nodeId, raftId });
  const [change] = actions.filter(isMembershipChange).sort((a, b) => ORDER[a.kind] - ORDER[b.kind]);
  return [...actions.filter((action) => !isMembershipChange(action)), ...(change === undefined ? [] : [change])];
}

/** More that count before fewer; the leader itself last. */
const ORDER = { promote: 0, removeMember: 1, handOver: 2 } as const;

function isMembershipChange(action: RoleAction): action is RoleAction & { readonly kind: keyof typeof ORDER } {
  return action.kind in ORDER;
}

/** What one node needs next; `member` is its place in the group. */
export function roleAction(node: WholeNode, member: MemberView | undefined): RoleAction | undefined {
  const { id: nodeId, managerStatus, role, spec } = node;
  if (spec.role === NodeRole.MANAGER) {
    if (role !== NodeRole.MANAGER) return { kind: "makeManager", nodeId };
    // It was a member once: whoever is still on the way has no status.
    if (member === undefined) return managerStatus && { kind: "makeWorker", nodeId, lost: true };
    const { addr, isCaughtUp, isLearner, raftId, reachable } = member;
    if (isLearner) return isCaughtUp && reachable ? { kind: "promote", nodeId, raftId } : undefined;
    return managerStatus?.addr === addr ? undefined : { kind: "noteAddress", nodeId, addr };
  }
  if (member !== undefined)
    return member.isSelf ? { kind: "handOver", nodeId } : { kind: "removeMember", nodeId, raftId: member.raftId };
  if (role === NodeRole.MANAGER || managerStatus !== undefined) return { kind: "makeWorker", nodeId, lost: false };
  return undefined;
}
