// The rules of leaders: proposals, what followers answer, and the check that a quorum still listens
// (Raft 5.3, 5.4; thesis 6.2).

import { NONE } from "../ids.ts";
import type { Message } from "../message.ts";
import type { StepError } from "../ready.ts";
import type { Progress } from "../tracker/progress.ts";
import { viewProgress } from "./view.ts";
import { proposeAsLeader } from "./propose.ts";
import { confirmReads, readAsLeader, releasePostponedReads } from "./read-index.ts";
import { broadcastAppend, broadcastHeartbeat, maybeCommit, maybeSendAppend, sendAppend } from "./replicate.ts";
import { becomeFollower } from "./roles.ts";
import type { Raft } from "./state.ts";
import { beginTransfer, finishTransfer } from "./transfer.ts";

export function stepLeader(raft: Raft, m: Message): StepError | null {
  switch (m.type) {
    case "beat":
      broadcastHeartbeat(raft);
      return null;
    case "checkQuorum":
      checkQuorum(raft);
      return null;
    case "prop":
      return proposeAsLeader(raft, m.entries);
    case "readIndex":
      return readAsLeader(raft, m);
    case "forgetLeader":
      return null;
    default:
      return stepPeer(raft, m);
  }
}

/** What concerns one peer: its answers, and reports about it. */
function stepPeer(raft: Raft, m: Message): StepError | null {
  const progress = raft.tracker.progress.get(m.from);
  if (progress === undefined) {
    raft.trace({ kind: "noProgress", peer: m.from });
    return null;
  }
  switch (m.type) {
    case "appResp":
      progress.recentActive = true;
      if (m.reject) handleRejection(raft, m, progress);
      else return handleAcknowledgement(raft, m, progress);
      return null;
    case "heartbeatResp":
      progress.recentActive = true;
      progress.msgAppFlowPaused = false;
      // One that lags, or whose place in the log is being probed, gets an append. With a full window it is empty.
      if (progress.match < raft.log.lastIndex() || progress.state === "probe") sendAppend(raft, m.from);
      confirmReads(raft, m);
      return null;
    case "snapStatus":
      handleSnapshotStatus(raft, m, progress);
      return null;
    case "unreachable":
      // Appends sent ahead are probably lost: find the peer's place again.
      if (progress.state === "replicate") progress.becomeProbe();
      raft.trace({ kind: "peerUnreachable", peer: m.from, progress: viewProgress(progress) });
      return null;
    case "transferLeader":
      beginTransfer(raft, m, progress);
      return null;
    default:
      return null;
  }
}

/** Steps down unless a quorum was heard since the last check, then begins to listen anew. */
function checkQuorum(raft: Raft): void {
  if (!raft.tracker.quorumActive()) {
    raft.trace({ kind: "quorumInactive", term: raft.term });
    becomeFollower(raft, { term: raft.term, leader: NONE });
  }
  for (const [id, progress] of raft.tracker.progress) {
    if (id !== raft.id) progress.recentActive = false;
  }
}

function handleRejection(raft: Raft, m: Message, progress: Progress): void {
  const hint = { term: m.logTerm, index: m.rejectHint };
  raft.trace({ kind: "rejectionReceived", from: m.from, hint, index: m.index });
  // Everything of this log above the hint's term is not in the follower's: skip those terms in one step.
  const nextProbe = m.logTerm > 0 ? raft.log.findConflictByTerm(hint).index : m.rejectHint;
  if (!progress.maybeDecreaseTo({ rejected: m.index, matchHint: nextProbe })) return;
  raft.trace({ kind: "progressDecreased", peer: m.from, progress: viewProgress(progress) });
  if (progress.state === "replicate") progress.becomeProbe();
  sendAppend(raft, m.from);
}

function handleAcknowledgement(raft: Raft, m: Message, progress: Progress): StepError | null {
  if (m.index > raft.log.lastIndex()) {
    return { kind: "malformed", detail: `${m.from} acknowledges entry ${m.index} beyond the leader's log` };
  }
  // A probe that is acknowledged where it stands still lets the peer replicate again.
  const isProbed = progress.state === "probe" && progress.match === m.index;
  if (!progress.maybeUpdate(m.index) && !isProbed) return null;
  if (progress.state === "probe") {
    progress.becomeReplicate();
  } else if (progress.state === "replicate") {
    progress.inflights.freeUpTo(m.index);
  } else if (progress.match + 1 >= raft.log.firstIndex()) {
    // However it got there, the log can take it on from here, whatever snapshot is pending.
    raft.trace({ kind: "snapshotCaughtUp", peer: m.from, progress: viewProgress(progress) });
    progress.becomeProbe();
    progress.becomeReplicate();
  } else if (progress.match >= progress.pendingSnapshot) {
    // The snapshot arrived, but the log has been compacted beyond it meanwhile: the next one is due.
    progress.becomeProbe();
    raft.trace({ kind: "snapshotReported", peer: m.from, progress: viewProgress(progress) });
  }
  if (maybeCommit(raft)) {
    releasePostponedReads(raft);
    broadcastAppend(raft);
  } else if (m.from !== raft.id && progress.canBumpCommit(raft.log.committed)) {
    sendAppend(raft, m.from);
  }
  if (m.from === raft.id) return null;
  // The acknowledgement may have opened the window for more than one append.
  while (maybeSendAppend(raft, { to: m.from, evenIfEmpty: false }));
  finishTransfer(raft, m, progress);
  return null;
}

function handleSnapshotStatus(raft: Raft, m: Message, progress: Progress): void {
  if (progress.state !== "snapshot") return;
  // After a failure the peer is probed from where it was before, not from the snapshot's index.
  if (m.reject) progress.pendingSnapshot = 0;
  progress.becomeProbe();
  const kind = m.reject ? "snapshotFailed" : "snapshotReported";
  raft.trace({ kind, peer: m.from, progress: viewProgress(progress) });
  // Wait for its own acknowledgement, or for a heartbeat's before trying again.
  progress.msgAppFlowPaused = true;
}
