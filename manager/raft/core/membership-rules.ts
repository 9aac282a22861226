// What a change would make of the present membership, without making it so.

import { invariant } from "../assert.ts";
import type { ConfChange } from "../conf-change.ts";
import type { ConfState } from "../conf-state.ts";
import { change, restore } from "../standin/confchange.ts";
import type { Raft } from "./state.ts";

export interface Membership {
  readonly config: Raft["tracker"]["config"];
  readonly progress: Raft["tracker"]["progress"];
}

export type ChangeOutcome =
  { readonly kind: "ok"; readonly membership: Membership } | { readonly kind: "refused"; readonly reason: string };

export function changeMembership(raft: Raft, c: ConfChange): ChangeOutcome {
  const outcome = change(raft.tracker, raft.log.lastIndex(), c);
  if (typeof outcome === "string") return { kind: "refused", reason: outcome };
  return { kind: "ok", membership: { config: outcome.conf, progress: outcome.progress } };
}

/** Why the change cannot be made of the present membership; null where it can. */
export function checkConfChange(raft: Raft, c: ConfChange): string | null {
  const outcome = changeMembership(raft, c);
  return outcome.kind === "ok" ? null : outcome.reason;
}

/** The membership that was stored. */
export function membershipOf(raft: Raft, conf: ConfState): Membership {
  const outcome = restore(raft.tracker, raft.log.lastIndex(), conf);
  invariant(typeof outcome !== "string", "a stored membership is consistent");
  return { config: outcome.conf, progress: outcome.progress };
}
