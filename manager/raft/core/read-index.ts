// Who answers a read request and when (thesis 6.4). What cannot be served is refused, never silently dropped here.

import { NONE, type RaftId } from "../ids.ts";
import type { Message } from "../message.ts";
import type { StepError } from "../ready.ts";
import type { ReadRefusal } from "../trace.ts";
import type { ReadAnswer, ReadRequest } from "./reads.ts";
import { decodeRound } from "./reads.ts";
import { broadcastHeartbeat } from "./replicate.ts";
import type { Raft } from "./state.ts";

/** A follower passes its callers' requests on; a request that another member passed to it has missed the leader. */
export function readAsFollower(raft: Raft, m: Message): StepError | null {
  if (m.type === "readIndexResp") {
    if (m.reject) raft.readStates.push({ kind: "refused", reason: "leadership-lost", context: m.context });
    else raft.readStates.push({ kind: "ready", index: m.index, context: m.context });
    return null;
  }
  const request = { from: m.from, context: m.context };
  if (raft.leader === NONE || m.from !== raft.id) return refuse(raft, request, "no-leader");
  raft.send({ type: "readIndex", to: raft.leader, context: m.context });
  return null;
}

export function readAsLeader(raft: Raft, m: Message): StepError | null {
  const request = { from: m.from, context: m.context };
  // A leader that was removed, or an asker that was, may be behind whatever the members have committed since.
  if (!raft.isVoter || !raft.tracker.progress.has(m.from)) return refuse(raft, request, "not-member");
  if (raft.reads.isFull) return refuse(raft, request, "too-many");
  if (!raft.hasCommittedInTerm) {
    raft.trace({ kind: "readPostponed", term: raft.term });
    raft.reads.postpone(request);
    return null;
  }
  openRound(raft, request);
  return null;
}

/** The leader has committed in its term: reads that waited for it begin their rounds. */
export function releasePostponedReads(raft: Raft): void {
  if (!raft.hasCommittedInTerm) return;
  for (const request of raft.reads.takePostponed()) openRound(raft, request);
}

function openRound(raft: Raft, request: ReadRequest): void {
  const index = raft.log.committed;
  // The only voter needs nobody's word; but that voter must be this node.
  if (raft.tracker.config.voters.isSingleton && raft.isVoter) {
    answer(raft, { request, index });
    return;
  }
  raft.reads.ack(raft.id, raft.reads.open(request, index));
  broadcastHeartbeat(raft);
}

/** A member confirmed this leadership: answer what a quorum has confirmed by now. */
export function confirmReads(raft: Raft, m: Message): void {
  const round = decodeRound(m.context);
  if (round === 0) return;
  raft.reads.ack(m.from, round);
  if (!raft.isVoter) return;
  const confirmed = raft.tracker.config.voters.committedIndex((id: RaftId) => raft.reads.ackedBy(id));
  for (const read of raft.reads.takeConfirmed(confirmed)) answer(raft, read);
}

function answer(raft: Raft, read: ReadAnswer): void {
  const { from, context } = read.request;
  if (from === raft.id) raft.readStates.push({ kind: "ready", index: read.index, context });
  else raft.send({ type: "readIndexResp", to: from, index: read.index, context });
}

function refuse(raft: Raft, request: ReadRequest, reason: ReadRefusal): StepError | null {
  raft.trace({ kind: "readRefused", term: raft.term, reason });
  if (request.from === raft.id) return { kind: "read-refused", reason };
  // Before its first term a node has nothing to say.
  if (raft.term > 0) raft.send({ type: "readIndexResp", to: request.from, context: request.context, reject: true });
  return null;
}
