// Elections: who may start one, whom to ask, whom to vote for, and when it is won (Raft 5.2, 5.4.1; thesis 9.6).

import type { EntryId } from "../entry.ts";
import { NONE } from "../ids.ts";
import type { Message } from "../message.ts";
import type { VoteRequestType } from "../trace.ts";
import { broadcastAppend } from "./replicate.ts";
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from "./roles.ts";
import { type Raft, isConfChange } from "./state.ts";

const SCAN_BYTES = 1024 * 1024;
const TRANSFER = new TextEncoder().encode("transfer");

/** How an election came about. A transfer asks nobody beforehand: the leader itself wants it. */
export type Campaign = "preElection" | "election" | "transfer";

/** Starts an election, unless this node leads, has no vote, or has a membership change to apply first. */
export function hup(raft: Raft, campaign: Campaign): void {
  const { term } = raft;
  if (raft.role === "leader") {
    raft.trace({ kind: "electionRefused", term, reason: "already-leader" });
  } else if (!raft.isPromotable) {
    raft.trace({ kind: "electionRefused", term, reason: "unpromotable" });
  } else if (hasUnappliedConfChange(raft)) {
    raft.trace({ kind: "electionRefused", term, reason: "unapplied-conf-change" });
  } else {
    raft.trace({ kind: "electionStarted", term });
    startCampaign(raft, campaign);
  }
}

/** A committed change that is not applied decides who has a vote; without it a majority may be none. */
function hasUnappliedConfChange(raft: Raft): boolean {
  const { log } = raft;
  let next = log.applied + 1;
  while (next <= log.committed) {
    const entries = log.slice(next, log.committed + 1, SCAN_BYTES);
    // The snapshot that replaced the entries holds their outcome.
    if (entries === "compacted" || entries.length === 0) return false;
    if (entries.some(isConfChange)) return true;
    next += entries.length;
  }
  return false;
}

function startCampaign(raft: Raft, campaign: Campaign): void {
  const type: VoteRequestType = campaign === "preElection" ? "preVote" : "vote";
  if (type === "preVote") becomePreCandidate(raft);
  else becomeCandidate(raft);
  // A pre-vote asks about the term to come, without entering it.
  const term = type === "preVote" ? raft.term + 1 : raft.term;
  const last = raft.log.lastId();
  for (const to of [...raft.tracker.config.voters.ids()].sort((a, b) => a - b)) {
    if (to === raft.id) {
      // The own vote counts once it is durable, like any other.
      raft.send({ type: responseTo(type), to, term });
      continue;
    }
    raft.trace({ kind: "voteRequested", type, to, last, term: raft.term });
    const context = campaign === "transfer" ? { context: TRANSFER } : {};
    raft.send({ type, to, term, index: last.index, logTerm: last.term, ...context });
  }
}

function responseTo(type: VoteRequestType): "voteResp" | "preVoteResp" {
  return type === "vote" ? "voteResp" : "preVoteResp";
}

function requestOf(m: Message): VoteRequestType {
  return m.type === "vote" || m.type === "voteResp" ? "vote" : "preVote";
}

function decision(
  raft: Raft,
  m: Message,
): {
  readonly type: VoteRequestType;
  readonly candidate: number;
  readonly candidateLast: EntryId;
  readonly last: EntryId;
  readonly vote: number;
  readonly term: number;
} {
  return {
    type: requestOf(m),
    candidate: m.from,
    candidateLast: { term: m.logTerm, index: m.index },
    last: raft.log.lastId(),
    vote: raft.vote,
    term: raft.term,
  };
}

/**
 * Whether a request for a vote in a higher term is not even looked at: this node hears a leader. A node that was away
 * must not unseat it (thesis 4.2.3, 6.4). A transfer is the leader's own wish.
 */
export function ignoresVote(raft: Raft, m: Message): boolean {
  const hearsLeader =
    raft.config.checkQuorum && raft.leader !== NONE && raft.electionElapsed < raft.config.electionTicks;
  if (!hearsLeader || isTransfer(m)) return false;
  const remainingTicks = raft.config.electionTicks - raft.electionElapsed;
  raft.trace({ kind: "voteIgnored", ...decision(raft, m), remainingTicks });
  return true;
}

function isTransfer(m: Message): boolean {
  return m.context.length === TRANSFER.length && m.context.every((byte, i) => byte === TRANSFER[i]);
}

/** Answers a request for a vote or a pre-vote of this term or, for a pre-vote, a higher one. */
export function answerVote(raft: Raft, m: Message): void {
  const type = requestOf(m);
  const canVote =
    raft.vote === m.from || (raft.vote === NONE && raft.leader === NONE) || (type === "preVote" && m.term > raft.term);
  // A learner votes too: the candidate may know that it is a voter by now.
  const granted = canVote && raft.log.isUpToDate({ term: m.logTerm, index: m.index });
  raft.trace({ kind: "voteDecided", outcome: granted ? "granted" : "rejected", ...decision(raft, m) });
  if (!granted) {
    raft.send({ type: responseTo(type), to: m.from, term: raft.term, reject: true });
    return;
  }
  // The answer to a pre-vote says the term it was asked about, which this node does not enter.
  raft.send({ type: responseTo(type), to: m.from, term: m.term });
  if (type === "vote") {
    raft.electionElapsed = 0;
    raft.vote = m.from;
  }
}

/** Refuses a pre-vote for a term that is over. Silence would leave a node of an older term asking for ever. */
export function refuseOldPreVote(raft: Raft, m: Message): void {
  raft.trace({ kind: "voteDecided", outcome: "rejected", ...decision(raft, m) });
  raft.send({ type: "preVoteResp", to: m.from, term: raft.term, reject: true });
}

/** Counts an answer to this node's own election. */
export function countVote(raft: Raft, m: Message): void {
  const type = requestOf(m);
  const { term } = raft;
  raft.trace({ kind: "voteReceived", type, from: m.from, granted: !m.reject, term });
  raft.tracker.recordVote(m.from, !m.reject);
  const { granted, rejected, result } = raft.tracker.tallyVotes();
  raft.trace({ kind: "votesCounted", type, granted, rejected, term });
  if (result === "lost") {
    // A refused pre-vote may come from a later term; this node stays in its own.
    becomeFollower(raft, { term, leader: NONE });
  } else if (result === "won" && type === "preVote") {
    startCampaign(raft, "election");
  } else if (result === "won" && raft.tracker.votes.get(raft.id) === true) {
    // The others' votes do not suffice. A leader whose own term is not durable could crash, win the same term again by
    // their repeated votes, and put other entries where it had sent some: its own vote proves the term stored.
    becomeLeader(raft);
    broadcastAppend(raft);
  }
}
