// The door every message goes through: terms first (Raft 5.1), then what every role answers alike, then the role.

import { entriesBytes, payloadBytes } from "../entry.ts";
import { NONE } from "../ids.ts";
import type { Message } from "../message.ts";
import type { StepError } from "../ready.ts";
import { answerVote, hup, ignoresVote, refuseOldPreVote } from "./election.ts";
import { stepCandidate, stepFollower } from "./follower.ts";
import { stepLeader } from "./leader.ts";
import { appliedTo, snapshotStored } from "./membership.ts";
import { becomeFollower } from "./roles.ts";
import type { Raft } from "./state.ts";

/** Takes one message. What the role refuses is the answer; null where it was taken or rightly ignored. */
export function step(raft: Raft, m: Message): StepError | null {
  if (m.term > raft.term) {
    if (!enterHigherTerm(raft, m)) return null;
  } else if (m.term > 0 && m.term < raft.term) {
    answerLowerTerm(raft, m);
    return null;
  }
  switch (m.type) {
    case "hup":
      hup(raft, raft.config.preVote ? "preElection" : "election");
      return null;
    case "vote":
    case "preVote":
      answerVote(raft, m);
      return null;
    case "storageAppendResp":
      if (m.index !== 0) raft.log.stableTo({ term: m.logTerm, index: m.index });
      if (m.snapshot !== null) snapshotStored(raft, m.snapshot);
      return null;
    case "storageApplyResp":
      handleApplied(raft, m);
      return null;
    default:
      break;
  }
  if (raft.role === "leader") return stepLeader(raft, m);
  return raft.role === "follower" ? stepFollower(raft, m) : stepCandidate(raft, m);
}

/** Adopts a higher term, except for what only asks about one. False where the message is to be ignored. */
function enterHigherTerm(raft: Raft, m: Message): boolean {
  if ((m.type === "vote" || m.type === "preVote") && ignoresVote(raft, m)) return false;
  // A pre-vote asks about a term that nobody has entered, and so does the answer that grants it.
  if (m.type === "preVote" || (m.type === "preVoteResp" && !m.reject)) return true;
  raft.trace({ kind: "higherTermSeen", type: m.type, from: m.from, messageTerm: m.term, term: raft.term });
  const fromLeader = m.type === "app" || m.type === "heartbeat" || m.type === "snap";
  becomeFollower(raft, { term: m.term, leader: fromLeader ? m.from : NONE });
  return true;
}

function answerLowerTerm(raft: Raft, m: Message): void {
  const { term } = raft;
  if ((raft.config.checkQuorum || raft.config.preVote) && (m.type === "heartbeat" || m.type === "app")) {
    // A leader of an older term would hear nobody's vote while others hear it: tell it the term, so that it steps
    // down and this node comes back without unseating a leader that the rest follows.
    raft.send({ type: "appResp", to: m.from });
  } else if (m.type === "preVote") {
    refuseOldPreVote(raft, m);
  } else if (m.type === "storageAppendResp") {
    // The entries may have been replaced in a later term, by others of the same indices; a snapshot stays true.
    if (m.index !== 0) raft.trace({ kind: "staleAppendIgnored", messageTerm: m.term, term });
    if (m.snapshot !== null) snapshotStored(raft, m.snapshot);
  } else {
    raft.trace({ kind: "lowerTermIgnored", type: m.type, from: m.from, messageTerm: m.term, term });
  }
}

function handleApplied(raft: Raft, m: Message): void {
  const last = m.entries.at(-1);
  if (last === undefined) return;
  appliedTo(raft, { index: last.index, bytes: entriesBytes(m.entries) });
  raft.releaseUncommitted(payloadBytes(m.entries));
}
