// The rules of followers, and what candidates do with a leader's words: they follow it (Raft 5.2, 5.3, 7).

import type { SnapshotRef } from "../log-reader.ts";
import { NONE } from "../ids.ts";
import type { Message } from "../message.ts";
import type { StepError } from "../ready.ts";
import { countVote, hup } from "./election.ts";
import { restoreSnapshot } from "./membership.ts";
import { DROPPED } from "./propose.ts";
import { readAsFollower } from "./read-index.ts";
import { becomeFollower } from "./roles.ts";
import type { Raft } from "./state.ts";

export function stepFollower(raft: Raft, m: Message): StepError | null {
  switch (m.type) {
    case "prop":
      return forwardProposal(raft, m);
    case "app":
    case "heartbeat":
    case "snap":
      raft.electionElapsed = 0;
      raft.leader = m.from;
      return heedLeader(raft, m);
    case "transferLeader":
      if (raft.leader === NONE) raft.trace({ kind: "transferDropped", term: raft.term });
      else raft.messages.push({ ...m, to: raft.leader, term: raft.term });
      return null;
    case "forgetLeader":
      forgetLeader(raft);
      return null;
    case "timeoutNow":
      raft.trace({ kind: "timeoutNowReceived", from: m.from, term: raft.term });
      // A transfer is wanted by the leader itself: nobody need be asked beforehand.
      hup(raft, "transfer");
      return null;
    case "readIndex":
    case "readIndexResp":
      return readAsFollower(raft, m);
    default:
      return null;
  }
}

export function stepCandidate(raft: Raft, m: Message): StepError | null {
  switch (m.type) {
    case "prop":
      raft.trace({ kind: "proposalDropped", reason: "no-leader", term: raft.term, peer: NONE });
      return DROPPED;
    case "app":
    case "heartbeat":
    case "snap":
      becomeFollower(raft, { term: m.term, leader: m.from });
      return heedLeader(raft, m);
    case "voteResp":
      if (raft.role === "candidate") countVote(raft, m);
      return null;
    case "preVoteResp":
      if (raft.role === "preCandidate") countVote(raft, m);
      return null;
    case "timeoutNow":
      raft.trace({ kind: "timeoutNowIgnored", from: m.from, term: raft.term, role: raft.role });
      return null;
    case "readIndex":
    case "readIndexResp":
      return readAsFollower(raft, m);
    default:
      return null;
  }
}

function forwardProposal(raft: Raft, m: Message): StepError | null {
  const { term } = raft;
  if (raft.leader === NONE) {
    raft.trace({ kind: "proposalDropped", reason: "no-leader", term, peer: NONE });
    return DROPPED;
  }
  if (raft.config.disableProposalForwarding) {
    raft.trace({ kind: "proposalDropped", reason: "not-forwarding", term, peer: raft.leader });
    return DROPPED;
  }
  // A proposal that was passed on by another member keeps the name of its first sender.
  raft.messages.push({ ...m, to: raft.leader });
  return null;
}

function forgetLeader(raft: Raft): void {
  if (raft.config.refuseForgetLeader) {
    raft.trace({ kind: "forgetLeaderRefused", term: raft.term });
  } else if (raft.leader !== NONE) {
    raft.trace({ kind: "leaderForgotten", leader: raft.leader, term: raft.term });
    raft.leader = NONE;
  }
}

function heedLeader(raft: Raft, m: Message): StepError | null {
  if (m.type === "app") return handleAppend(raft, m);
  if (m.type === "heartbeat") return handleHeartbeat(raft, m);
  return m.snapshot === null ? null : handleSnapshot(raft, m, m.snapshot);
}

function handleAppend(raft: Raft, m: Message): StepError | null {
  const { log } = raft;
  if (m.index < log.committed) {
    // An old message: everything up to the commit agrees with the leader already.
    raft.send({ type: "appResp", to: m.from, index: log.committed });
    return null;
  }
  const previous = { term: m.logTerm, index: m.index };
  const outcome = log.maybeAppend({ previous, entries: m.entries, commit: m.commit });
  if (outcome.kind === "diverged") {
    raft.trace({ kind: "logDiverged", index: outcome.index, commit: log.committed, last: log.lastIndex() });
    return { kind: "diverged", detail: `entry ${outcome.index} of the leader contradicts a committed one` };
  }
  if (outcome.kind === "appended") {
    raft.send({ type: "appResp", to: m.from, index: outcome.lastNew });
    return null;
  }
  const existingTerm = log.termOrZero(m.index);
  raft.trace({ kind: "appendRejected", from: m.from, previous, existingTerm });
  // Point the leader at the last place where the logs may agree: it skips whole terms of this node's wrong tail.
  const hint = log.findConflictByTerm({ term: m.logTerm, index: Math.min(m.index, log.lastIndex()) });
  raft.send({
    type: "appResp",
    to: m.from,
    index: m.index,
    reject: true,
    rejectHint: hint.index,
    logTerm: hint.term,
  });
  return null;
}

function handleHeartbeat(raft: Raft, m: Message): StepError | null {
  const { log } = raft;
  if (m.commit > log.lastIndex()) {
    // A leader commits no further than this node acknowledged: entries it promised to keep are gone.
    raft.trace({ kind: "logDiverged", index: m.commit, commit: log.committed, last: log.lastIndex() });
    return { kind: "diverged", detail: `the leader counts on entry ${m.commit}, the log ends at ${log.lastIndex()}` };
  }
  log.commitTo(m.commit);
  raft.send({ type: "heartbeatResp", to: m.from, context: m.context });
  return null;
}

function handleSnapshot(raft: Raft, m: Message, snapshot: SnapshotRef): StepError | null {
  const id = { term: snapshot.term, index: snapshot.index };
  const restored = restoreSnapshot(raft, snapshot);
  const commit = raft.log.committed;
  raft.trace({ kind: restored ? "snapshotAccepted" : "snapshotIgnored", snapshot: id, commit });
  raft.send({ type: "appResp", to: m.from, index: restored ? raft.log.lastIndex() : commit });
  return null;
}
