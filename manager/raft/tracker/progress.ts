// What a leader knows of one member's log, and from that what it may send (thesis 10.2.1). Three states: `probe` looks
// for the place where the logs agree, one append at a time; `replicate` sends ahead within a window; `snapshot` waits
// for a snapshot to arrive. Followers keep one per member too, so that they can lead; only leaders change it.
//
// Invariants: match < next; sentCommit < next wherever the peer could act on it.

import type { Index } from "../ids.ts";
import type { Inflights } from "./inflights.ts";

export type ProgressState = "probe" | "replicate" | "snapshot";

export interface ProgressStart {
  readonly match: Index;
  readonly next: Index;
  readonly isLearner: boolean;
  readonly recentActive: boolean;
  readonly inflights: Inflights;
}

export class Progress {
  /** The largest index the peer is known to hold as this leader does. */
  match: Index;
  /** The index of the next entry to send. */
  next: Index;
  /** The largest commit index in anything sent to the peer. */
  sentCommit: Index = 0;
  state: ProgressState = "probe";
  /** In state snapshot: the index of the snapshot that is on its way; otherwise 0. */
  pendingSnapshot: Index = 0;
  /** Whether the peer was heard from since the last check of the quorum. */
  recentActive: boolean;
  /** No more appends with entries until the peer answers: a probe is out, or the window is full. */
  msgAppFlowPaused = false;
  readonly isLearner: boolean;
  readonly inflights: Inflights;

  constructor(start: ProgressStart) {
    this.match = start.match;
    this.next = start.next;
    this.isLearner = start.isLearner;
    this.recentActive = start.recentActive;
    this.inflights = start.inflights;
  }

  /** The same peer, promoted or demoted: what is known of its log stays true. */
  as(kind: { readonly isLearner: boolean }): Progress {
    const { match, next, recentActive, inflights } = this;
    const copy = new Progress({ match, next, recentActive, inflights, isLearner: kind.isLearner });
    copy.state = this.state;
    copy.sentCommit = this.sentCommit;
    copy.pendingSnapshot = this.pendingSnapshot;
    copy.msgAppFlowPaused = this.msgAppFlowPaused;
    return copy;
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.msgAppFlowPaused = false;
    this.pendingSnapshot = 0;
    this.inflights.reset();
  }

  /** Looks for the common place again, from what the peer is known to hold or was sent as a snapshot. */
  becomeProbe(): void {
    const received = this.state === "snapshot" ? this.pendingSnapshot : 0;
    this.#enter("probe");
    this.next = Math.max(this.match, received) + 1;
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }

  becomeReplicate(): void {
    this.#enter("replicate");
    this.next = this.match + 1;
  }

  /** A snapshot of the index was sent: nothing but heartbeats until it is reported or overtaken. */
  becomeSnapshot(index: Index): void {
    this.#enter("snapshot");
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }

  /** An append was sent: so many entries from `next` on, of so many bytes. */
  onEntriesSent(count: number, bytes: number): void {
    if (this.state === "replicate") {
      if (count > 0) {
        // Ahead of the answer; a rejection or a report takes it back.
        this.next += count;
        this.inflights.add({ index: this.next - 1, bytes });
      }
      this.msgAppFlowPaused = this.inflights.full();
    } else if (count > 0) {
      this.msgAppFlowPaused = true;
    }
  }

  /** Whether telling the peer this commit tells it something it can use: it has not heard it, and was sent entries. */
  canBumpCommit(commit: Index): boolean {
    return commit > this.sentCommit && this.sentCommit < this.next - 1;
  }

  onCommitSent(commit: Index): void {
    this.sentCommit = commit;
  }

  /** The peer acknowledged everything up to the index. False where that is not news. */
  maybeUpdate(index: Index): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.msgAppFlowPaused = false;
    return true;
  }

  /**
   * The peer refused the append that followed `rejected`; its log may agree up to `matchHint`. Goes back where that
   * append is the one awaited; false for an answer that was overtaken.
   */
  maybeDecreaseTo(answer: { readonly rejected: Index; readonly matchHint: Index }): boolean {
    const { rejected, matchHint } = answer;
    if (this.state === "replicate") {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
    } else {
      if (rejected !== this.next - 1) return false;
      this.next = Math.max(Math.min(rejected, matchHint + 1), this.match + 1);
      this.msgAppFlowPaused = false;
    }
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    return true;
  }

  /** Whether appends with entries must wait. */
  isPaused(): boolean {
    return this.state === "snapshot" || this.msgAppFlowPaused;
  }
}
