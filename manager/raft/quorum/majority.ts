// What a majority of one set of voters holds or says (Raft 5.2, 5.4.2). Pure functions over ids: nothing here knows
// of logs, messages or roles. An empty set agrees to everything, so that it is neutral as half of a joint quorum.

import type { Index, RaftId } from "../ids.ts";

/** pending: the votes that are still out decide. */
export type VoteResult = "won" | "lost" | "pending";

/** What a member has acknowledged; 0 where it has not said. */
export type Acknowledged = (id: RaftId) => Index;

/** How many of the voters are a majority. */
export function majorityOf(voters: ReadonlySet<RaftId>): number {
  return Math.floor(voters.size / 2) + 1;
}

/** The largest index that a majority has acknowledged; Infinity for no voters. */
export function majorityCommitted(voters: ReadonlySet<RaftId>, acknowledged: Acknowledged): Index {
  const descending = [...voters].map(acknowledged).sort((a, b) => b - a);
  return descending[majorityOf(voters) - 1] ?? Infinity;
}

/** Whether a majority said yes, cannot say yes any more, or neither. Votes of others than the voters do not count. */
export function majorityVote(voters: ReadonlySet<RaftId>, votes: ReadonlyMap<RaftId, boolean>): VoteResult {
  if (voters.size === 0) return "won";
  let granted = 0;
  let missing = 0;
  for (const id of voters) {
    const vote = votes.get(id);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  const needed = majorityOf(voters);
  if (granted >= needed) return "won";
  return granted + missing >= needed ? "pending" : "lost";
}
