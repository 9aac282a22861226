// The state of one member, and the few operations every role shares: sending, and starting anew in a term.
// The rules live beside it, one file per concern, as functions over this state. Nothing here decides a role.
//
// Invariants: term never decreases; vote changes only with the term or from NONE; leader is NONE or the one member
// that this node follows in its term; transferTo is NONE unless this node leads.

import { invariant } from "../assert.ts";
import type { ResolvedConfig } from "../config.ts";
import type { Entry } from "../entry.ts";
import { type Index, NONE, type RaftId, type Term } from "../ids.ts";
import type { HardState } from "../log-reader.ts";
import { RaftLog } from "../log/raft-log.ts";
import { type Message, message } from "../message.ts";
import type { ReadState, Role, SoftState } from "../ready.ts";
import { ProgressTracker } from "../tracker/tracker.ts";
import type { TraceEvent } from "../trace.ts";
import { ReadRounds } from "./reads.ts";

export class Raft {
  readonly config: ResolvedConfig;
  readonly id: RaftId;
  readonly log: RaftLog;
  tracker: ProgressTracker;

  term: Term = 0;
  vote: RaftId = NONE;
  leader: RaftId = NONE;
  role: Role = "follower";
  /** Whether this node takes part without a vote. */
  isLearner = false;

  /** Messages that depend on nothing unsynced; they may leave at once. */
  messages: Message[] = [];
  /** Votes and acknowledgements; they leave only after what they promise is durable. */
  messagesAfterAppend: Message[] = [];
  readStates: ReadState[] = [];
  readonly reads: ReadRounds;

  transferTo: RaftId = NONE;
  /**
   * The index of the last membership change that may be in the log and not applied; a further one is taken only when
   * that is applied. A new leader assumes its whole log.
   */
  pendingConfIndex: Index = 0;
  /** The index up to which the membership is that of the log: of its last change, or of the snapshot that brought it. */
  confIndex: Index = 0;
  uncommittedBytes = 0;

  /** Ticks since the last word of the leader, or since the last check of the quorum on the leader itself. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  /** Ticks after which to campaign; drawn anew from [n, 2n) with every start in a term. */
  electionTimeout = 0;

  constructor(config: ResolvedConfig) {
    this.config = config;
    this.id = config.id;
    this.log = new RaftLog({
      storage: config.storage,
      maxApplyingBytes: config.maxApplyingBytes,
      trace: config.trace,
    });
    this.tracker = newTracker(config);
    this.reads = new ReadRounds(config.maxPendingReads);
  }

  trace(event: TraceEvent): void {
    this.config.trace(event);
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed };
  }

  get softState(): SoftState {
    return { leader: this.leader, role: this.role };
  }

  /** Queues a message. Its sender is this node; its term this node's, except for votes, which say their own. */
  send(fields: Partial<Message> & Pick<Message, "type" | "to">): void {
    const { type } = fields;
    let { term = 0 } = fields;
    const isVote = type === "vote" || type === "preVote" || type === "voteResp" || type === "preVoteResp";
    invariant(isVote === term > 0, `${type} is sent with term ${term}`);
    // Proposals and reads are passed on to the leader of whatever term.
    if (!isVote && type !== "prop" && type !== "readIndex") term = this.term;
    const m = message({ ...fields, from: this.id, term });
    if (type === "appResp" || type === "voteResp" || type === "preVoteResp") {
      this.messagesAfterAppend.push(m);
    } else {
      invariant(m.to !== this.id, `${type} is sent to this node itself`);
      this.messages.push(m);
    }
  }

  /** Begins a term, or the same one in a new role: nothing of the former role is kept but the log and the vote. */
  reset(term: Term): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = NONE;
    }
    this.leader = NONE;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.drawElectionTimeout();
    this.transferTo = NONE;
    this.tracker.resetVotes();
    this.tracker.resetProgress({ self: this.id, lastIndex: this.log.lastIndex() });
    this.pendingConfIndex = 0;
    this.uncommittedBytes = 0;
    this.#refuseReads();
  }

  drawElectionTimeout(): void {
    const { electionTicks, random } = this.config;
    this.electionTimeout = electionTicks + random(electionTicks);
  }

  /** Whether the node may campaign: a voter whose log is not about to be replaced by a snapshot. */
  get isPromotable(): boolean {
    const progress = this.tracker.progress.get(this.id);
    return progress !== undefined && !progress.isLearner && !this.log.hasUnstableSnapshot;
  }

  /** Whether the node has a vote, in either half of a joint membership. */
  get isVoter(): boolean {
    return this.tracker.config.voters.ids().has(this.id);
  }

  /** Counts a proposal's bytes. False where it would exceed the limit; the first bytes and empty data always fit. */
  takeUncommitted(bytes: number): boolean {
    const { maxUncommittedBytes } = this.config;
    if (this.uncommittedBytes > 0 && bytes > 0 && this.uncommittedBytes + bytes > maxUncommittedBytes) return false;
    this.uncommittedBytes += bytes;
    return true;
  }

  /** Bytes of applied entries no longer count. They may stem from an earlier leader and never have counted. */
  releaseUncommitted(bytes: number): void {
    this.uncommittedBytes = Math.max(0, this.uncommittedBytes - bytes);
  }

  /** Whether the commit is of this term, so that everything committed before is known to be (Raft 8). */
  get hasCommittedInTerm(): boolean {
    return this.log.termOrZero(this.log.committed) === this.term;
  }

  #refuseReads(): void {
    for (const { from, context } of this.reads.clear()) {
      this.trace({ kind: "readRefused", term: this.term, reason: "leadership-lost" });
      if (from === this.id) this.readStates.push({ kind: "refused", reason: "leadership-lost", context });
      else this.send({ type: "readIndexResp", to: from, context, reject: true });
    }
  }
}

export function newTracker(config: ResolvedConfig): ProgressTracker {
  return new ProgressTracker({
    maxMessages: config.maxInflightMessages,
    maxBytes: config.maxInflightBytes,
  });
}

/** Whether an entry changes the membership. */
export function isConfChange(entry: Entry): boolean {
  return entry.type !== 0;
}
