// The loop around one raft-ts core: everything that happens (messages, time, durable writes) is given to the core at once; what
// the core wants done is taken out in turns, one turn for all that came up together. It knows of proposals, reads and
// membership changes only the hooks.

import {
  APPEND_THREAD,
  APPLY_THREAD,
  ENTRY_NORMAL,
  type Entry,
  type Index,
  type Message,
  RawNode,
  type ReadState,
  type Ready,
  type Status,
  type StepError,
  type Term,
  type TraceEvent,
} from "raft-ts";
import { aborted } from "../../proto/base/abort.ts";
import { assert } from "../../proto/base/assert.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import { AppendLoop } from "./append-loop.ts";
import { ApplyLoop } from "./apply-loop.ts";
import { type Membership, nextMembership } from "./membership.ts";
import { readConfEntry } from "./membership-change.ts";
import type { ReplicatedLogOptions } from "./replicated-log-options.ts";
import { Peers } from "./replicated-log-peers.ts";
import { Snapshots } from "./replicated-log-snapshots.ts";
import type { LogSnapshotMeta } from "./replicated-log-storage.ts";
import { traceLogger } from "./replicated-log-trace.ts";
import { ELECTION_TICKS, HEARTBEAT_TICKS, Ticker } from "./ticker.ts";
import type { Transport } from "./transport.ts";

/** Largest run of entries in one message; one entry is always sent. */
const MESSAGE_BYTES_MAX = 512 * 1024;
const APPLYING_BYTES_MAX = 4 * 1_048_576;
const INFLIGHT_BYTES_MAX = 32 * 1_048_576;

/** What stands around the loop. All are called within a turn or a step; what they throw ends the loop. */
export interface LoopHooks {
  /** A turn begins: what gathered for the core is given to it. */
  readonly beforeTurn: () => void;
  readonly afterTurn: (status: Status) => void;
  readonly onRead: (state: ReadState) => void;
  /** A committed entry with changes, in the order of the log. */
  readonly onChanges: (entry: Entry) => void;
  /** Any entry, after what it means was done. */
  readonly onApplied: (entry: Entry) => void;
  /** A received snapshot takes the place of the state. */
  readonly onSnapshot: (snapshot: { readonly index: Index; readonly bytes: Uint8Array }) => void;
  readonly onTick: (lateMs: number) => void;
  readonly onDurable: (tookMs: number) => void;
  /** The disk is full, and why; undefined: it is no more. */
  readonly onFull: (reason: string | undefined) => void;
  /** The loop goes on no longer. */
  readonly onEnd: (error: SwarmError) => void;
}

export class ReplicatedLogLoop {
  readonly node: RawNode;
  readonly peers: Peers;
  readonly #options: ReplicatedLogOptions;
  readonly #hooks: LoopHooks;
  readonly #transport: Transport;
  readonly #append: AppendLoop;
  readonly #apply: ApplyLoop;
  readonly #snapshots: Snapshots;
  readonly #ticker: Ticker;
  readonly #ended = new AbortController();
  #phase: "opening" | "opened" | "running" | "ended" = "opening";
  #failure: { readonly error: unknown } | undefined;
  #closing: Promise<void> | undefined;
  #isTurnDue = false;
  #membership: Membership;
  #applied: { readonly index: Index; readonly term: Term };
  #wasToldRemoved = false;
  #hasAcceptedSnapshot = false;

  constructor(
    options: ReplicatedLogOptions,
    parts: { readonly newest: LogSnapshotMeta | undefined; readonly hooks: LoopHooks },
  ) {
    const { storage, clock, random, logger } = options;
    const { newest, hooks } = parts;
    const { raftId } = storage.meta;
    this.#options = options;
    this.#hooks = hooks;
    this.#membership = newest?.membership ?? storage.membership;
    this.#applied = { index: newest?.index ?? 0, term: newest?.term ?? 0 };
    const logTrace = traceLogger(logger);
    this.node = new RawNode({
      id: raftId,
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
    this.#append = new AppendLoop({
      storage,
      clock,
      random,
      deliver: (responses) => this.guard(() => this.#deliver(responses)),
      install: (work) => this.#snapshots.install(work),
      onFull: (reason) => this.guard(() => hooks.onFull(reason)),
      onDurable: hooks.onDurable,
      onFailure: (error) => this.#fail(error),
    });
    this.#apply = new ApplyLoop({
      clock,
      apply: (entry) => this.#applyEntry(entry),
      deliver: (responses) => this.#deliver(responses),
      resume: (work) => this.guard(work),
    });
    this.#snapshots = new Snapshots({
      clock,
      storage,
      logger,
      every: options.snapshotEvery,
      newest,
      transport: () => this.#transport,
      applied: () => ({ meta: { ...this.#applied, membership: this.#membership }, pieces: options.snapshot }),
      report: (peer, ok) => this.guard(() => this.node.reportSnapshot(peer, ok)),
      step: (message) => this.#stepSnapshot(message),
      restored: (meta, bytes) => this.#restored(meta, bytes),
      onFailure: (error) => this.#fail(error),
      signal: this.#ended.signal,
    });
    this.#ticker = new Ticker({ clock, onTick: (lateMs) => this.guard(() => this.#tick(lateMs)) });
    this.#transport = options.transport({
      receive: (messages) => this.guard(() => this.#receive(messages)),
      receiveSnapshot: async (snapshot, signal) => {
        if (!this.isRunning) throw new SwarmError("Unavailable", "the manager is not running");
        await this.#snapshots.receive(snapshot, signal);
      },
      unreachable: (id) => this.guard(() => this.node.reportUnreachable(id)),
      removed: () => this.guard(() => this.#onRemoved()),
      isRemoved: (id) => this.peers.isRemoved(id),
      introduced: (member) => this.guard(() => this.peers.introduced(member)),
    });
    this.peers = new Peers({ self: raftId, clock, transport: this.#transport, seeds: options.seeds ?? [] });
    this.peers.setMembership(this.#membership);
  }

  get isRunning(): boolean {
    return this.#phase === "running";
  }

  get membership(): Membership {
    return this.#membership;
  }

  /** The newest applied entry. */
  get applied(): { readonly index: Index; readonly term: Term } {
    return this.#applied;
  }

  get isRemoved(): boolean {
    return this.#wasToldRemoved || this.peers.isRemoved(this.#options.storage.meta.raftId);
  }

  /** Since when a write is under way. */
  get appendSinceMs(): number | undefined {
    return this.#append.busySinceMs;
  }

  /** Applies what is known to be committed before the loop runs. */
  replay(): void {
    while (this.node.hasReady()) {
      for (const message of this.node.ready().messages) {
        assert(message.to === APPLY_THREAD, "a log that is opened has nothing to store or to say");
        this.#apply.push(message);
        this.#apply.finish();
      }
    }
    this.#phase = "opened";
  }

  /** Settles when the signal aborts or the loop is closed; rejects with what ended it otherwise. */
  async run(signal: AbortSignal): Promise<void> {
    assert(this.#phase === "opened", "the log runs once");
    this.#phase = "running";
    this.#ticker.start();
    const { voters } = this.#membership.conf;
    // Nobody else could: waiting for a timeout would gain nothing.
    if (voters.length === 1 && voters[0] === this.#options.storage.meta.raftId)
      this.guard(() => void this.node.campaign());
    await Promise.race([aborted(signal), aborted(this.#ended.signal)]);
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#end(new SwarmError("Unavailable", "the manager is stopping"));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Whatever happens goes through here: then the core is asked what to do. An exception ends the loop. */
  guard(action: () => void): void {
    if (!this.isRunning) return;
    try {
      action();
    } catch (error) {
      this.#fail(error);
    }
    this.wake();
  }

  /** A turn is wanted: it takes along what else happens in this turn of the event loop. */
  wake(): void {
    if (this.#isTurnDue || !this.isRunning) return;
    this.#isTurnDue = true;
    void Promise.resolve().then(() => this.#turn());
  }

  /** Snapshots on their way to peers need not arrive: this node leads no longer. */
  cancelSending(): void {
    this.#snapshots.cancelSending();
  }

  #turn(): void {
    this.#isTurnDue = false;
    if (!this.isRunning) return;
    try {
      this.#hooks.beforeTurn();
      while (this.node.hasReady()) this.#work(this.node.ready());
      this.#snapshots.maybeCut(this.#applied.index);
      this.#hooks.afterTurn(this.node.status());
    } catch (error) {
      this.#fail(error);
    }
  }

  #work(ready: Ready): void {
    for (const read of ready.readStates) this.#hooks.onRead(read);
    this.#send(ready.messages.filter((message) => message.to !== APPEND_THREAD && message.to !== APPLY_THREAD));
    for (const message of ready.messages) {
      if (message.to === APPEND_THREAD) this.#append.push(message);
      else if (message.to === APPLY_THREAD) this.#apply.push(message);
    }
  }

  #tick(lateMs: number): void {
    if (!this.#wasToldRemoved) this.node.tick();
    this.#append.flush();
    this.#hooks.onTick(lateMs);
  }

  #receive(messages: readonly Message[]): void {
    for (const message of messages) {
      if (!TAKEN.has(message.type) || this.peers.isRemoved(message.from)) continue;
      this.peers.heard(message.from);
      this.#check(this.node.step(message), message);
    }
  }

  #check(error: StepError | null, message: Message): void {
    if (error?.kind === "diverged") {
      throw new SwarmError(
        "FailedPrecondition",
        `this manager's log contradicts that of the others: ${error.detail}; remove this manager from the cluster (\`tsswarm swarm leave --force\`) and join it again`,
      );
    }
    if (error?.kind === "malformed")
      this.#options.logger.warn("a message was dropped", { from: message.from, why: error.detail });
  }

  #stepSnapshot(message: Message): boolean {
    if (!this.isRunning) throw new SwarmError("Unavailable", "the manager is stopping");
    this.#hasAcceptedSnapshot = false;
    this.guard(() => {
      this.peers.heard(message.from);
      this.#check(this.node.step(message), message);
    });
    return this.#hasAcceptedSnapshot;
  }

  /** Durable work lets go what waited for it: the core's own answers, and those to peers. */
  #deliver(responses: readonly Message[]): void {
    const { raftId } = this.#options.storage.meta;
    for (const message of responses) if (message.to === raftId) this.#check(this.node.step(message), message);
    this.#send(responses.filter((message) => message.to !== raftId));
  }

  #send(messages: readonly Message[]): void {
    const plain = messages.filter((message) => message.type !== "snap");
    if (plain.length > 0) this.#transport.send(plain);
    for (const message of messages) if (message.type === "snap") this.#snapshots.send(message);
  }

  #applyEntry(entry: Entry): void {
    // A received snapshot has overtaken it.
    if (entry.index <= this.#applied.index) return;
    assert(entry.index === this.#applied.index + 1, "the log is applied in order, without a gap");
    this.#applied = { index: entry.index, term: entry.term };
    if (entry.type !== ENTRY_NORMAL) this.#applyMembership(entry);
    else if (entry.data.length > 0) this.#hooks.onChanges(entry);
    this.#hooks.onApplied(entry);
  }

  #applyMembership(entry: Entry): void {
    const { change, member } = readConfEntry(entry);
    const conf = this.node.applyConfChange(change, entry.index);
    if (conf !== null) this.#setMembership(nextMembership(this.#membership, { conf, member }));
  }

  #setMembership(membership: Membership): void {
    this.#membership = membership;
    this.peers.setMembership(membership);
  }

  #restored(meta: LogSnapshotMeta, bytes: Uint8Array): void {
    if (!this.isRunning) return;
    this.#applied = { index: meta.index, term: meta.term };
    this.#setMembership(meta.membership);
    this.#hooks.onSnapshot({ index: meta.index, bytes });
  }

  #observe(event: TraceEvent): void {
    if (event.kind === "snapshotNotSent" && event.reason !== "inactive") this.#snapshots.want();
    else if (event.kind === "snapshotAccepted") this.#hasAcceptedSnapshot = true;
  }

  #onRemoved(): void {
    if (this.isRemoved) return;
    this.#options.logger.warn("this manager was removed from the cluster's managers");
    this.#wasToldRemoved = true;
  }

  #fail(error: unknown): void {
    if (this.#phase === "ended") return;
    this.#options.logger.error("the log has failed", { error: errorText(error) });
    this.#failure = { error };
    this.#append.abandon();
    this.#end(new SwarmError("Unavailable", `the manager's log has failed: ${errorText(error)}`, { cause: error }));
  }

  #end(error: SwarmError): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#ticker.stop();
    this.#apply.stop();
    this.#snapshots.fail(error);
    this.#hooks.onEnd(error);
    this.#ended.abort(error);
  }

  async #close(): Promise<void> {
    this.#end(new SwarmError("Unavailable", "the manager is stopping"));
    await this.#append.close();
    await this.#snapshots.idle();
    await this.#options.storage.close();
  }
}

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
