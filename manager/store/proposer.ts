// The one thing the store knows of replication. A single manager's log and a Raft group stand behind the same calls.

import type { StoreChanges } from "../../proto/gen/control.ts";

/** What came of a proposal. Only "dropped" is safe to try again. */
export type ProposalResult =
  /** Durable at this index. The store applies the changes, in index order, before anything else is applied. */
  | { readonly kind: "committed"; readonly index: number }
  /** It never entered a log. */
  | { readonly kind: "dropped"; readonly reason: string }
  /** It may or may not become durable; the process must learn which by reading the log again. */
  | { readonly kind: "ambiguous"; readonly reason: string };

export interface Proposer {
  /**
   * Makes one change set durable. At most 1.5 MiB encoded. Several proposals may be in flight; they commit in the order of the
   * calls, and `onCommit` runs synchronously in that order, before the promise settles. One that is dropped or ambiguous takes
   * with it every later one that was proposed before its promise settled: those were made over the state it would have led to.
   */
  propose(changes: StoreChanges, onCommit: (index: number) => void): Promise<ProposalResult>;
}

/** What a log hands back when it is opened: the newest snapshot, then every committed change set after it, in order. */
export interface ReplayTarget {
  restore(snapshot: Uint8Array, index: number): void;
  apply(changes: StoreChanges, index: number): void;
}
