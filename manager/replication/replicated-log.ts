// The replicated log of a group of managers, behind the store's Proposer. It joins what turns around one loop: proposals, read
// barriers, changes of the membership, and who leads.

import type { Entry, Index, RaftId, Status, StepError, Term } from "raft-ts";
import { assert } from "../../proto/base/assert.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import { StoreChanges } from "../../proto/gen/control.ts";
import type { ProposalResult, Proposer } from "../store/proposer.ts";
import { Gathering } from "./gathering.ts";
import { HandOver } from "./hand-over.ts";
import type { Member } from "./membership.ts";
import { type ChangeRequest, MembershipChanges, unreadable } from "./membership-change.ts";
import { type GroupState, type MemberView, noQuorumSentence, successorOf, viewMembers } from "./membership-view.ts";
import { Proposals, type Submitted } from "./proposals.ts";
import { Reads } from "./reads.ts";
import { ReplicatedLogLoop } from "./replicated-log-loop.ts";
import type { LeadershipState, ReplicatedLogOptions } from "./replicated-log-options.ts";
import type { LogSnapshotMeta } from "./replicated-log-storage.ts";
import { Waits } from "./replicated-log-waits.ts";
import { ELECTION_MS } from "./ticker.ts";

const TRANSFER_TIMEOUT_MS = 2 * ELECTION_MS;
const REMOVED = "this manager was removed from the cluster's managers";

export class ReplicatedLog implements Proposer {
  readonly #options: ReplicatedLogOptions;
  readonly #loop: ReplicatedLogLoop;
  readonly #gathering: Gathering;
  readonly #proposals: Proposals;
  readonly #reads: Reads;
  readonly #changes: MembershipChanges;
  readonly #waits: Waits = new Waits();
  readonly #handOver: HandOver;
  readonly #listeners = new Set<() => void>();
  /** The term in which this node leads, from the election on; undefined: it does not. */
  #leadTerm: Term | undefined;
  #diskFull: string | undefined;
  #ending: SwarmError | undefined;
  /** What listeners were last told of. */
  #told = "";

  private constructor(options: ReplicatedLogOptions, newest: LogSnapshotMeta | undefined) {
    const { clock, random } = options;
    this.#options = options;
    this.#handOver = new HandOver(clock);
    this.#loop = new ReplicatedLogLoop(options, {
      newest,
      hooks: {
        beforeTurn: () => {
          this.#proposals.flush();
          this.#reads.flush();
        },
        afterTurn: (status) => this.#afterTurn(status),
        onRead: (state) => this.#reads.answered(state),
        onChanges: (entry) => {
          if (!this.#proposals.committed(entry)) options.target.apply(decode(entry), entry.index);
        },
        onApplied: (entry) => this.#changes.applied(entry),
        onSnapshot: ({ index, bytes }) => {
          this.#proposals.giveUp("this manager fell behind the others");
          this.#changes.leadershipLost();
          options.target.restore(bytes, index);
        },
        onTick: (lateMs) => this.#tick(lateMs),
        onDurable: (tookMs) => this.#handOver.appended(tookMs),
        onFull: (reason) => this.#onFull(reason),
        onEnd: (error) => this.#onEnd(error),
      },
    });
    const wake = (): void => this.#loop.wake();
    const refusal = (): string | undefined => this.#refusal();
    this.#gathering = new Gathering({ clock, busySinceMs: () => this.#loop.appendSinceMs, wake });
    const shouldWait = (): boolean => this.#gathering.shouldWait();
    this.#proposals = new Proposals({ clock, refusal, submit: (batch) => this.#submit(batch), shouldWait, wake });
    const ask = (context: Uint8Array): StepError | null => this.#loop.node.readIndex(context);
    this.#reads = new Reads({ clock, random, ask, why: () => this.#unavailable(), wake });
    this.#changes = new MembershipChanges({
      random,
      waits: this.#waits,
      nowMs: () => clock.monotonicMs(),
      membership: () => this.#loop.membership,
      views: () => this.members(),
      assertLeader: () => this.#assertLeader(),
      propose: (change) => this.#proposeChange(change),
    });
  }

  /** Restores the newest snapshot into the target and applies what is known to be committed after it. Throws as the storage does. */
  static async open(options: ReplicatedLogOptions, signal: AbortSignal): Promise<ReplicatedLog> {
    const { storage, target, logger } = options;
    const snapshot = await storage.loadSnapshot();
    signal.throwIfAborted();
    if (snapshot !== undefined) target.restore(snapshot.bytes, snapshot.meta.index);
    const log = new ReplicatedLog(options, snapshot?.meta);
    log.#loop.replay();
    logger.info("the log is open", { snapshot: snapshot?.meta.index ?? 0, last: storage.lastIndex() });
    return log;
  }

  /** Takes part in the group until the signal aborts or the log is closed. Rejects when this node must not go on. */
  run(signal: AbortSignal): Promise<void> {
    return this.#loop.run(signal);
  }

  /** What is on its way becomes ambiguous; what is being written is finished; the storage is closed. Idempotent. */
  close(): Promise<void> {
    return this.#loop.close();
  }

  /** Of a node that is no member yet, or no more, the address is empty. */
  get self(): Member {
    const { raftId, nodeId } = this.#options.storage.meta;
    return this.#loop.peers.find(raftId) ?? { raftId, nodeId, addr: "" };
  }

  /** This node was taken out of the group: it will never be told anything again under this raft id. */
  get isRemoved(): boolean {
    return this.#loop.isRemoved;
  }

  get appliedIndex(): Index {
    return this.#loop.applied.index;
  }

  status(): LeadershipState {
    const status = this.#loop.node.status();
    const isLeader = this.#leads(status);
    const leader = status.role === "leader" && !isLeader ? undefined : this.#loop.peers.find(status.leader);
    const role = isLeader ? "leader" : status.role === "follower" ? "follower" : "candidate";
    return { role, term: status.hard.term, leader };
  }

  members(): readonly MemberView[] {
    return viewMembers(this.#groupState(this.#loop.node.status()));
  }

  /** Calls the listener after leadership, the membership or this node's removal changed. It must be quick and must not throw. */
  subscribe(listener: () => void): () => void {
    // A wrapper of its own, so that the same function may subscribe twice.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  propose(changes: StoreChanges, onCommit: (index: number) => void): Promise<ProposalResult> {
    return this.#proposals.propose(changes, onCommit);
  }

  /**
   * Settles when what was committed anywhere before the call is applied here. Throws Unavailable when no majority of the
   * managers says so within 5 s, or the signal's reason.
   */
  readBarrier(signal: AbortSignal): Promise<void> {
    if (this.isRemoved) return Promise.reject(new SwarmError("Unavailable", REMOVED));
    return this.#reads.barrier(signal);
  }

  /** Leader only. AlreadyExists for a node that is a member; Unavailable when its fate is not known. */
  addLearner(member: Omit<Member, "raftId">, signal: AbortSignal): Promise<Member> {
    return this.#changes.addLearner(member, signal);
  }

  /** Leader only. Makes a learner a voter; FailedPrecondition while it has not caught up or cannot be reached. Idempotent. */
  promote(raftId: RaftId, signal: AbortSignal): Promise<void> {
    return this.#changes.promote(raftId, signal);
  }

  /** Leader only. FailedPrecondition when the others would have no majority of reachable ones; NotFound for no member. */
  removeMember(raftId: RaftId, signal: AbortSignal): Promise<void> {
    return this.#changes.removeMember(raftId, signal);
  }

  /** Leader only. Says where a member is now. */
  updateAddress(member: Member, signal: AbortSignal): Promise<void> {
    return this.#changes.updateAddress(member, signal);
  }

  /**
   * Leader only. Settles when another one leads; undefined: the reachable voter that holds the most. Throws Unavailable when it
   * did not take over, FailedPrecondition when there is none.
   */
  async transferLeadership(to: RaftId | undefined, signal: AbortSignal): Promise<void> {
    this.#assertLeader();
    const { node } = this.#loop;
    const self = this.#options.storage.meta.raftId;
    const successor = to ?? successorOf(this.#groupState(node.status()));
    if (successor === undefined) {
      throw new SwarmError(
        "FailedPrecondition",
        "no other manager that could lead can be reached; start or heal one first",
      );
    }
    if (successor === self) return;
    const target = this.members().find((view) => view.raftId === successor);
    if (target === undefined || target.isLearner)
      throw new SwarmError("NotFound", `no voting manager has the raft id ${successor}`);
    const { term } = node.status().hard;
    this.#loop.guard(() => node.transferLeader(successor));
    const late = (): Error =>
      new SwarmError("Unavailable", `manager ${target.addr} did not take over; this one goes on leading`);
    await this.#waits.until(
      () => {
        const { hard, leader } = node.status();
        return hard.term > term && leader !== 0 && leader !== self ? true : undefined;
      },
      { deadlineMs: this.#options.clock.monotonicMs() + TRANSFER_TIMEOUT_MS, late, signal },
    );
  }

  #afterTurn(status: Status): void {
    const { index } = this.#loop.applied;
    this.#followLeadership(status);
    this.#proposals.advance({ applied: index, term: status.hard.term });
    this.#reads.advance(index);
    this.#waits.poll(this.#options.clock.monotonicMs());
    this.#tell(status);
  }

  #followLeadership(status: Status): void {
    const leadTerm = status.role === "leader" ? status.hard.term : undefined;
    if (leadTerm === this.#leadTerm) return;
    const wasLeader = this.#leadTerm !== undefined;
    this.#leadTerm = leadTerm;
    if (!wasLeader) return;
    this.#proposals.giveUp("this manager stopped leading before a majority had stored it");
    this.#changes.leadershipLost();
    this.#loop.cancelSending();
  }

  #tell(status: Status): void {
    const { hard, role, leader } = status;
    const told = `${hard.term} ${role} ${leader} ${this.#leads(status)} ${this.#loop.peers.version} ${this.isRemoved}`;
    if (told === this.#told) return;
    this.#told = told;
    for (const listener of [...this.#listeners]) listener();
  }

  #tick(lateMs: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#proposals.expire(nowMs);
    this.#reads.tick(nowMs);
    this.#judgeHealth(this.#options.loopDelayMs?.() ?? lateMs);
  }

  /** A leader that is too slow for the others lets another one lead. */
  #judgeHealth(loopDelayMs: number): void {
    const { appendSinceMs, node } = this.#loop;
    const reason = this.#handOver.check({ loopDelayMs, appendSinceMs, full: this.#diskFull });
    if (reason === undefined) return;
    const status = node.status();
    const successor = this.#leads(status) ? successorOf(this.#groupState(status)) : undefined;
    if (successor === undefined || !this.#handOver.mayTry()) return;
    this.#options.logger.warn("this manager should not lead", { reason });
    node.transferLeader(successor);
  }

  #submit(batch: readonly Uint8Array[]): Submitted {
    const { node } = this.#loop;
    const before = node.status();
    if (node.propose(batch) !== null) {
      const reason =
        before.transferTo === 0 ? this.#unavailable() : "leadership is being handed over; try again in a moment";
      return { kind: "dropped", reason };
    }
    const after = node.status();
    assert(after.lastIndex === before.lastIndex + batch.length, "a batch enters the log as a whole");
    return { kind: "taken", firstIndex: before.lastIndex + 1, term: after.hard.term };
  }

  #proposeChange({ type, raftId, context }: ChangeRequest): { readonly index: Index; readonly term: Term } | StepError {
    const { node } = this.#loop;
    const changes = [{ type, nodeId: raftId }];
    const error = node.proposeConfChange({ transition: "auto", changes, context }, "single");
    this.#loop.wake();
    const { lastIndex, hard } = node.status();
    return error ?? { index: lastIndex, term: hard.term };
  }

  #onFull(reason: string | undefined): void {
    this.#diskFull = reason;
    if (reason === undefined) this.#options.logger.info("the disk takes writes again");
    else this.#options.logger.error("the disk takes nothing", { reason });
  }

  #onEnd(error: SwarmError): void {
    this.#ending = error;
    this.#gathering.stop();
    this.#proposals.giveUp(error.message);
    this.#changes.leadershipLost();
    this.#reads.fail(error);
    this.#waits.fail(error);
  }

  #leads(status: Status): boolean {
    return status.role === "leader" && this.#loop.applied.term === status.hard.term && !this.isRemoved;
  }

  #groupState(status: Status): GroupState {
    const { raftId } = this.#options.storage.meta;
    const { peers, membership } = this.#loop;
    const byAnswers = status.role === "leader";
    return { self: raftId, status, membership, isReachable: (id) => peers.isReachable(id, { byAnswers }) };
  }

  /** Why no proposal can be taken; undefined: it can. */
  #refusal(): string | undefined {
    if (this.#ending !== undefined) return this.#ending.message;
    if (!this.#loop.isRunning) return "the manager is not running yet";
    if (this.isRemoved) return REMOVED;
    if (this.#diskFull !== undefined) return `the manager's disk takes nothing: ${this.#diskFull}`;
    return this.#leads(this.#loop.node.status()) ? undefined : this.#unavailable();
  }

  /** Why nothing can be decided here. */
  #unavailable(): string {
    const { role, leader } = this.status();
    if (this.isRemoved) return REMOVED;
    if (role !== "leader" && leader !== undefined)
      return `this manager does not lead the cluster, ${leader.addr} does; ask that one`;
    return noQuorumSentence(this.members());
  }

  #assertLeader(): void {
    if (this.#loop.isRunning && this.#leads(this.#loop.node.status())) return;
    const { leader } = this.status();
    throw new SwarmError("NotLeader", this.#refusal() ?? this.#unavailable(), {
      details: leader === undefined ? {} : { leader: leader.addr },
    });
  }
}

function decode(entry: Entry): StoreChanges {
  try {
    return StoreChanges.decode(entry.data);
  } catch (error) {
    throw unreadable(entry, errorText(error));
  }
}
