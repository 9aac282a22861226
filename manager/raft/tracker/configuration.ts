// The membership in force, as the core computes with it: who votes, who only learns, who will only learn.
// The stored form of the same is ConfState.

import { invariant } from "../assert.ts";
import type { ConfState } from "../conf-state.ts";
import type { RaftId } from "../ids.ts";
import { JointQuorum } from "../quorum/joint.ts";

/**
 * Invariants: learners vote in neither half; learnersNext are voters of the outgoing half, and of no other kind;
 * learnersNext is empty and autoLeave false unless the voters are joint.
 */
export interface Configuration {
  readonly voters: JointQuorum;
  readonly learners: ReadonlySet<RaftId>;
  /** Voters of the outgoing half that become learners when the joint membership is left: nobody is both at a time. */
  readonly learnersNext: ReadonlySet<RaftId>;
  /** Whether the leader leaves the joint membership by itself. */
  readonly autoLeave: boolean;
}

export const EMPTY_CONFIGURATION: Configuration = {
  voters: new JointQuorum({ incoming: [], outgoing: [] }),
  learners: new Set(),
  learnersNext: new Set(),
  autoLeave: false,
};

/** Asserts the invariants. */
export function checkConfiguration(config: Configuration): void {
  const { voters, learners, learnersNext, autoLeave } = config;
  for (const id of learners) {
    invariant(!voters.incoming.has(id) && !voters.outgoing.has(id), `${id} is a learner and a voter`);
  }
  for (const id of learnersNext) {
    invariant(voters.outgoing.has(id), `${id} is to become a learner and is no outgoing voter`);
    invariant(!voters.incoming.has(id), `${id} is to become a learner and an incoming voter`);
  }
  invariant(voters.isJoint || !autoLeave, "only a joint membership is left by itself");
}

export function toConfState(config: Configuration): ConfState {
  return {
    voters: ascending(config.voters.incoming),
    votersOutgoing: ascending(config.voters.outgoing),
    learners: ascending(config.learners),
    learnersNext: ascending(config.learnersNext),
    autoLeave: config.autoLeave,
  };
}

export function ascending(ids: Iterable<RaftId>): readonly RaftId[] {
  return [...ids].sort((a, b) => a - b);
}
