// What the core tells about its decisions, where it takes them. The core logs nothing: the driver makes log lines and
// metrics of these, the simulator checks them, the conformance harness words them. Events are facts about the one
// node whose sink receives them; they are handed over synchronously and must not call back into the node.

import type { ConfChange } from "./conf-change.ts";
import type { ConfState } from "./conf-state.ts";
import type { EntryId } from "./entry.ts";
import type { Index, RaftId, Term } from "./ids.ts";
import type { MessageType } from "./message.ts";
import type { Role } from "./ready.ts";
import type { ProgressView } from "./status.ts";

export type TraceSink = (event: TraceEvent) => void;

export type TraceEvent =
  | LifeEvent
  | VoteEvent
  | TermEvent
  | LogEvent
  | ReplicationEvent
  | SnapshotEvent
  | ProposalEvent
  | MembershipEvent
  | TransferEvent
  | ReadEvent;

/** Roles and elections. */
export type LifeEvent =
  | {
      readonly kind: "started";
      readonly voters: readonly RaftId[];
      readonly term: Term;
      readonly commit: Index;
      readonly applied: Index;
      readonly last: EntryId;
    }
  | { readonly kind: "becameFollower"; readonly term: Term; readonly leader: RaftId }
  | { readonly kind: "becamePreCandidate"; readonly term: Term }
  | { readonly kind: "becameCandidate"; readonly term: Term }
  | { readonly kind: "becameLeader"; readonly term: Term }
  | { readonly kind: "electionStarted"; readonly term: Term }
  | {
      readonly kind: "electionRefused";
      readonly term: Term;
      readonly reason: "already-leader" | "unpromotable" | "unapplied-conf-change";
    }
  | { readonly kind: "quorumInactive"; readonly term: Term }
  | { readonly kind: "leaderForgotten"; readonly leader: RaftId; readonly term: Term }
  | { readonly kind: "forgetLeaderRefused"; readonly term: Term };

export type VoteRequestType = "vote" | "preVote";

export type VoteEvent =
  | {
      readonly kind: "voteRequested";
      readonly type: VoteRequestType;
      readonly to: RaftId;
      readonly last: EntryId;
      readonly term: Term;
    }
  | {
      readonly kind: "voteDecided";
      readonly type: VoteRequestType;
      readonly outcome: "granted" | "rejected";
      readonly candidate: RaftId;
      readonly candidateLast: EntryId;
      readonly last: EntryId;
      /** For whom this node had voted in its term before. */
      readonly vote: RaftId;
      readonly term: Term;
    }
  | {
      readonly kind: "voteIgnored";
      readonly type: VoteRequestType;
      readonly candidate: RaftId;
      readonly candidateLast: EntryId;
      readonly last: EntryId;
      readonly vote: RaftId;
      readonly term: Term;
      /** Ticks until this node stops believing in its leader. */
      readonly remainingTicks: number;
    }
  | {
      readonly kind: "voteReceived";
      readonly type: VoteRequestType;
      readonly from: RaftId;
      readonly granted: boolean;
      readonly term: Term;
    }
  | {
      readonly kind: "votesCounted";
      readonly type: VoteRequestType;
      readonly granted: number;
      readonly rejected: number;
      readonly term: Term;
    };

/** Messages of other terms. */
export type TermEvent =
  | {
      readonly kind: "higherTermSeen" | "lowerTermIgnored";
      readonly type: MessageType;
      readonly from: RaftId;
      readonly messageTerm: Term;
      readonly term: Term;
    }
  | { readonly kind: "staleAppendIgnored"; readonly messageTerm: Term; readonly term: Term };

/** The node's own log. */
export type LogEvent =
  | {
      readonly kind: "logConflict";
      readonly index: Index;
      readonly existingTerm: Term;
      readonly conflictingTerm: Term;
    }
  | { readonly kind: "unstableReplaced" | "unstableTruncated"; readonly from: Index }
  | {
      readonly kind: "stableIgnored";
      readonly reason: "missing" | "snapshot" | "overwritten";
      readonly id: EntryId;
      readonly existingTerm: Term;
    }
  | { readonly kind: "logDiverged"; readonly index: Index; readonly commit: Index; readonly last: Index };

export type ReplicationEvent =
  | {
      readonly kind: "appendRejected";
      readonly from: RaftId;
      readonly previous: EntryId;
      /** The term of this node's own entry at that index; 0 where it has none. */
      readonly existingTerm: Term;
    }
  | {
      readonly kind: "rejectionReceived";
      readonly from: RaftId;
      readonly hint: EntryId;
      readonly index: Index;
    }
  | { readonly kind: "progressDecreased"; readonly peer: RaftId; readonly progress: ProgressView }
  | { readonly kind: "peerUnreachable"; readonly peer: RaftId; readonly progress: ProgressView }
  | { readonly kind: "noProgress"; readonly peer: RaftId };

export type SnapshotEvent =
  | {
      readonly kind: "snapshotSent";
      readonly peer: RaftId;
      readonly firstIndex: Index;
      readonly commit: Index;
      readonly snapshot: EntryId;
      readonly progress: ProgressView;
    }
  | {
      readonly kind: "replicationPaused" | "snapshotCaughtUp" | "snapshotReported" | "snapshotFailed";
      readonly peer: RaftId;
      readonly progress: ProgressView;
    }
  | {
      readonly kind: "snapshotNotSent";
      readonly peer: RaftId;
      /** lacks-peer: its membership does not hold the receiver; a fresh one must be cut. */
      readonly reason: "inactive" | "unavailable" | "lacks-peer";
    }
  | {
      readonly kind: "snapshotRestoring";
      readonly snapshot: EntryId;
      readonly commit: Index;
      readonly applied: Index;
      readonly applying: Index;
      readonly unstableOffset: Index;
      readonly unstableInProgress: Index;
      readonly unstableCount: number;
    }
  | {
      readonly kind: "snapshotRestored" | "snapshotSkipped";
      readonly snapshot: EntryId;
      readonly commit: Index;
      readonly last: EntryId;
    }
  | { readonly kind: "snapshotAccepted" | "snapshotIgnored"; readonly snapshot: EntryId; readonly commit: Index }
  | { readonly kind: "snapshotLacksSelf"; readonly conf: ConfState }
  | { readonly kind: "snapshotNotFollower" };

export type ProposalEvent = {
  readonly kind: "proposalDropped";
  readonly reason: "no-leader" | "not-forwarding" | "transferring" | "uncommitted-limit" | "not-member";
  readonly term: Term;
  /** The known leader, or the transfer's target. */
  readonly peer: RaftId;
};

export type MembershipEvent =
  | { readonly kind: "membershipSwitched"; readonly conf: ConfState }
  | {
      readonly kind: "confChangeIgnored";
      readonly change: ConfChange;
      readonly form: "single" | "batch";
      readonly conf: ConfState;
      readonly reason: string;
    }
  | { readonly kind: "autoLeaveStarted"; readonly conf: ConfState }
  | { readonly kind: "autoLeavePostponed"; readonly conf: ConfState };

export type TransferEvent =
  | {
      readonly kind:
        "transferStarted" | "transferReplaced" | "transferRepeated" | "transferToSelf" | "transferToLearner";
      readonly to: RaftId;
      readonly term: Term;
    }
  | { readonly kind: "timeoutNowSent"; readonly to: RaftId; readonly caughtUp: "already" | "just" }
  | { readonly kind: "timeoutNowReceived"; readonly from: RaftId; readonly term: Term }
  | { readonly kind: "timeoutNowIgnored"; readonly from: RaftId; readonly term: Term; readonly role: Role }
  | { readonly kind: "transferDropped"; readonly term: Term };

export type ReadEvent =
  | { readonly kind: "readPostponed"; readonly term: Term }
  | { readonly kind: "readRefused"; readonly term: Term; readonly reason: ReadRefusal };

export type ReadRefusal = "no-leader" | "not-member" | "leadership-lost" | "too-many";
