// The group's members as the cluster's API and the daemon see them.

import type { ManagerMember } from "./api.ts";
import type { MemberView } from "./group-log.ts";

export function memberFacts(members: readonly MemberView[]): readonly ManagerMember[] {
  return members.map(({ addr, isLeader, isLearner, isSelf, nodeId, reachable }) => ({
    nodeId,
    addr,
    isLeader,
    isLearner,
    isSelf,
    isReachable: reachable || isSelf,
  }));
}
