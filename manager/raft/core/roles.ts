// The four roles and what each begins with (Raft 5.1, 5.2; thesis 9.6).

import { invariant } from "../assert.ts";
import { ENTRY_NORMAL } from "../entry.ts";
import { NONE, type RaftId, type Term } from "../ids.ts";
import { appendEntries } from "./propose.ts";
import type { Raft } from "./state.ts";

export function becomeFollower(raft: Raft, at: { readonly term: Term; readonly leader: RaftId }): void {
  raft.reset(at.term);
  raft.leader = at.leader;
  raft.role = "follower";
  raft.trace({ kind: "becameFollower", term: raft.term, leader: at.leader });
}

/** A new term and a vote for itself; the vote counts once it is durable. */
export function becomeCandidate(raft: Raft): void {
  invariant(raft.role !== "leader", "a leader does not campaign");
  raft.reset(raft.term + 1);
  raft.vote = raft.id;
  raft.role = "candidate";
  raft.trace({ kind: "becameCandidate", term: raft.term });
}

/** Asks who would vote. Neither term nor vote changes, so that nothing need be stored. */
export function becomePreCandidate(raft: Raft): void {
  invariant(raft.role !== "leader", "a leader does not campaign");
  raft.tracker.resetVotes();
  raft.leader = NONE;
  raft.role = "preCandidate";
  raft.trace({ kind: "becamePreCandidate", term: raft.term });
}

/** An empty entry of the new term lets the leader commit what it inherited (Raft 5.4.2, 8). */
export function becomeLeader(raft: Raft): void {
  invariant(raft.role !== "follower", "a follower does not become leader without an election");
  raft.reset(raft.term);
  raft.leader = raft.id;
  raft.role = "leader";
  const self = raft.tracker.progress.get(raft.id);
  invariant(self !== undefined, "a leader is a member");
  self.becomeReplicate();
  self.recentActive = true;
  // Any entry of the log may be a membership change that is not applied yet.
  raft.pendingConfIndex = raft.log.lastIndex();
  const appended = appendEntries(raft, [{ type: ENTRY_NORMAL, data: new Uint8Array(0) }]);
  invariant(appended, "an empty entry is within every limit");
  raft.trace({ kind: "becameLeader", term: raft.term });
}
