// The replicated log of a group of managers, behind the store's Proposer: it drives one raft-ts core. Everything that happens
// (messages, time, proposals, durable writes) is given to the core at once; what the core wants done is taken out in turns, one
// turn for all that came up together. The parts beside it keep their own state; here they are joined.

import {
  APPEND_THREAD,
  APPLY_THREAD,
  ENTRY_NORMAL,
  type Entry,
  type Index,
  type Message,
  type RaftId,
  RawNode,
  type Ready,
  type Status,
  type StepError,
  type Term,
  type TraceEvent,
} from "raft-ts";
import { AssertionError, assert } from "../../proto/base/assert.ts";
import { aborted } from "../../proto/base/abort.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import { StoreChanges } from "../../proto/gen/control.ts";
import type { ProposalResult, Proposer } from "../store/proposer.ts";
import { AppendLoop } from "./append-loop.ts";
import { ApplyLoop } from "./apply-loop.ts";
import { HandOver } from "./hand-over.ts";
import { type Member, type Membership, nextMembership } from "./membership.ts";
import { MembershipChanges, readConfEntry, unreadable } from "./membership-change.ts";
import { type MemberView, noQuorumSentence, successorOf, viewMembers } from "./membership-view.ts";
import { Peers } from "./replicated-log-peers.ts";
import { Proposals, type Submitted } from "./proposals.ts";
import { Reads } from "./reads.ts";
import type { LeadershipState, ReplicatedLogOptions } from "./replicated-log-options.ts";
import type { LogSnapshotMeta } from "./replicated-log-storage.ts";
import { traceLogger } from "./replicated-log-trace.ts";
import { Snapshots } from "./replicated-log-snapshots.ts";
import { Waits } from "./replicated-log-waits.ts";
import { ELECTION_MS, ELECTION_TICKS, HEARTBEAT_TICKS, Ticker } from "./ticker.ts";
import type { Transport } from "./transport.ts";

export type { LeadershipState, ReplicatedLogOptions } from "./replicated-log-options.ts";

/** Largest run of entries in one message; one entry is always sent. */
const MESSAGE_BYTES_MAX = 512 * 1024;
const APPLYING_BYTES_MAX = 4 * 1_048_576;
const INFLIGHT_BYTES_MAX = 32 * 1_048_576;
const TRANSFER_TIMEOUT_MS = 2 * ELECTION_MS;

type Phase = "opening" | "opened" | "running" | "closed" | "failed";

export class ReplicatedLog implements Proposer {
  readonly #options: ReplicatedLogOptions;
  readonly #node: RawNode;
  readonly #transport: Transport;
  readonly #peers: Peers;
  readonly #append: AppendLoop;
  readonly #apply: ApplyLoop;
  readonly #proposals: Proposals;
  readonly #reads: Reads;
  readonly #changes: MembershipChanges;
  readonly #snapshots: Snapshots;
  readonly #waits: Waits = new Waits();
  readonly #ticker: Ticker;
  readonly #handOver: HandOver;
  readonly #listeners = new Set<() => void>();
  readonly #ended = new AbortController();
  #phase: Phase = "opening";
  #failure: { readonly error: unknown } | undefined;
  #closing: Promise<void> | undefined;
  #isTurnDue = false;
  #membership: Membership;
  #applied: { readonly index: Index; readonly term: Term };
  /** The term in which this node leads, from the election on; undefined: it does not. */
  #leadTerm: Term | undefined;
  #diskFull: string | undefined;
  #wasToldRemoved = false;
  #acceptedSnapshot = false;
  /** What was last told to listeners. */
  #told = "";
  #lastLoopDelayMs = 0;

  private constructor(options: ReplicatedLogOptions, newest: LogSnapshotMeta | undefined) {
    const { storage, clock, random, logger } = options;
    this.#options = options;
    this.#membership = newest?.membership ?? storage.membership;
    this.#applied = { index: newest?.index ?? 0, term: newest?.term ?? 0 };
    const logTrace = traceLogger(logger);
    this.#node = new RawNode({
      id: storage.meta.raftId,
      storage,
      random: (below) => random.int(0, below),
      trace: (event) => {
        options.trace?.(event);
        logTrace(event);
        this.#observe(event);
      },
      electionTicks: ELECTION_TICKS,
      heartbeatTicks: HEARTBEAT_TICKS,
      applied: this.#applied.index,
      asyncStorageWrites: true,
      disableProposalForwarding: true,
      maxMessageBytes: MESSAGE_BYTES_MAX,
      maxApplyingBytes: APPLYING_BYTES_MAX,
      maxInflightBytes: INFLIGHT_BYTES_MAX,
    });
    const wake = (): void => this.#wake();
    const deliver = (responses: readonly Message[]): void => this.#deliver(responses);
    const fail = (error: unknown): void => this.#fail(error);
    this.#append = new AppendLoop({
      storage,
      clock,
      random,
      deliver: (responses) => this.#guard(() => deliver(responses)),
      install: (work) => this.#snapshots.install(work),
      onFull: (reason) => this.#guard(() => this.#onFull(reason)),
      onDurable: (tookMs) => this.#handOver.appended(tookMs),
      onFailure: fail,
    });
    this.#apply = new ApplyLoop({
      clock,
      apply: (entry) => this.#applyEntry(entry),
      deliver,
      resume: (work) => this.#guard(work),
    });
    this.#handOver = new HandOver(clock);
    this.#proposals = new Proposals({
      clock,
      refusal: () => this.#refusal(),
      submit: (batch) => this.#submit(batch),
      wake,
    });
    this.#reads = new Reads({
      clock,
      random,
      ask: (context) => this.#node.readIndex(context),
      why: () => this.#unavailable(),
      wake,
    });
    this.#changes = new MembershipChanges({
      random,
      waits: this.#waits,
      nowMs: () => clock.monotonicMs(),
      membership: () => this.#membership,
      views: () => this.members(),
      assertLeader: () => this.#assertLeader(),
      propose: (change) => this.#proposeChange(change),
    });
    this.#snapshots = new Snapshots({
      storage,
      logger,
      every: options.snapshotEvery,
      newest,
      transport: () => this.#transport,
      applied: () => ({
        meta: { index: this.#applied.index, term: this.#applied.term, membership: this.#membership },
        pieces: options.snapshot,
      }),
      report: (peer, ok) => this.#guard(() => this.#node.reportSnapshot(peer, ok)),
      step: (message) => this.#stepSnapshot(message),
      restored: (meta, bytes) => this.#restored(meta, bytes),
      onFailure: fail,
      signal: this.#ended.signal,
    });
    this.#ticker = new Ticker({ clock, onTick: (lateMs) => this.#guard(() => this.#tick(lateMs)) });
    this.#transport = options.transport({
      receive: (messages) => this.#guard(() => this.#receive(messages)),
      receiveSnapshot: async (snapshot, signal) => {
        if (this.#phase !== "running") throw new SwarmError("Unavailable", "the manager is not running");
        await this.#snapshots.receive(snapshot, signal);
      },
      unreachable: (id) => this.#guard(() => this.#node.reportUnreachable(id)),
      removed: () => this.#guard(() => this.#onRemoved()),
      isRemoved: (id) => this.#peers.isRemoved(id),
      introduced: (member) => this.#guard(() => this.#peers.introduced(member)),
    });
    this.#peers = new Peers({
      self: storage.meta.raftId,
      clock,
      transport: this.#transport,
      seeds: options.seeds ?? [],
    });
    this.#peers.setMembership(this.#membership);
  }

  /** Restores the newest snapshot into the target and applies what is known to be committed after it. Throws as the storage does. */
  static async open(options: ReplicatedLogOptions, signal: AbortSignal): Promise<ReplicatedLog> {
    const { storage, target, logger } = options;
    const snapshot = await storage.loadSnapshot();
    signal.throwIfAborted();
    if (snapshot !== undefined) target.restore(snapshot.bytes, snapshot.meta.index);
    const log = new ReplicatedLog(options, snapshot?.meta);
    log.#replay();
    logger.info("the log is open", { snapshot: snapshot?.meta.index ?? 0, last: storage.lastIndex() });
    return log;
  }

  /** Takes part in the group until the signal aborts or the log is closed. Rejects when this node must not go on. */
  async run(signal: AbortSignal): Promise<void> {
    assert(this.#phase === "opened", "the log runs once");
    this.#phase = "running";
    this.#ticker.start();
    const { conf } = this.#membership;
    // Nobody else could: waiting for a timeout would gain nothing.
    if (conf.voters.length === 1 && conf.voters[0] === this.self.raftId) this.#guard(() => void this.#node.campaign());
    await Promise.race([aborted(signal), aborted(this.#ended.signal)]);
    this.#ticker.stop();
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#end("the manager is stopping");
  }

  /** Of a node that is no member yet, or no more, the address is empty. */
  get self(): Member {
    const { raftId, nodeId } = this.#options.storage.meta;
    return this.#membership.members.find((member) => member.raftId === raftId) ?? { raftId, nodeId, addr: "" };
  }

  /** This node was taken out of the group: it will never be told anything again under this raft id. */
  get isRemoved(): boolean {
    return this.#wasToldRemoved || this.#peers.isRemoved(this.#options.storage.meta.raftId);
  }

  get appliedIndex(): Index {
    return this.#applied.index;
  }

  status(): LeadershipState {
    const status = this.#node.status();
    const isLeader = this.#leads(status);
    const leaderId = status.role === "leader" && !isLeader ? 0 : status.leader;
    const leader = this.#peers.find(leaderId);
    const role = isLeader ? "leader" : status.role === "follower" ? "follower" : "candidate";
    return { role, term: status.hard.term, leader };
  }

  members(): readonly MemberView[] {
    const status = this.#node.status();
    return viewMembers(this.#groupState(status));
  }

  /** Calls the listener after leadership, the membership or this node's removal changed. It must be quick and must not throw. */
  subscribe(listener: () => void): () => void {
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

  /** Leader only. Makes a learner a voter; FailedPrecondition while it has not caught up. Idempotent. */
  promote(raftId: RaftId, signal: AbortSignal): Promise<void> {
    return this.#changes.promote(raftId, signal);
  }

  /** Leader only. FailedPrecondition when the others would have no majority of reachable ones. */
  removeMember(raftId: RaftId, signal: AbortSignal): Promise<void> {
    return this.#changes.removeMember(raftId, signal);
  }

  /** Leader only. Says where a member is now. */
  updateAddress(member: Member, signal: AbortSignal): Promise<void> {
    return this.#changes.updateAddress(member, signal);
  }

  /** Leader only. Settles when another one leads; undefined: the reachable voter that holds the most. Throws Unavailable when it did not take over. */
  async transferLeadership(to: RaftId | undefined, signal: AbortSignal): Promise<void> {
    this.#assertLeader();
    const successor = to ?? successorOf(this.#groupState(this.#node.status()));
    if (successor === undefined)
      throw new SwarmError(
        "FailedPrecondition",
        "no other manager can be reached that could lead; start or heal one first",
      );
    if (successor === this.self.raftId) return;
    const target = this.members().find((view) => view.raftId === successor);
    if (target === undefined || target.isLearner)
      throw new SwarmError("NotFound", `no voting manager has the raft id ${successor}`);
    const { term } = this.#node.status().hard;
    this.#guard(() => this.#node.transferLeader(successor));
    const late = (): Error =>
      new SwarmError("Unavailable", `manager ${target.addr} did not take over; this one goes on leading`);
    await this.#waits.until(
      () => {
        const now = this.#node.status();
        return now.hard.term > term && now.leader !== 0 && now.leader !== this.self.raftId ? true : undefined;
      },
      { deadlineMs: this.#options.clock.monotonicMs() + TRANSFER_TIMEOUT_MS, late, signal },
    );
  }

  /** What is on its way becomes ambiguous; what is being written is finished; the storage is closed. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#end("the manager is stopping");
    await this.#append.close();
    await this.#snapshots.idle();
    await this.#options.storage.close();
  }

  /** Everything that happens goes through here: then the core is asked what to do. An exception ends the log. */
  #guard(action: () => void): void {
    if (this.#phase !== "running") return;
    try {
      action();
    } catch (error) {
      this.#fail(error);
    }
    this.#wake();
  }

  #wake(): void {
    if (this.#isTurnDue || this.#phase !== "running") return;
    this.#isTurnDue = true;
    // What else happens in this turn of the event loop is taken along.
    void Promise.resolve().then(() => this.#turn());
  }

  #turn(): void {
    this.#isTurnDue = false;
    if (this.#phase !== "running") return;
    try {
      this.#proposals.flush();
      this.#reads.flush();
      while (this.#node.hasReady()) this.#work(this.#node.ready());
      this.#afterTurn();
    } catch (error) {
      this.#fail(error);
    }
  }

  #work(ready: Ready): void {
    for (const read of ready.readStates) this.#reads.answered(read);
    this.#send(ready.messages.filter((message) => message.to !== APPEND_THREAD && message.to !== APPLY_THREAD));
    for (const message of ready.messages) {
      if (message.to === APPEND_THREAD) this.#append.push(message);
      else if (message.to === APPLY_THREAD) this.#apply.push(message);
    }
  }

  #afterTurn(): void {
    const status = this.#node.status();
    this.#followLeadership(status);
    this.#proposals.advance({ applied: this.#applied.index, term: status.hard.term });
    this.#reads.advance(this.#applied.index);
    this.#snapshots.maybeCut(this.#applied.index);
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
    this.#snapshots.cancelSending();
  }

  #tell(status: Status): void {
    const told = `${status.hard.term} ${status.role} ${status.leader} ${this.#leads(status)} ${this.#peers.version} ${this.isRemoved}`;
    if (told === this.#told) return;
    this.#told = told;
    for (const listener of [...this.#listeners]) listener();
  }

  #tick(lateMs: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#lastLoopDelayMs = this.#options.loopDelayMs?.() ?? lateMs;
    if (!this.#wasToldRemoved) this.#node.tick();
    this.#append.flush();
    this.#proposals.expire(nowMs);
    this.#reads.tick(nowMs);
    this.#judgeHealth();
  }

  /** A leader that is too slow for the others lets another one lead. */
  #judgeHealth(): void {
    const reason = this.#handOver.check({
      loopDelayMs: this.#lastLoopDelayMs,
      appendSinceMs: this.#append.busySinceMs,
      full: this.#diskFull,
    });
    const status = this.#node.status();
    if (reason === undefined || !this.#leads(status)) return;
    const successor = successorOf(this.#groupState(status));
    if (successor === undefined || !this.#handOver.mayTry()) return;
    this.#options.logger.warn("handing leadership over", { reason, to: successor });
    this.#node.transferLeader(successor);
  }

  #receive(messages: readonly Message[]): void {
    for (const message of messages) {
      if (!TAKEN.has(message.type) || this.#peers.isRemoved(message.from)) continue;
      this.#peers.heard(message.from);
      this.#check(this.#node.step(message), message);
    }
  }

  #check(error: StepError | null, message: Message): void {
    if (error === null) return;
    if (error.kind === "diverged") {
      throw new SwarmError(
        "FailedPrecondition",
        `this manager's log contradicts that of the others: ${error.detail}; remove this manager from the cluster (\`tsswarm swarm leave --force\`) and join it again`,
      );
    }
    if (error.kind === "malformed")
      this.#options.logger.warn("a message was dropped", { from: message.from, why: error.detail });
  }

  #stepSnapshot(message: Message): boolean {
    if (this.#phase !== "running") throw new SwarmError("Unavailable", "the manager is stopping");
    this.#acceptedSnapshot = false;
    this.#guard(() => {
      this.#peers.heard(message.from);
      this.#check(this.#node.step(message), message);
    });
    return this.#acceptedSnapshot;
  }

  /** Durable work lets go what waited for it: answers to peers, and the core's own. */
  #deliver(responses: readonly Message[]): void {
    const { raftId } = this.#options.storage.meta;
    for (const message of responses) if (message.to === raftId) this.#check(this.#node.step(message), message);
    this.#send(responses.filter((message) => message.to !== raftId));
  }

  #send(messages: readonly Message[]): void {
    const plain = messages.filter((message) => message.type !== "snap");
    if (plain.length > 0) this.#transport.send(plain);
    for (const message of messages) if (message.type === "snap") this.#snapshots.send(message);
  }

  #submit(batch: readonly Uint8Array[]): Submitted {
    const before = this.#node.status();
    const error = this.#node.propose(batch);
    if (error !== null) {
      const reason =
        before.transferTo === 0 ? this.#unavailable() : "leadership is being handed over; try again in a moment";
      return { kind: "dropped", reason };
    }
    const after = this.#node.status();
    assert(after.lastIndex === before.lastIndex + batch.length, "a batch enters the log as a whole");
    return { kind: "taken", firstIndex: before.lastIndex + 1, term: after.hard.term };
  }

  #proposeChange(
    change: Parameters<ConstructorParameters<typeof MembershipChanges>[0]["propose"]>[0],
  ): { readonly index: Index; readonly term: Term } | StepError {
    const { type, raftId, context } = change;
    const changes = [{ type, nodeId: raftId }];
    const error = this.#node.proposeConfChange({ transition: "auto", changes, context }, "single");
    this.#wake();
    const { lastIndex, hard } = this.#node.status();
    return error ?? { index: lastIndex, term: hard.term };
  }

  #applyEntry(entry: Entry): void {
    // A received snapshot has overtaken it.
    if (entry.index <= this.#applied.index) return;
    assert(entry.index === this.#applied.index + 1, "the log is applied in order, without a gap");
    this.#applied = { index: entry.index, term: entry.term };
    if (entry.type !== ENTRY_NORMAL) this.#applyChange(entry);
    else if (entry.data.length > 0 && !this.#proposals.committed(entry))
      this.#options.target.apply(decode(entry), entry.index);
    this.#changes.applied(entry);
  }

  #applyChange(entry: Entry): void {
    const { change, member } = readConfEntry(entry);
    const conf = this.#node.applyConfChange(change, entry.index);
    if (conf !== null) this.#setMembership(nextMembership(this.#membership, { conf, member }));
  }

  #setMembership(membership: Membership): void {
    this.#membership = membership;
    this.#peers.setMembership(membership);
  }

  #restored(meta: LogSnapshotMeta, bytes: Uint8Array): void {
    if (this.#phase !== "running") return;
    this.#proposals.giveUp("this manager fell behind the others");
    this.#changes.leadershipLost();
    this.#applied = { index: meta.index, term: meta.term };
    this.#setMembership(meta.membership);
    this.#options.target.restore(bytes, meta.index);
  }

  /** What is committed before the log runs. */
  #replay(): void {
    while (this.#node.hasReady()) {
      for (const message of this.#node.ready().messages) {
        assert(message.to === APPLY_THREAD, "a log that is opened has nothing to store or to say");
        this.#apply.push(message);
        this.#apply.finish();
      }
    }
    this.#phase = "opened";
  }

  #observe(event: TraceEvent): void {
    if (event.kind === "snapshotNotSent" && event.reason !== "inactive") this.#snapshots.want();
    else if (event.kind === "snapshotAccepted") this.#acceptedSnapshot = true;
  }

  #onFull(reason: string | undefined): void {
    this.#diskFull = reason;
    if (reason === undefined) this.#options.logger.info("the disk takes writes again");
    else this.#options.logger.error("the disk takes nothing", { reason });
  }

  #onRemoved(): void {
    if (this.isRemoved) return;
    this.#options.logger.warn("this manager was removed from the cluster's managers");
    this.#wasToldRemoved = true;
  }

  #leads(status: Status): boolean {
    return status.role === "leader" && this.#applied.term === status.hard.term && !this.isRemoved;
  }

  #groupState(status: Status): Parameters<typeof viewMembers>[0] {
    const { raftId } = this.#options.storage.meta;
    const isReachable = (id: RaftId): boolean => this.#peers.isReachable(id, { byAnswers: status.role === "leader" });
    return { self: raftId, status, membership: this.#membership, isReachable };
  }

  #refusal(): string | undefined {
    if (this.#failure !== undefined) return errorText(this.#failure.error);
    if (this.#phase !== "running") return "the manager is not running";
    if (this.isRemoved) return REMOVED;
    if (this.#diskFull !== undefined) return `the manager's disk takes nothing: ${this.#diskFull}`;
    return this.#leads(this.#node.status()) ? undefined : this.#unavailable();
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
    if (this.#phase === "running" && this.#leads(this.#node.status())) return;
    const { leader } = this.status();
    throw new SwarmError("NotLeader", this.#refusal() ?? this.#unavailable(), {
      details: leader === undefined ? {} : { leader: leader.addr },
    });
  }

  #fail(error: unknown): void {
    if (this.#phase === "failed" || this.#phase === "closed") return;
    this.#options.logger.error("the log has failed", { error: errorText(error) });
    this.#failure = { error };
    this.#append.abandon();
    this.#end(error instanceof AssertionError ? "the manager failed" : errorText(error));
    this.#phase = "failed";
  }

  #end(reason: string): void {
    if (this.#phase === "closed" || this.#phase === "failed") return;
    this.#phase = "closed";
    this.#ticker.stop();
    this.#apply.stop();
    this.#proposals.giveUp(reason);
    this.#changes.leadershipLost();
    const error = new SwarmError("Unavailable", reason);
    this.#reads.fail(error);
    this.#waits.fail(error);
    this.#snapshots.fail(error);
    this.#ended.abort(error);
  }
}

const REMOVED = "this manager was removed from the cluster's managers";

/** What peers may say; the rest is the node's own, or comes by another way. */
const TAKEN: ReadonlySet<Message["type"]> = new Set<Message["type"]>([
  "app",
  "appResp",
  "vote",
  "voteResp",
  "preVote",
  "preVoteResp",
  "heartbeat",
  "heartbeatResp",
  "timeoutNow",
  "readIndex",
  "readIndexResp",
]);

function decode(entry: Entry): StoreChanges {
  try {
    return StoreChanges.decode(entry.data);
  } catch (error) {
    throw unreadable(entry, errorText(error));
  }
}
