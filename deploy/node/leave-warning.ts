// What a person is told who makes a manager leave without --force, in Docker's words: what it would cost the cluster. Pure.

import type { ManagerState } from "../../manager/index.ts";

const BEGIN = "You are attempting to leave the swarm on a node that is participating as a manager.";
const LAST = "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message.";
const END =
  "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.";

/** The counts are of managers that count for the quorum, this one included. */
export function leaveWarning(state: Pick<ManagerState, "leader" | "members">): string {
  const voters = state.members.filter((member) => !member.isLearner);
  const reachable = voters.filter((member) => member.isReachable || member.isSelf).length;
  if (voters.length <= 1) return `${BEGIN} ${LAST}`;
  if (state.leader === undefined) return `${BEGIN} Doing so may lose the consensus of your cluster. ${END}`;
  const quorum = Math.floor(voters.length / 2) + 1;
  const left = reachable - 1;
  if (left >= quorum) return `${BEGIN} ${END}`;
  return `${BEGIN} Removing this node leaves ${left} managers out of ${voters.length}. Without a Raft quorum your swarm will be inaccessible. ${END}`;
}
