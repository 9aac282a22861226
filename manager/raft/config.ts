// What a node is told when it starts. Limits and ticks are checked here, once.

import { invariant } from "./assert.ts";
import { type Index, type RaftId, isRaftId } from "./ids.ts";
import type { LogReader } from "./log-reader.ts";
import type { TraceSink } from "./trace.ts";

export interface RaftConfig {
  readonly id: RaftId;
  readonly storage: LogReader;
  /** An integer drawn evenly from [0, below). Election timeouts come from it. */
  readonly random: (below: number) => number;
  /** Receives the core's decisions. */
  readonly trace: TraceSink;
  /** Ticks without a word of the leader before an election; drawn anew from [n, 2n) each time (Raft 5.2). */
  readonly electionTicks: number;
  /** Ticks between a leader's heartbeats; well below electionTicks. */
  readonly heartbeatTicks: number;
  /**
   * The index up to which the application's state and the membership of initialState() stand, that of the snapshot they
   * were read from: what is committed after it is handed over again. 0 where the log begins right after that snapshot.
   */
  readonly applied?: Index;
  /** Storage works beside the network and answers by messages. False by default: the Ready/advance mode. */
  readonly asyncStorageWrites?: boolean;
  /** Largest run of entries in one append. In bytes; one entry is always sent. */
  readonly maxMessageBytes?: number;
  /** Most committed entries handed over and not yet applied. In bytes; one entry is always handed over. */
  readonly maxApplyingBytes?: number;
  /** Most bytes of proposals not yet committed; further ones are dropped. The first is always taken. */
  readonly maxUncommittedBytes?: number;
  /** Most appends on their way to one peer. */
  readonly maxInflightMessages?: number;
  /** Most bytes of appends on their way to one peer; unlimited where it is 0. */
  readonly maxInflightBytes?: number;
  /** Most reads waiting for a leader's first commit or for a round; further ones are refused. */
  readonly maxPendingReads?: number;
  /** A leader that does not hear a quorum steps down, and nobody votes while it hears its leader (thesis 6.2). */
  readonly checkQuorum?: boolean;
  /** An election begins by asking who would vote, so that a returning node disturbs nobody (thesis 9.6). */
  readonly preVote?: boolean;
  /** Followers drop proposals instead of passing them on to the leader. */
  readonly disableProposalForwarding?: boolean;
  /** Takes membership changes into the log although one is not applied yet. For applications that check themselves. */
  readonly disableConfChangeValidation?: boolean;
  /** A leader that is removed or demoted becomes a follower at once. True by default, and best left so. */
  readonly stepDownOnRemoval?: boolean;
  /** Refuses forgetLeader(): for applications that rely on their leader's lease. */
  readonly refuseForgetLeader?: boolean;
}

export type ResolvedConfig = Required<RaftConfig>;

const MAX_PENDING_READS = 4096;

/** The config with its defaults. Asserts what makes no sense. */
export function resolveConfig(config: RaftConfig): ResolvedConfig {
  const maxMessageBytes = config.maxMessageBytes ?? Infinity;
  const maxInflightBytes = config.maxInflightBytes ?? 0;
  const resolved: ResolvedConfig = {
    id: config.id,
    storage: config.storage,
    random: config.random,
    trace: config.trace,
    electionTicks: config.electionTicks,
    heartbeatTicks: config.heartbeatTicks,
    applied: config.applied ?? 0,
    asyncStorageWrites: config.asyncStorageWrites ?? false,
    maxMessageBytes,
    maxApplyingBytes: config.maxApplyingBytes ?? maxMessageBytes,
    maxUncommittedBytes: config.maxUncommittedBytes ?? Infinity,
    maxInflightMessages: config.maxInflightMessages ?? 256,
    maxInflightBytes,
    maxPendingReads: config.maxPendingReads ?? MAX_PENDING_READS,
    checkQuorum: config.checkQuorum ?? true,
    preVote: config.preVote ?? true,
    disableProposalForwarding: config.disableProposalForwarding ?? false,
    disableConfChangeValidation: config.disableConfChangeValidation ?? false,
    stepDownOnRemoval: config.stepDownOnRemoval ?? true,
    refuseForgetLeader: config.refuseForgetLeader ?? false,
  };
  invariant(isRaftId(resolved.id), `raft id ${resolved.id} is not an integer in [1, 2^53-3]`);
  invariant(resolved.heartbeatTicks >= 1, "heartbeatTicks must be at least 1");
  invariant(resolved.electionTicks > resolved.heartbeatTicks, "electionTicks must be above heartbeatTicks");
  invariant(resolved.maxInflightMessages >= 1, "maxInflightMessages must be at least 1");
  invariant(resolved.maxApplyingBytes > 0, "maxApplyingBytes must be above 0");
  invariant(
    maxInflightBytes === 0 || maxInflightBytes >= maxMessageBytes,
    "maxInflightBytes must be 0 or at least maxMessageBytes",
  );
  return resolved;
}
