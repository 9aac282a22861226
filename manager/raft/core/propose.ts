// Proposals: how a leader takes them into its log, and which membership changes it refuses (thesis 4.1, 4.3).

import type { ConfChange } from "../conf-change.ts";
import { leavesJoint } from "../conf-change.ts";
import { decodeConfChange } from "../conf-change-codec.ts";
import { checkConfChange } from "./membership-rules.ts";
import { ENTRY_NORMAL, type Entry, type EntryType } from "../entry.ts";
import { type Index, NONE } from "../ids.ts";
import type { StepError } from "../ready.ts";
import { broadcastAppend } from "./replicate.ts";
import type { Raft } from "./state.ts";

/** An entry that has no place in a log yet. */
export interface Proposal {
  readonly type: EntryType;
  readonly data: Uint8Array;
}

export const DROPPED: StepError = { kind: "proposal-dropped" };

/** Takes a batch of proposals into the leader's log and sends it on: all of it or none. */
export function proposeAsLeader(raft: Raft, proposals: readonly Proposal[]): StepError | null {
  if (!raft.tracker.progress.has(raft.id)) return drop(raft, "not-member");
  if (raft.transferTo !== NONE) return drop(raft, "transferring");
  const first = raft.log.lastIndex() + 1;
  const previousPending = raft.pendingConfIndex;
  const checked: Proposal[] = [];
  for (const [i, proposal] of proposals.entries()) {
    const result = checkProposal(raft, { proposal, index: first + i });
    if (result === null) {
      raft.pendingConfIndex = previousPending;
      return { kind: "malformed", detail: "a proposal's membership change cannot be read" };
    }
    checked.push(result);
  }
  if (!appendEntries(raft, checked)) {
    raft.pendingConfIndex = previousPending;
    return drop(raft, "uncommitted-limit");
  }
  broadcastAppend(raft);
  return null;
}

/** The proposal, or an empty one in place of a refused membership change; null where its bytes are no change. */
function checkProposal(raft: Raft, at: { readonly proposal: Proposal; readonly index: Index }): Proposal | null {
  const { proposal, index } = at;
  if (proposal.type === ENTRY_NORMAL) return proposal;
  const change = decodeConfChange(proposal.type, proposal.data);
  if (change === null) return null;
  const reason = raft.config.disableConfChangeValidation ? null : refusal(raft, change);
  if (reason === null) {
    raft.pendingConfIndex = index;
    return proposal;
  }
  const form = proposal.type === 1 ? "single" : "batch";
  raft.trace({ kind: "confChangeIgnored", change, form, conf: raft.tracker.confState(), reason });
  return { type: ENTRY_NORMAL, data: new Uint8Array(0) };
}

/** Why the change must not enter the log now; null where it may. */
function refusal(raft: Raft, change: ConfChange): string | null {
  if (raft.pendingConfIndex > raft.log.applied) {
    return `possible unapplied conf change at index ${raft.pendingConfIndex} (applied to ${raft.log.applied})`;
  }
  const isJoint = raft.tracker.config.voters.isJoint;
  if (isJoint && !leavesJoint(change)) return "must transition out of joint config first";
  if (!isJoint && leavesJoint(change)) return "not in joint state; refusing empty conf change";
  return checkConfChange(raft, change);
}

/**
 * Appends to the leader's own log, in its term. The leader acknowledges the entries to itself by a message that is
 * delivered once they are durable. False where the bytes that are not committed yet would exceed their limit.
 */
export function appendEntries(raft: Raft, proposals: readonly Proposal[]): boolean {
  const last = raft.log.lastIndex();
  const entries: Entry[] = proposals.map((proposal, i) => ({
    term: raft.term,
    index: last + 1 + i,
    type: proposal.type,
    data: proposal.data,
  }));
  let bytes = 0;
  for (const entry of entries) bytes += entry.data.length;
  if (!raft.takeUncommitted(bytes)) return false;
  raft.send({ type: "appResp", to: raft.id, index: raft.log.append(entries) });
  return true;
}

function drop(raft: Raft, reason: "not-member" | "transferring" | "uncommitted-limit"): StepError {
  raft.trace({ kind: "proposalDropped", reason, term: raft.term, peer: raft.transferTo });
  return DROPPED;
}
