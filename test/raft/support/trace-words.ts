// Words the core's trace events as the conformance data's log lines: a level and a sentence, byte for byte.
// Events for which the data has no line give null.

import type { EntryId, RaftId, TraceEvent } from "../../../manager/raft/index.ts";
import {
  changeValueWords,
  confStateWords,
  hex,
  membershipWords,
  messageTypeWord,
  progressWords,
  roleWord,
} from "./words.ts";

export type Level = "DEBUG" | "INFO" | "WARN" | "ERROR";

export interface LogLine {
  readonly level: Level;
  readonly text: string;
}

const line = (level: Level, text: string): LogLine => ({ level, text });
const debug = (text: string): LogLine => line("DEBUG", text);
const info = (text: string): LogLine => line("INFO", text);
const warn = (text: string): LogLine => line("WARN", text);

const at = (id: EntryId): string => `[logterm: ${id.term}, index: ${id.index}]`;
const snap = (id: EntryId): string => `[index: ${id.index}, term: ${id.term}]`;

/** The line for an event of the node, or null. */
export function traceWords(self: RaftId, e: TraceEvent): LogLine | null {
  const n = hex(self);
  switch (e.kind) {
    case "started": {
      const last = `lastindex: ${e.last.index}, lastterm: ${e.last.term}`;
      const peers = e.voters.map(hex).join(",");
      const state = `term: ${e.term}, commit: ${e.commit}, applied: ${e.applied}`;
      return info(`newRaft ${n} [peers: [${peers}], ${state}, ${last}]`);
    }
    case "becameFollower":
      return info(`${n} became follower at term ${e.term}`);
    case "becamePreCandidate":
      return info(`${n} became pre-candidate at term ${e.term}`);
    case "becameCandidate":
      return info(`${n} became candidate at term ${e.term}`);
    case "becameLeader":
      return info(`${n} became leader at term ${e.term}`);
    case "electionStarted":
      return info(`${n} is starting a new election at term ${e.term}`);
    case "electionRefused":
      if (e.reason === "already-leader") return debug(`${n} ignoring MsgHup because already leader`);
      if (e.reason === "unpromotable") return warn(`${n} is unpromotable and can not campaign`);
      return warn(
        `${n} cannot campaign at term ${e.term} since there are still pending configuration changes to apply`,
      );
    case "quorumInactive":
      return warn(`${n} stepped down to follower since quorum is not active`);
    case "leaderForgotten":
      return info(`${n} forgetting leader ${hex(e.leader)} at term ${e.term}`);
    case "forgetLeaderRefused":
      return line("ERROR", "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
    case "voteRequested":
      return info(`${n} ${at(e.last)} sent ${messageTypeWord(e.type)} request to ${hex(e.to)} at term ${e.term}`);
    case "voteDecided":
    case "voteIgnored":
      return info(`${n} ${voteWords(e)}`);
    case "voteReceived": {
      const rejection = e.granted ? "" : " rejection";
      const type = messageTypeWord(e.type === "vote" ? "voteResp" : "preVoteResp");
      return info(`${n} received ${type}${rejection} from ${hex(e.from)} at term ${e.term}`);
    }
    case "votesCounted": {
      const type = messageTypeWord(e.type === "vote" ? "voteResp" : "preVoteResp");
      return info(`${n} has received ${e.granted} ${type} votes and ${e.rejected} vote rejections`);
    }
    case "higherTermSeen":
      return info(
        `${n} [term: ${e.term}] received a ${messageTypeWord(e.type)} message with higher term ` +
          `from ${hex(e.from)} [term: ${e.messageTerm}]`,
      );
    case "lowerTermIgnored":
      return info(
        `${n} [term: ${e.term}] ignored a ${messageTypeWord(e.type)} message with lower term ` +
          `from ${hex(e.from)} [term: ${e.messageTerm}]`,
      );
    case "staleAppendIgnored":
      return info(
        `${n} [term: ${e.term}] ignored entry appends from a MsgStorageAppendResp message ` +
          `with lower term [term: ${e.messageTerm}]`,
      );
    case "logConflict":
      return info(
        `found conflict at index ${e.index} [existing term: ${e.existingTerm}, conflicting term: ${e.conflictingTerm}]`,
      );
    case "unstableReplaced":
      return info(`replace the unstable entries from index ${e.from}`);
    case "unstableTruncated":
      return info(`truncate the unstable entries before index ${e.from}`);
    case "stableIgnored":
      if (e.reason === "missing") return info(`entry at index ${e.id.index} missing from unstable log; ignoring`);
      if (e.reason === "snapshot") {
        return info(`entry at index ${e.id.index} matched unstable snapshot; ignoring`);
      }
      return info(
        `entry at (index,term)=(${e.id.index},${e.id.term}) mismatched with entry at ` +
          `(${e.id.index},${e.existingTerm}) in unstable log; ignoring`,
      );
    case "appendRejected":
      return debug(
        `${n} [logterm: ${e.existingTerm}, index: ${e.previous.index}] rejected MsgApp ${at(e.previous)} ` +
          `from ${hex(e.from)}`,
      );
    case "rejectionReceived":
      return debug(
        `${n} received MsgAppResp(rejected, hint: (index ${e.hint.index}, term ${e.hint.term})) ` +
          `from ${hex(e.from)} for index ${e.index}`,
      );
    case "progressDecreased":
      return debug(`${n} decreased progress of ${hex(e.peer)} to [${progressWords(e.progress)}]`);
    case "peerUnreachable":
      return debug(
        `${n} failed to send message to ${hex(e.peer)} because it is unreachable [${progressWords(e.progress)}]`,
      );
    case "noProgress":
      return debug(`${n} no progress available for ${hex(e.peer)}`);
    default:
      return snapshotOrChangeWords(n, e);
  }
}

function voteWords(e: Extract<TraceEvent, { kind: "voteDecided" | "voteIgnored" }>): string {
  const own = `[logterm: ${e.last.term}, index: ${e.last.index}, vote: ${hex(e.vote)}]`;
  const type = messageTypeWord(e.type);
  const candidate = hex(e.candidate);
  const theirs = at(e.candidateLast);
  if (e.kind === "voteIgnored") {
    const lease = `lease is not expired (remaining ticks: ${e.remainingTicks})`;
    return `${own} ignored ${type} from ${candidate} ${theirs} at term ${e.term}: ${lease}`;
  }
  const verb = e.outcome === "granted" ? `cast ${type} for` : `rejected ${type} from`;
  return `${own} ${verb} ${candidate} ${theirs} at term ${e.term}`;
}

function snapshotOrChangeWords(n: string, e: TraceEvent): LogLine | null {
  switch (e.kind) {
    case "snapshotSent":
      return debug(
        `${n} [firstindex: ${e.firstIndex}, commit: ${e.commit}] sent snapshot${snap(e.snapshot)} ` +
          `to ${hex(e.peer)} [${progressWords(e.progress)}]`,
      );
    case "replicationPaused":
      return debug(`${n} paused sending replication messages to ${hex(e.peer)} [${progressWords(e.progress)}]`);
    case "snapshotCaughtUp":
      return debug(
        `${n} recovered from needing snapshot, resumed sending replication messages ` +
          `to ${hex(e.peer)} [${progressWords(e.progress)}]`,
      );
    case "snapshotReported":
      return debug(
        `${n} snapshot succeeded, resumed sending replication messages to ${hex(e.peer)} [${progressWords(e.progress)}]`,
      );
    case "snapshotFailed":
      return debug(
        `${n} snapshot failed, resumed sending replication messages to ${hex(e.peer)} [${progressWords(e.progress)}]`,
      );
    case "snapshotNotSent":
      if (e.reason === "inactive") {
        return debug(`ignore sending snapshot to ${hex(e.peer)} since it is not recently active`);
      }
      return debug(`${n} failed to send snapshot to ${hex(e.peer)} because snapshot is temporarily unavailable`);
    case "snapshotRestoring":
      return info(
        `log [committed=${e.commit}, applied=${e.applied}, applying=${e.applying}, ` +
          `unstable.offset=${e.unstableOffset}, unstable.offsetInProgress=${e.unstableInProgress}, ` +
          `len(unstable.Entries)=${e.unstableCount}] starts to restore snapshot ${snap(e.snapshot)}`,
      );
    case "snapshotRestored":
    case "snapshotSkipped": {
      const verb = e.kind === "snapshotRestored" ? "restored" : "fast-forwarded commit to";
      const state = `commit: ${e.commit}, lastindex: ${e.last.index}, lastterm: ${e.last.term}`;
      return info(`${n} [${state}] ${verb} snapshot ${snap(e.snapshot)}`);
    }
    case "snapshotAccepted":
      return info(`${n} [commit: ${e.commit}] restored snapshot ${snap(e.snapshot)}`);
    case "snapshotIgnored":
      return info(`${n} [commit: ${e.commit}] ignored snapshot ${snap(e.snapshot)}`);
    case "snapshotLacksSelf":
      return warn(
        `${n} attempted to restore snapshot but it is not in the ConfState ${confStateWords(e.conf)}; ` +
          "should never happen",
      );
    case "snapshotNotFollower":
      return warn(`${n} attempted to restore snapshot as leader; should never happen`);
    case "proposalDropped":
      return droppedWords(n, e);
    case "membershipSwitched":
      return info(`${n} switched to configuration ${membershipWords(e.conf)}`);
    case "confChangeIgnored":
      return info(
        `${n} ignoring conf change ${changeValueWords(e.change, e.form)} at config ${membershipWords(e.conf)}: ${e.reason}`,
      );
    case "autoLeaveStarted":
      return info(`initiating automatic transition out of joint configuration ${membershipWords(e.conf)}`);
    case "autoLeavePostponed":
      return debug(
        `not initiating automatic transition out of joint configuration ${membershipWords(e.conf)}: ` +
          "raft proposal dropped",
      );
    default:
      return transferWords(n, e);
  }
}

function droppedWords(n: string, e: Extract<TraceEvent, { kind: "proposalDropped" }>): LogLine | null {
  switch (e.reason) {
    case "no-leader":
      return info(`${n} no leader at term ${e.term}; dropping proposal`);
    case "not-forwarding":
      return info(`${n} not forwarding to leader ${hex(e.peer)} at term ${e.term}; dropping proposal`);
    case "transferring":
      return debug(`${n} [term ${e.term}] transfer leadership to ${hex(e.peer)} is in progress; dropping proposal`);
    case "uncommitted-limit":
      return warn(`${n} appending new entries to log would exceed uncommitted entry size limit; dropping proposal`);
    case "not-member":
      return null;
  }
}

function transferWords(n: string, e: TraceEvent): LogLine | null {
  switch (e.kind) {
    case "transferStarted":
      return info(`${n} [term ${e.term}] starts to transfer leadership to ${hex(e.to)}`);
    case "transferReplaced":
      return info(`${n} [term ${e.term}] abort previous transferring leadership to ${hex(e.to)}`);
    case "transferRepeated":
      return info(
        `${n} [term ${e.term}] transfer leadership to ${hex(e.to)} is in progress, ` +
          `ignores request to same node ${hex(e.to)}`,
      );
    case "transferToSelf":
      return debug(`${n} is already leader. Ignored transferring leadership to self`);
    case "transferToLearner":
      return debug(`${n} is learner. Ignored transferring leadership`);
    case "timeoutNowSent":
      return e.caughtUp === "already"
        ? info(`${n} sends MsgTimeoutNow to ${hex(e.to)} immediately as ${hex(e.to)} already has up-to-date log`)
        : info(`${n} sent MsgTimeoutNow to ${hex(e.to)} after received MsgAppResp`);
    case "timeoutNowReceived":
      return info(
        `${n} [term ${e.term}] received MsgTimeoutNow from ${hex(e.from)} and starts an election to get leadership.`,
      );
    case "timeoutNowIgnored":
      return debug(`${n} [term ${e.term} state ${roleWord(e.role)}] ignored MsgTimeoutNow from ${hex(e.from)}`);
    case "transferDropped":
      return info(`${n} no leader at term ${e.term}; dropping leader transfer msg`);
    case "readRefused":
      return e.reason === "no-leader" ? info(`${n} no leader at term ${e.term}; dropping index reading msg`) : null;
    default:
      return null;
  }
}
