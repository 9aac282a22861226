// A membership being changed: a copy of the one in force with the operations on single members. Every operation may be
// repeated without effect; a batch is applied in order (Raft 6; thesis 4).

import { invariant } from "../assert.ts";
import type { ConfChangeSingle } from "../conf-change.ts";
import type { Index, RaftId } from "../ids.ts";
import { JointQuorum } from "../quorum/joint.ts";
import { type Configuration, checkConfiguration } from "../tracker/configuration.ts";
import { Inflights, type WindowSize } from "../tracker/inflights.ts";
import { Progress } from "../tracker/progress.ts";
import type { ProgressTracker } from "../tracker/tracker.ts";

export interface Membership {
  readonly config: Configuration;
  readonly progress: ReadonlyMap<RaftId, Progress>;
}

export class MembershipDraft {
  incoming: Set<RaftId>;
  outgoing: Set<RaftId>;
  learners: Set<RaftId>;
  learnersNext: Set<RaftId>;
  autoLeave: boolean;
  readonly #progress: Map<RaftId, Progress>;
  readonly #window: WindowSize;
  readonly #lastIndex: Index;

  /** A copy; the tracker stays as it is. The last index is where new members begin to be probed. */
  constructor(tracker: ProgressTracker, lastIndex: Index) {
    const { config } = tracker;
    this.incoming = new Set(config.voters.incoming);
    this.outgoing = new Set(config.voters.outgoing);
    this.learners = new Set(config.learners);
    this.learnersNext = new Set(config.learnersNext);
    this.autoLeave = config.autoLeave;
    this.#progress = new Map(tracker.progress);
    this.#window = tracker.window;
    this.#lastIndex = lastIndex;
  }

  /** Applies the operations to the incoming half. Refuses, with the reason, to leave nobody with a vote. */
  apply(changes: readonly ConfChangeSingle[]): string | null {
    for (const { type, nodeId } of changes) {
      if (nodeId === 0) continue;
      if (type === "addNode") this.#makeVoter(nodeId);
      else if (type === "addLearnerNode") this.#makeLearner(nodeId);
      else if (type === "removeNode") this.#remove(nodeId);
    }
    return this.incoming.size === 0 ? "removed all voters" : null;
  }

  #makeVoter(id: RaftId): void {
    this.learners.delete(id);
    this.learnersNext.delete(id);
    this.incoming.add(id);
    this.track(id, { isLearner: false });
  }

  /** An outgoing voter keeps its vote until the joint membership is left: nobody is voter and learner at a time. */
  #makeLearner(id: RaftId): void {
    if (this.learners.has(id) || this.learnersNext.has(id)) return;
    this.incoming.delete(id);
    if (this.outgoing.has(id)) {
      this.learnersNext.add(id);
      return;
    }
    this.learners.add(id);
    this.track(id, { isLearner: true });
  }

  /** An outgoing voter keeps its progress until the joint membership is left: its half still needs it. */
  #remove(id: RaftId): void {
    this.incoming.delete(id);
    this.learners.delete(id);
    this.learnersNext.delete(id);
    if (!this.outgoing.has(id)) this.#progress.delete(id);
  }

  /**
   * Keeps progress of the member in its kind, with what is known of it. One that is new begins as active, so that the
   * leader does not step down before it could answer.
   */
  track(id: RaftId, kind: { readonly isLearner: boolean }): void {
    const known = this.#progress.get(id);
    if (known === undefined) {
      const next = Math.max(this.#lastIndex, 1);
      const inflights = new Inflights(this.#window);
      this.#progress.set(id, new Progress({ match: 0, next, recentActive: true, inflights, ...kind }));
    } else if (known.isLearner !== kind.isLearner) {
      this.#progress.set(id, known.as(kind));
    }
  }

  /** The outgoing half is given up: who waited to become a learner does, who has no part any more is forgotten. */
  dropOutgoing(): void {
    for (const id of this.learnersNext) {
      this.learners.add(id);
      this.track(id, { isLearner: true });
    }
    this.learnersNext = new Set();
    for (const id of this.outgoing) {
      if (!this.incoming.has(id) && !this.learners.has(id)) this.#progress.delete(id);
    }
    this.outgoing = new Set();
    this.autoLeave = false;
  }

  /** The membership as drafted. Asserts its invariants. */
  finish(): Membership {
    const config: Configuration = {
      voters: new JointQuorum({ incoming: this.incoming, outgoing: this.outgoing }),
      learners: this.learners,
      learnersNext: this.learnersNext,
      autoLeave: this.autoLeave,
    };
    checkConfiguration(config);
    const members = new Set([...config.voters.ids(), ...config.learners]);
    invariant(
      members.size === this.#progress.size && [...members].every((id) => this.#progress.has(id)),
      "progress is kept of exactly the members",
    );
    return { config, progress: this.#progress };
  }
}
