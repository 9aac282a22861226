// A membership as it is stored: in the log's first state and inside snapshots. Plain sorted lists, no progress.

import type { RaftId } from "./ids.ts";

/** Lists are sorted ascending. Invariant: votersOutgoing is empty unless the configuration is joint. */
export interface ConfState {
  /** The voters; in a joint configuration those of the incoming half. */
  readonly voters: readonly RaftId[];
  readonly learners: readonly RaftId[];
  /** The outgoing half's voters while the configuration is joint. */
  readonly votersOutgoing: readonly RaftId[];
  /** Voters of the outgoing half that become learners once the joint configuration is left. */
  readonly learnersNext: readonly RaftId[];
  /** Whether the leader leaves the joint configuration by itself. */
  readonly autoLeave: boolean;
}

export const EMPTY_CONF_STATE: ConfState = {
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

/** Whether the id has a part in the membership (those of learnersNext are outgoing voters too). */
export function confStateHas(conf: ConfState, id: RaftId): boolean {
  return conf.voters.includes(id) || conf.learners.includes(id) || conf.votersOutgoing.includes(id);
}
