// A quorum in two halves: while the membership is joint, everything needs a majority of the incoming voters and a
// majority of the outgoing ones (Raft 6; thesis 4.3). Otherwise the outgoing half is empty and agrees to everything.

import type { Index, RaftId } from "../ids.ts";
import { type Acknowledged, type VoteResult, majorityCommitted, majorityVote } from "./majority.ts";

export class JointQuorum {
  readonly incoming: ReadonlySet<RaftId>;
  /** Empty unless the membership is joint. */
  readonly outgoing: ReadonlySet<RaftId>;

  constructor(halves: { readonly incoming: Iterable<RaftId>; readonly outgoing: Iterable<RaftId> }) {
    this.incoming = new Set(halves.incoming);
    this.outgoing = new Set(halves.outgoing);
  }

  get isJoint(): boolean {
    return this.outgoing.size > 0;
  }

  /** Whether one voter decides alone. Who that is must be asked too: it need not be this node. */
  get isSingleton(): boolean {
    return this.incoming.size === 1 && !this.isJoint;
  }

  /** The voters of both halves. */
  ids(): ReadonlySet<RaftId> {
    return new Set([...this.incoming, ...this.outgoing]);
  }

  /** The largest index that both halves have acknowledged; Infinity where there are no voters. */
  committedIndex(acknowledged: Acknowledged): Index {
    return Math.min(majorityCommitted(this.incoming, acknowledged), majorityCommitted(this.outgoing, acknowledged));
  }

  /** Won only where both halves are won, lost as soon as one is. */
  voteResult(votes: ReadonlyMap<RaftId, boolean>): VoteResult {
    const halves = [majorityVote(this.incoming, votes), majorityVote(this.outgoing, votes)];
    if (halves.includes("lost")) return "lost";
    return halves.includes("pending") ? "pending" : "won";
  }
}
