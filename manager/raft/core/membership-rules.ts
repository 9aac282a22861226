// What a change would make of the present membership, without making it so.

import type { ConfChange } from "../conf-change.ts";
import type { ConfState } from "../conf-state.ts";
import { type ChangeOutcome, changed, restored } from "../confchange/change.ts";
import type { Membership } from "../confchange/draft.ts";
import type { Raft } from "./state.ts";

export function changeMembership(raft: Raft, change: ConfChange): ChangeOutcome {
  return changed({ tracker: raft.tracker, lastIndex: raft.log.lastIndex() }, change);
}

/** Why the change cannot be made of the present membership; null where it can. */
export function checkConfChange(raft: Raft, change: ConfChange): string | null {
  const outcome = changeMembership(raft, change);
  return outcome.kind === "ok" ? null : outcome.reason;
}

/** The membership that was stored. */
export function membershipOf(raft: Raft, conf: ConfState): Membership {
  return restored({ tracker: raft.tracker, lastIndex: raft.log.lastIndex() }, conf);
}
