// How the group looks from this node, in values to show and in sentences. Pure.

import type { Index, RaftId, Status } from "raft-ts";
import type { Member, Membership } from "./membership.ts";

/** A member that was not heard from for so long counts as unreachable. */
export const REACHABLE_MS = 3_000;
/** A learner that lacks no more entries than that can vote without holding the others up. */
const CAUGHT_UP_ENTRIES = 256;

export interface MemberView extends Member {
  readonly isLearner: boolean;
  readonly isLeader: boolean;
  readonly isSelf: boolean;
  /** Heard from lately. */
  readonly reachable: boolean;
  /** As the leader knows it; elsewhere true for voters. */
  readonly isCaughtUp: boolean;
}

export interface GroupState {
  readonly self: RaftId;
  readonly status: Status;
  readonly membership: Membership;
  readonly isReachable: (id: RaftId) => boolean;
}

export function viewMembers({ self, status, membership, isReachable }: GroupState): readonly MemberView[] {
  const learners = new Set(membership.conf.learners);
  return membership.members.map((member) => {
    const { raftId } = member;
    const isLearner = learners.has(raftId);
    const progress = status.progress.get(raftId);
    return {
      ...member,
      isLearner,
      isLeader: status.leader === raftId,
      isSelf: raftId === self,
      reachable: raftId === self || isReachable(raftId),
      isCaughtUp:
        raftId === self || (progress === undefined ? !isLearner : isCaughtUp(progress.match, status.lastIndex)),
    };
  });
}

function isCaughtUp(match: Index, last: Index): boolean {
  return last - match <= CAUGHT_UP_ENTRIES && match > 0;
}

/** Why the group cannot decide anything, and what to do: "the cluster has no leader: 1 of 3 managers is reachable ...". */
export function noQuorumSentence(views: readonly MemberView[]): string {
  const voters = views.filter((view) => !view.isLearner);
  const up = voters.filter((view) => view.reachable);
  const down = voters.filter((view) => !view.reachable);
  const begin = `the cluster has no leader: ${up.length} of ${voters.length} managers ${up.length === 1 ? "is" : "are"} reachable`;
  if (down.length === 0) return `${begin}; they are electing one: try again`;
  return (
    `${begin} (${listOf(up)}; not ${listOf(down)}); start or heal the others, ` +
    "or `tsswarm swarm init --force-new-cluster` on this one if they are lost for good"
  );
}

/** "10.0.0.1:2377, 10.0.0.2:2377" */
export function listOf(members: readonly Member[]): string {
  return members.map((member) => member.addr).join(", ");
}

/** Whether those voters would be a majority of themselves and the unreachable ones. */
export function hasQuorum(voters: readonly MemberView[]): boolean {
  return voters.filter((view) => view.reachable).length > voters.length / 2;
}

/** Who is to lead next: the reachable voter that holds the most. */
export function successorOf(state: GroupState): RaftId | undefined {
  const able = viewMembers(state).filter((view) => !view.isSelf && !view.isLearner && view.reachable);
  const matchOf = (id: RaftId): Index => state.status.progress.get(id)?.match ?? 0;
  return [...able].sort((a, b) => matchOf(b.raftId) - matchOf(a.raftId) || a.raftId - b.raftId)[0]?.raftId;
}
