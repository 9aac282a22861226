// What a change makes of a membership: one step for one voter, a joint membership for more (Raft 6; thesis 4.1, 4.3).
// Pure: the tracker that is asked stays as it is. A refusal is a reason, in words.

import { type ConfChange, type ConfChangeSingle, jointEntry, leavesJoint } from "../conf-change.ts";
import type { ConfState } from "../conf-state.ts";
import type { Index, RaftId } from "../ids.ts";
import type { ProgressTracker } from "../tracker/tracker.ts";
import { type Membership, MembershipDraft } from "./draft.ts";

export type ChangeOutcome =
  { readonly kind: "ok"; readonly membership: Membership } | { readonly kind: "refused"; readonly reason: string };

/** What to start from: the membership in force, and the last index of the log, where new members are first probed. */
export interface Base {
  readonly tracker: ProgressTracker;
  readonly lastIndex: Index;
}

/** The membership after the change, by the way that the change asks for or needs. */
export function changed(base: Base, change: ConfChange): ChangeOutcome {
  if (leavesJoint(change)) return leaveJoint(base);
  const entry = jointEntry(change);
  if (!entry.joint) return changedSimply(base, change.changes);
  return enterJoint(base, { changes: change.changes, autoLeave: entry.autoLeave });
}

/** Changes at most one voter, and any number of learners, in one step: any two such majorities share a member. */
export function changedSimply(base: Base, changes: readonly ConfChangeSingle[]): ChangeOutcome {
  const { voters } = base.tracker.config;
  if (voters.isJoint) return refused("can't apply simple config change in joint config");
  const draft = new MembershipDraft(base.tracker, base.lastIndex);
  const reason = draft.apply(changes);
  if (reason !== null) return refused(reason);
  if (differences(voters.incoming, draft.incoming) > 1) {
    return refused("more than one voter changed without entering joint config");
  }
  return { kind: "ok", membership: draft.finish() };
}

/** Keeps the present voters as the outgoing half and applies the changes to the incoming one. */
export function enterJoint(
  base: Base,
  wish: { readonly changes: readonly ConfChangeSingle[]; readonly autoLeave: boolean },
): ChangeOutcome {
  const { voters } = base.tracker.config;
  if (voters.isJoint) return refused("config is already joint");
  if (voters.incoming.size === 0) return refused("can't make a zero-voter config joint");
  const draft = new MembershipDraft(base.tracker, base.lastIndex);
  draft.outgoing = new Set(draft.incoming);
  draft.autoLeave = wish.autoLeave;
  const reason = draft.apply(wish.changes);
  return reason === null ? { kind: "ok", membership: draft.finish() } : refused(reason);
}

/** Gives up the outgoing half. */
export function leaveJoint(base: Base): ChangeOutcome {
  if (!base.tracker.config.voters.isJoint) return refused("can't leave a non-joint config");
  const draft = new MembershipDraft(base.tracker, base.lastIndex);
  draft.dropOutgoing();
  return { kind: "ok", membership: draft.finish() };
}

/** The membership that was stored. Asserts that it is consistent: messages are checked before. */
export function restored(base: Base, conf: ConfState): Membership {
  const draft = new MembershipDraft(base.tracker, base.lastIndex);
  draft.incoming = new Set(conf.voters);
  draft.outgoing = new Set(conf.votersOutgoing);
  draft.learners = new Set(conf.learners);
  draft.learnersNext = new Set(conf.learnersNext);
  draft.autoLeave = conf.autoLeave;
  for (const id of [...conf.voters, ...conf.votersOutgoing]) draft.track(id, { isLearner: false });
  for (const id of conf.learners) draft.track(id, { isLearner: true });
  return draft.finish();
}

function refused(reason: string): ChangeOutcome {
  return { kind: "refused", reason };
}

/** How many voters come or go. */
function differences(before: ReadonlySet<RaftId>, after: ReadonlySet<RaftId>): number {
  const gone = [...before].filter((id) => !after.has(id));
  const come = [...after].filter((id) => !before.has(id));
  return gone.length + come.length;
}
