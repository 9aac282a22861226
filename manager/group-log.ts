// What the manager asks of the replicated log: leadership, reads that are true, and who is in the group. replication/ keeps it;
// tests may hand in another. It knows nothing of what the log holds.

import type { Member } from "./replication/membership.ts";
import type { LeadershipState } from "./replication/replicated-log-options.ts";
import type { MemberView } from "./replication/membership-view.ts";
import type { Proposer } from "./store/proposer.ts";

export type { MemberView } from "./replication/membership-view.ts";

export interface GroupLog extends Proposer {
  readonly self: Member;
  /** This member was removed from the group. */
  readonly isRemoved: boolean;
  status(): LeadershipState;
  members(): readonly MemberView[];
  /** Calls the listener when leadership, membership or removal changed. The answer ends it. */
  subscribe(listener: () => void): () => void;
  /** Settles when all that was acknowledged before the call is applied here. Throws Unavailable without a quorum. */
  readBarrier(signal: AbortSignal): Promise<void>;
  /** The next four: on the leader only; they throw SwarmErrors. */
  addLearner(member: Omit<Member, "raftId">, signal: AbortSignal): Promise<Member>;
  promote(raftId: number, signal: AbortSignal): Promise<void>;
  removeMember(raftId: number, signal: AbortSignal): Promise<void>;
  updateAddress(member: Member, signal: AbortSignal): Promise<void>;
  /** To this member; undefined: to the voter that is reachable and most caught up. */
  transferLeadership(to: number | undefined, signal: AbortSignal): Promise<void>;
  /** Rejects when the log can no longer be written. */
  run(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
