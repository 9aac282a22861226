// The leader's side of replication: what to send to whom (Raft 5.3), within each peer's window, and the commit that
// follows from what they hold (Raft 5.4.2).

import { invariant } from "../assert.ts";
import { confStateHas } from "../conf-state.ts";
import { type Entry, payloadBytes } from "../entry.ts";
import type { RaftId } from "../ids.ts";
import type { Progress } from "../tracker/progress.ts";
import { viewProgress } from "./view.ts";
import { encodeRound } from "./reads.ts";
import type { Raft } from "./state.ts";

/** Sends the peer what it needs next, if it may be sent anything; an empty append where there is nothing new. */
export function sendAppend(raft: Raft, to: RaftId): void {
  maybeSendAppend(raft, { to, evenIfEmpty: true });
}

/** Whether something was sent: an append or, where the log no longer holds what the peer needs, a snapshot. */
export function maybeSendAppend(raft: Raft, wish: { readonly to: RaftId; readonly evenIfEmpty: boolean }): boolean {
  const { to } = wish;
  const progress = progressOf(raft, to);
  if (progress.isPaused()) return false;
  const previous = progress.next - 1;
  const previousTerm = raft.log.term(previous);
  if (typeof previousTerm !== "number") return maybeSendSnapshot(raft, to, progress);
  let entries: readonly Entry[] | "compacted" = [];
  // A full window still gets empty appends: if all of it was lost, the peer's answer opens it again.
  if (progress.state !== "replicate" || !progress.inflights.full()) {
    entries = raft.log.entriesFrom(progress.next, raft.config.maxMessageBytes);
  }
  if (entries === "compacted") return maybeSendSnapshot(raft, to, progress);
  if (entries.length === 0 && !wish.evenIfEmpty) return false;
  const commit = raft.log.committed;
  raft.send({ type: "app", to, index: previous, logTerm: previousTerm, entries, commit });
  progress.onEntriesSent(entries.length, payloadBytes(entries));
  progress.onCommitSent(commit);
  return true;
}

function maybeSendSnapshot(raft: Raft, to: RaftId, progress: Progress): boolean {
  if (!progress.recentActive) return notSent(raft, to, "inactive");
  const snapshot = raft.log.snapshot(to);
  if (snapshot === "unavailable") return notSent(raft, to, "unavailable");
  // A receiver outside the snapshot's membership would have to be told a newer one; that breaks safety with joint
  // changes. Storage cuts a fresh snapshot, and the next heartbeat's answer asks again.
  if (!confStateHas(snapshot.conf, to)) return notSent(raft, to, "lacks-peer");
  raft.trace({
    kind: "snapshotSent",
    peer: to,
    firstIndex: raft.log.firstIndex(),
    commit: raft.log.committed,
    snapshot: { term: snapshot.term, index: snapshot.index },
    progress: viewProgress(progress),
  });
  progress.becomeSnapshot(snapshot.index);
  raft.trace({ kind: "replicationPaused", peer: to, progress: viewProgress(progress) });
  raft.send({ type: "snap", to, snapshot });
  return true;
}

function notSent(raft: Raft, peer: RaftId, reason: "inactive" | "unavailable" | "lacks-peer"): false {
  raft.trace({ kind: "snapshotNotSent", peer, reason });
  return false;
}

/** Sends every other member what it needs next. */
export function broadcastAppend(raft: Raft): void {
  for (const id of raft.tracker.sortedIds()) {
    if (id !== raft.id) sendAppend(raft, id);
  }
}

/** Tells every other member that this node leads; carries the newest read round. */
export function broadcastHeartbeat(raft: Raft): void {
  const context = encodeRound(raft.reads.pendingRound);
  for (const to of raft.tracker.sortedIds()) {
    if (to === raft.id) continue;
    const progress = progressOf(raft, to);
    // Never beyond what the peer is known to hold: what follows there may still be replaced.
    const commit = Math.min(progress.match, raft.log.committed);
    raft.send({ type: "heartbeat", to, commit, context });
    progress.onCommitSent(commit);
  }
}

/** Commits what a quorum holds, if it ends in an entry of this term (Raft 5.4.2). */
export function maybeCommit(raft: Raft): boolean {
  return raft.log.maybeCommit({ term: raft.term, index: raft.tracker.committed() });
}

function progressOf(raft: Raft, id: RaftId): Progress {
  const progress = raft.tracker.progress.get(id);
  invariant(progress !== undefined, `no progress is kept of ${id}`);
  return progress;
}
