// The stored part of the log as the core reads it. The driver implements it over its log; the core never writes.

import type { ConfState } from "./conf-state.ts";
import type { Entry } from "./entry.ts";
import type { Index, RaftId, Term } from "./ids.ts";

/** What must be durable before any message that depends on it leaves the node. */
export interface HardState {
  readonly term: Term;
  readonly vote: RaftId;
  readonly commit: Index;
}

export const EMPTY_HARD_STATE: HardState = { term: 0, vote: 0, commit: 0 };

export function sameHardState(a: HardState, b: HardState): boolean {
  return a.term === b.term && a.vote === b.vote && a.commit === b.commit;
}

/** A snapshot's place in the log and the membership at exactly that place. The core carries data, it never reads it. */
export interface SnapshotRef {
  readonly index: Index;
  readonly term: Term;
  readonly conf: ConfState;
  /** The state itself or a handle to it, as the driver likes. */
  readonly data: Uint8Array;
}

/**
 * Everything here is stable: already durable. Called synchronously and often, so it answers from memory.
 * Indices from firstIndex() to lastIndex() are held; the term of firstIndex() - 1 is known too.
 */
export interface LogReader {
  initialState(): { readonly hard: HardState; readonly conf: ConfState };
  firstIndex(): Index;
  lastIndex(): Index;
  term(index: Index): Term | "compacted" | "unavailable";
  /** Entries in [lo, hi), cut to maxBytes (see entryBytes) but at least one. "compacted" when lo is below firstIndex(). */
  entries(lo: Index, hi: Index, maxBytes: number): readonly Entry[] | "compacted";
  /**
   * The latest snapshot for a peer, with the membership as it was at its index: never a newer one (thesis 4.1 breaks
   * with joint changes). "unavailable" when one must first be cut; the core asks again later.
   */
  snapshot(forPeer: RaftId): SnapshotRef | "unavailable";
}
