// Copies of the core's state for trace events and onlookers.

import type { Progress } from "../tracker/progress.ts";
import type { ProgressView, Status } from "../status.ts";
import type { Raft } from "./state.ts";

export function viewProgress(progress: Progress): ProgressView {
  return {
    state: progress.state,
    match: progress.match,
    next: progress.next,
    paused: progress.isPaused(),
    pendingSnapshot: progress.pendingSnapshot,
    recentActive: progress.recentActive,
    isLearner: progress.isLearner,
    inflightCount: progress.inflights.count,
    inflightFull: progress.inflights.full(),
  };
}

export function viewStatus(raft: Raft): Status {
  const progress = new Map<number, ProgressView>();
  if (raft.role === "leader") for (const [id, one] of raft.tracker.progress) progress.set(id, viewProgress(one));
  return {
    id: raft.id,
    role: raft.role,
    leader: raft.leader,
    hard: raft.hardState,
    applied: raft.log.applied,
    lastIndex: raft.log.lastIndex(),
    transferTo: raft.transferTo,
    conf: raft.tracker.confState(),
    isVoter: raft.isVoter,
    progress,
  };
}
