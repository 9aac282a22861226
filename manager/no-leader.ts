// What people are told when no manager leads: who can be reached, who cannot, and what to do about it.

import { SwarmError } from "../proto/base/errors.ts";
import type { MemberView } from "./group-log.ts";

/** `nameOf` gives what people call a node. */
export function noLeader(members: readonly MemberView[], nameOf: (nodeId: string) => string): SwarmError {
  const voters = members.filter((member) => !member.isLearner);
  if (voters.length === 0)
    return new SwarmError(
      "Unavailable",
      "this manager is joining the others and knows nothing of the cluster yet; try again in a moment, or look whether they reach it at its --advertise-addr",
    );
  const reachable = voters.filter((member) => member.reachable || member.isSelf);
  const silent = voters.filter((member) => !reachable.includes(member));
  const names = (list: readonly MemberView[]): string => spoken(list.map(({ nodeId }) => nameOf(nodeId)));
  const count = `${reachable.length} of ${voters.length} managers ${reachable.length === 1 ? "is" : "are"} reachable`;
  if (reachable.length > voters.length / 2) {
    const who = silent.length === 0 ? names(reachable) : `${names(reachable)}; ${names(silent)} ${areNot(silent)}`;
    return new SwarmError(
      "Unavailable",
      `the cluster has no leader yet: ${count} (${who}), and one of them is about to be elected; try again in a moment`,
    );
  }
  const who = `${reachable.length === 0 ? "" : `${names(reachable)}; `}${names(silent)} ${areNot(silent)}`;
  return new SwarmError(
    "Unavailable",
    `the cluster has no leader: ${count} (${who}); start or heal them, or \`tsswarm swarm init --force-new-cluster\` on this one if they are lost for good`,
  );
}

function areNot(members: readonly MemberView[]): string {
  return members.length === 1 ? "is not" : "are not";
}

/** "a", "a and b", "a, b and c" */
function spoken(names: readonly string[]): string {
  const last = names.at(-1) ?? "";
  return names.length <= 1 ? last : `${names.slice(0, -1).join(", ")} and ${last}`;
}
