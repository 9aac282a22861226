import { type ConfChange, type ConfChangeSingle, jointEntry, leavesJoint } from "../conf-change.ts";
import type { ConfState } from "../conf-state.ts";
import type { Index, RaftId } from "../ids.ts";
import { type Conf, Joint, type Progress, type ProgressTracker } from "./tracker.ts";

export type Outcome = { conf: Conf; progress: Map<RaftId, Progress> } | string;
interface W {
  inc: Set<RaftId>;
  out: Set<RaftId>;
  learners: Set<RaftId>;
  next: Set<RaftId>;
  auto: boolean;
  progress: Map<RaftId, Progress>;
}

export function change(t: ProgressTracker, lastIndex: Index, c: ConfChange): Outcome {
  if (leavesJoint(c)) return leave(t);
  const j = jointEntry(c);
  return j.joint ? enter(t, lastIndex, j.autoLeave, c.changes) : simple(t, lastIndex, c.changes);
}
function copy(t: ProgressTracker): W {
  const c = t.config;
  return {
    inc: new Set(c.voters.incoming),
    out: new Set(c.voters.outgoing),
    learners: new Set(c.learners),
    next: new Set(c.learnersNext),
    auto: c.autoLeave,
    progress: new Map(t.progress),
  };
}
function done(w: W): Outcome {
  return {
    conf: { voters: new Joint(w.inc, w.out), learners: w.learners, learnersNext: w.next, autoLeave: w.auto },
    progress: w.progress,
  };
}
function clone(t: ProgressTracker, p: Progress, isLearner: boolean): Progress {
  const n = t.newProgress({ match: p.match, next: p.next, isLearner, active: p.recentActive });
  n.state = p.state;
  n.sentCommit = p.sentCommit;
  n.pendingSnapshot = p.pendingSnapshot;
  n.msgAppFlowPaused = p.msgAppFlowPaused;
  n.inflights = p.inflights;
  return n;
}
function apply(t: ProgressTracker, w: W, last: Index, cs: readonly ConfChangeSingle[]): string | null {
  const make = (id: RaftId, isLearner: boolean): void => {
    if (isLearner) w.learners.add(id);
    else w.inc.add(id);
    w.progress.set(id, t.newProgress({ match: 0, next: Math.max(last, 1), isLearner, active: true }));
  };
  const remove = (id: RaftId): void => {
    if (!w.progress.has(id)) return;
    w.inc.delete(id);
    w.learners.delete(id);
    w.next.delete(id);
    if (!w.out.has(id)) w.progress.delete(id);
  };
  for (const { type, nodeId: id } of cs) {
    if (id === 0) continue;
    const p = w.progress.get(id);
    if (type === "addNode") {
      if (p === undefined) make(id, false);
      else {
        w.progress.set(id, clone(t, p, false));
        w.learners.delete(id);
        w.next.delete(id);
        w.inc.add(id);
      }
    } else if (type === "addLearnerNode") {
      if (p === undefined) make(id, true);
      else if (!p.isLearner) {
        remove(id);
        w.progress.set(id, clone(t, p, false));
        if (w.out.has(id)) w.next.add(id);
        else {
          w.progress.set(id, clone(t, p, true));
          w.learners.add(id);
        }
      }
    } else if (type === "removeNode") remove(id);
  }
  return w.inc.size === 0 ? "removed all voters" : null;
}
export function simple(t: ProgressTracker, last: Index, cs: readonly ConfChangeSingle[]): Outcome {
  if (t.config.voters.isJoint) return "can't apply simple config change in joint config";
  const w = copy(t);
  const e = apply(t, w, last, cs);
  if (e !== null) return e;
  let d = 0;
  for (const id of w.inc) if (!t.config.voters.incoming.has(id)) d++;
  for (const id of t.config.voters.incoming) if (!w.inc.has(id)) d++;
  if (d > 1) return "more than one voter changed without entering joint config";
  return done(w);
}
function enter(t: ProgressTracker, last: Index, auto: boolean, cs: readonly ConfChangeSingle[]): Outcome {
  if (t.config.voters.isJoint) return "config is already joint";
  const w = copy(t);
  if (w.inc.size === 0) return "can't make a zero-voter config joint";
  w.out = new Set(w.inc);
  const e = apply(t, w, last, cs);
  if (e !== null) return e;
  w.auto = auto;
  return done(w);
}
function leave(t: ProgressTracker): Outcome {
  if (!t.config.voters.isJoint) return "can't leave a non-joint config";
  const w = copy(t);
  for (const id of w.next) {
    w.learners.add(id);
    const p = w.progress.get(id);
    if (p !== undefined) w.progress.set(id, clone(t, p, true));
  }
  w.next = new Set();
  for (const id of w.out) if (!w.inc.has(id) && !w.learners.has(id)) w.progress.delete(id);
  w.out = new Set();
  w.auto = false;
  return done(w);
}
export function restore(t: ProgressTracker, last: Index, cs: ConfState): Outcome {
  const w = copy(t);
  const put = (id: RaftId, isLearner: boolean): void =>
    void w.progress.set(id, t.newProgress({ match: 0, next: Math.max(last, 1), isLearner, active: true }));
  w.inc = new Set(cs.voters);
  w.out = new Set(cs.votersOutgoing);
  w.learners = new Set(cs.learners);
  w.next = new Set(cs.learnersNext);
  w.auto = cs.autoLeave;
  for (const id of [...w.inc, ...w.out]) put(id, false);
  for (const id of w.learners) put(id, true);
  return done(w);
}
