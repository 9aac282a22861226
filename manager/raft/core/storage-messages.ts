// Asynchronous storage: the work for the append and apply threads as messages, with the answers they are to deliver.
// The same answers, stepped by advance(), serve the synchronous mode.

import type { Entry } from "../entry.ts";
import { APPEND_THREAD, APPLY_THREAD } from "../ids.ts";
import type { HardState, SnapshotRef } from "../log-reader.ts";
import { type Message, message } from "../message.ts";
import type { Raft } from "./state.ts";

interface Writes {
  readonly hardState: HardState | null;
  readonly entries: readonly Entry[];
  readonly snapshot: SnapshotRef | null;
}

/** The append thread's next work, or null where there is nothing to store and nothing waits for what is stored. */
export function storageAppend(raft: Raft, writes: Writes): Message | null {
  const { hardState, entries, snapshot } = writes;
  const isIdle = entries.length === 0 && hardState === null && snapshot === null;
  if (isIdle && raft.messagesAfterAppend.length === 0) return null;
  const own = storageAppendResp(raft, snapshot);
  return message({
    type: "storageAppend",
    to: APPEND_THREAD,
    from: raft.id,
    ...(hardState ?? {}),
    entries,
    snapshot,
    // The node's own acknowledgement comes last: until then the entries' terms are answered from memory.
    responses: own === null ? raft.messagesAfterAppend : [...raft.messagesAfterAppend, own],
  });
}

/**
 * What tells the core that its writes are stable, or null where none is under way.
 *
 * It names the last entry of the whole log, not of this write, and this node's term. With entries still in progress a
 * later write may replace some of them by others of the same index and, after two changes of leader, the same term as
 * an earlier write had; the term lets the core drop an answer from before a change of leader, and naming the end again
 * with every write while anything is in progress makes up for it.
 */
export function storageAppendResp(raft: Raft, snapshot: SnapshotRef | null): Message | null {
  const hasEntries = raft.log.hasUnstable;
  if (!hasEntries && snapshot === null) return null;
  const last = hasEntries ? raft.log.lastId() : { term: 0, index: 0 };
  return message({
    type: "storageAppendResp",
    to: raft.id,
    from: APPEND_THREAD,
    term: raft.term,
    logTerm: last.term,
    index: last.index,
    snapshot,
  });
}

export function storageApply(raft: Raft, committed: readonly Entry[]): Message {
  return message({
    type: "storageApply",
    to: APPLY_THREAD,
    from: raft.id,
    entries: committed,
    responses: [storageApplyResp(raft, committed)],
  });
}

/** Says that the entries are applied. It has no term: what is committed is so in every term. */
export function storageApplyResp(raft: Raft, committed: readonly Entry[]): Message {
  return message({ type: "storageApplyResp", to: raft.id, from: APPLY_THREAD, entries: committed });
}
