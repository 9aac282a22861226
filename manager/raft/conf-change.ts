// A change of the membership: what a leader proposes, and what every member applies once the entry is committed.
// A change of one member is made in one step; a change of several, or one that asks for it, goes through a joint
// configuration (Raft thesis 4.3).

import type { RaftId } from "./ids.ts";

/** updateNode changes nothing in the core; applications carry their own news in the context. */
export type ConfChangeType = "addNode" | "removeNode" | "updateNode" | "addLearnerNode";

export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  /** 0 is ignored. */
  readonly nodeId: RaftId;
}

/**
 * auto: joint only when one step cannot do it, left automatically. implicit: joint, left automatically.
 * explicit: joint, left by proposing an empty change.
 */
export type ConfChangeTransition = "auto" | "implicit" | "explicit";

/** A change without members asks to leave the joint configuration. */
export interface ConfChange {
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
  /** Bytes for the application; the core carries them. */
  readonly context: Uint8Array;
}

export function leavesJoint(change: ConfChange): boolean {
  return change.changes.length === 0 && change.transition === "auto";
}

/** Whether the change needs a joint configuration, and whether that is left automatically. */
export function jointEntry(
  change: ConfChange,
): { readonly joint: false } | { readonly joint: true; autoLeave: boolean } {
  if (change.transition === "auto" && change.changes.length <= 1) return { joint: false };
  return { joint: true, autoLeave: change.transition !== "explicit" };
}
