// Membership: a change takes effect when its entry is applied, a snapshot brings the one of its index, and a leader
// acts on what it means for the commit, for new members and for itself (thesis 4).

import { invariant } from "../assert.ts";
import type { ConfChange } from "../conf-change.ts";
import { type ConfState, confStateHas } from "../conf-state.ts";
import { type Index, NONE } from "../ids.ts";
import type { SnapshotRef } from "../log-reader.ts";
import { encodeConfChange } from "../conf-change-codec.ts";
import { changeMembership, membershipOf } from "./membership-rules.ts";
import { proposeAsLeader } from "./propose.ts";
import { broadcastAppend, maybeCommit, maybeSendAppend } from "./replicate.ts";
import { becomeFollower } from "./roles.ts";
import { type Raft, newTracker } from "./state.ts";

/**
 * Applies a committed change; null where the membership is that of a later index already. Asserts that the change fits
 * the membership: the leader checked it when it was proposed.
 */
export function applyConfChange(raft: Raft, change: ConfChange, index: Index): ConfState | null {
  // A snapshot's membership holds from the moment it is received, while older entries may still be under way to the
  // application.
  if (index <= raft.confIndex) return null;
  const next = changeMembership(raft, change);
  invariant(
    next.kind === "ok",
    next.kind === "ok" ? "" : `a committed membership change does not apply: ${next.reason}`,
  );
  raft.confIndex = index;
  return switchTo(raft, next.membership);
}

/** Takes a membership as it is stored: at the start, and with a snapshot. */
export function restoreMembership(raft: Raft, stored: { readonly conf: ConfState; readonly index: Index }): void {
  raft.tracker = newTracker(raft.config);
  raft.confIndex = stored.index;
  switchTo(raft, membershipOf(raft, stored.conf));
}

function switchTo(
  raft: Raft,
  membership: { readonly config: Raft["tracker"]["config"]; readonly progress: Raft["tracker"]["progress"] },
): ConfState {
  const { tracker } = raft;
  tracker.config = membership.config;
  tracker.progress = membership.progress;
  const conf = tracker.confState();
  raft.trace({ kind: "membershipSwitched", conf });
  const self = tracker.progress.get(raft.id);
  raft.isLearner = self?.isLearner ?? false;
  if (raft.role !== "leader") return conf;
  if (self === undefined || raft.isLearner) {
    // A leader that has no vote any more must not go on: it would commit and answer reads for others' quorums.
    if (raft.config.stepDownOnRemoval) becomeFollower(raft, { term: raft.term, leader: NONE });
    return conf;
  }
  if (conf.voters.length === 0) return conf;
  if (maybeCommit(raft)) {
    // A smaller quorum may hold more than the former one did.
    broadcastAppend(raft);
  } else {
    // New members need not wait for the next heartbeat.
    for (const to of tracker.sortedIds()) {
      if (to !== raft.id) maybeSendAppend(raft, { to, evenIfEmpty: false });
    }
  }
  if (raft.transferTo !== NONE && !tracker.config.voters.ids().has(raft.transferTo)) raft.transferTo = NONE;
  return conf;
}

/** Entries up to the index are applied. A leader leaves a joint membership that is to be left by itself. */
export function appliedTo(raft: Raft, applied: { readonly index: Index; readonly bytes: number }): void {
  const index = Math.max(applied.index, raft.log.applied);
  raft.log.appliedTo(index, applied.bytes);
  if (raft.role !== "leader" || !raft.tracker.config.autoLeave || index < raft.pendingConfIndex) return;
  const leave = encodeConfChange({ transition: "auto", changes: [], context: new Uint8Array(0) }, "batch");
  // Dropped while leadership is handed over: then the next leader does it, or this one with the next applied entry.
  const conf = raft.tracker.confState();
  const dropped = proposeAsLeader(raft, [leave]);
  raft.trace({ kind: dropped === null ? "autoLeaveStarted" : "autoLeavePostponed", conf });
}

/** A received snapshot is durable, and with it everything up to its index applied. */
export function snapshotStored(raft: Raft, snapshot: SnapshotRef): void {
  raft.log.stableSnapshotTo(snapshot.index);
  appliedTo(raft, { index: snapshot.index, bytes: 0 });
}

/** Replaces the log by a leader's snapshot, unless the log holds as much already. Whether it did. */
export function restoreSnapshot(raft: Raft, snapshot: SnapshotRef): boolean {
  const id = { term: snapshot.term, index: snapshot.index };
  if (snapshot.index <= raft.log.committed) return false;
  if (raft.role !== "follower") {
    raft.trace({ kind: "snapshotNotFollower" });
    becomeFollower(raft, { term: raft.term + 1, leader: NONE });
    return false;
  }
  if (!confStateHas(snapshot.conf, raft.id)) {
    raft.trace({ kind: "snapshotLacksSelf", conf: snapshot.conf });
    return false;
  }
  if (raft.log.matches(id)) {
    // The entries are here: only the commit was behind.
    raft.log.commitTo(snapshot.index);
    const last = raft.log.lastId();
    raft.trace({ kind: "snapshotSkipped", snapshot: id, commit: raft.log.committed, last });
    return false;
  }
  raft.log.restore(snapshot);
  restoreMembership(raft, snapshot);
  const last = raft.log.lastId();
  raft.trace({ kind: "snapshotRestored", snapshot: id, commit: raft.log.committed, last });
  return true;
}
