// The three numbers Raft is made of, and the ids that name no peer.
// A raft id is drawn at random once and never used again after its removal, so that nothing said by a removed
// member can be taken for a member's word.

/** A member. An integer in [1, RAFT_ID_MAX]. */
export type RaftId = number;
/** A term; 0 before the first election. */
export type Term = number;
/** A position in the log; the first entry has index 1. */
export type Index = number;

/** No member: no leader is known, no vote was cast. */
export const NONE: RaftId = 0;
export const RAFT_ID_MAX: RaftId = Number.MAX_SAFE_INTEGER - 2;
/** The addressee of storage appends in asynchronous mode; never a peer. */
export const APPEND_THREAD: RaftId = Number.MAX_SAFE_INTEGER;
/** The addressee of committed entries to apply in asynchronous mode; never a peer. */
export const APPLY_THREAD: RaftId = Number.MAX_SAFE_INTEGER - 1;

export function isRaftId(id: number): boolean {
  return Number.isSafeInteger(id) && id >= 1 && id <= RAFT_ID_MAX;
}

/** Whether the id names one of this node's own storage threads. */
export function isStorageThread(id: RaftId): boolean {
  return id === APPEND_THREAD || id === APPLY_THREAD;
}
