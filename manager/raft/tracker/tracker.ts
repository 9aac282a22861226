// The membership in force with what is known of each member: its progress, and its vote in the present election.
// Answers what a quorum has, says or does. Who changes the membership is confchange/; who acts on it is core/.
//
// Invariant: progress holds exactly the members of the configuration.

import type { ConfState } from "../conf-state.ts";
import type { Index, RaftId } from "../ids.ts";
import type { VoteResult } from "../quorum/majority.ts";
import { type Configuration, EMPTY_CONFIGURATION, ascending, toConfState } from "./configuration.ts";
import { Inflights, type WindowSize } from "./inflights.ts";
import { Progress } from "./progress.ts";

export class ProgressTracker {
  config: Configuration = EMPTY_CONFIGURATION;
  progress: ReadonlyMap<RaftId, Progress> = new Map();
  readonly window: WindowSize;
  #votes = new Map<RaftId, boolean>();

  constructor(window: WindowSize) {
    this.window = window;
  }

  /** The first answers of this election, by voter. */
  get votes(): ReadonlyMap<RaftId, boolean> {
    return this.#votes;
  }

  resetVotes(): void {
    this.#votes = new Map();
  }

  /** The first answer counts: nobody votes twice in a term. */
  recordVote(id: RaftId, granted: boolean): void {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
  }

  /** The answers of voters, and what follows from them. */
  tallyVotes(): { readonly granted: number; readonly rejected: number; readonly result: VoteResult } {
    let granted = 0;
    let rejected = 0;
    for (const [id, progress] of this.progress) {
      const vote = this.#votes.get(id);
      if (vote === undefined || progress.isLearner) continue;
      if (vote) granted++;
      else rejected++;
    }
    return { granted, rejected, result: this.config.voters.voteResult(this.#votes) };
  }

  /** Forgets what was known of every member's log but this node's own: a new leader probes. */
  resetProgress(own: { readonly self: RaftId; readonly lastIndex: Index }): void {
    const fresh = new Map<RaftId, Progress>();
    for (const [id, { isLearner }] of this.progress) {
      const match = id === own.self ? own.lastIndex : 0;
      const inflights = new Inflights(this.window);
      fresh.set(id, new Progress({ match, next: own.lastIndex + 1, isLearner, recentActive: false, inflights }));
    }
    this.progress = fresh;
  }

  /** The members of every kind, ascending. */
  sortedIds(): readonly RaftId[] {
    return ascending(this.progress.keys());
  }

  /** The largest index that a quorum holds; Infinity where there are no voters. */
  committed(): Index {
    return this.config.voters.committedIndex((id) => this.progress.get(id)?.match ?? 0);
  }

  /** Whether a quorum was heard from since the last time this was asked and reset. */
  quorumActive(): boolean {
    const heard = new Map<RaftId, boolean>();
    for (const [id, progress] of this.progress) if (!progress.isLearner) heard.set(id, progress.recentActive);
    return this.config.voters.voteResult(heard) === "won";
  }

  confState(): ConfState {
    return toConfState(this.config);
  }
}
