// Copies of the core's state for those who look on: operators, metrics, tests.

import type { ConfState } from "./conf-state.ts";
import type { Index, RaftId } from "./ids.ts";
import type { HardState } from "./log-reader.ts";
import type { Role } from "./ready.ts";

/** How a leader sees one member. */
export interface ProgressView {
  readonly state: "probe" | "replicate" | "snapshot";
  readonly match: Index;
  readonly next: Index;
  /** Nothing but heartbeats is sent to it at present. */
  readonly paused: boolean;
  /** The index of the snapshot on its way; 0 where there is none. */
  readonly pendingSnapshot: Index;
  /** Whether it was heard from since the last check of the quorum. */
  readonly recentActive: boolean;
  readonly isLearner: boolean;
  /** Messages with entries on their way. */
  readonly inflightCount: number;
  readonly inflightFull: boolean;
}

export interface Status {
  readonly id: RaftId;
  readonly role: Role;
  /** 0 where no leader is known. */
  readonly leader: RaftId;
  readonly hard: HardState;
  readonly applied: Index;
  readonly lastIndex: Index;
  /** The node to which leadership is being handed; 0 where it is not. */
  readonly transferTo: RaftId;
  readonly conf: ConfState;
  /** Whether this node has a vote in the present membership. */
  readonly isVoter: boolean;
  /** By member, itself included; empty unless this node leads. */
  readonly progress: ReadonlyMap<RaftId, ProgressView>;
}
