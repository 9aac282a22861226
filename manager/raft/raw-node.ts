// One member of a Raft group as its driver sees it: messages and ticks in, a Ready out. Synchronous, without I/O and
// without a clock. Nothing a peer can send makes it throw; what it throws for is misuse by the driver.

import { invariant } from "./assert.ts";
import type { ConfChange } from "./conf-change.ts";
import { encodeConfChange } from "./conf-change-codec.ts";
import { checkMessage } from "./check-message.ts";
import type { ConfState } from "./conf-state.ts";
import { type RaftConfig, resolveConfig } from "./config.ts";
import { applyConfChange, restoreMembership } from "./core/membership.ts";
import { Raft } from "./core/state.ts";
import { becomeFollower } from "./core/roles.ts";
import { step } from "./core/step.ts";
import { storageAppend, storageAppendResp, storageApply, storageApplyResp } from "./core/storage-messages.ts";
import { tick } from "./core/tick.ts";
import { ENTRY_NORMAL, type Entry } from "./entry.ts";
import { type Index, NONE, type RaftId, isStorageThread } from "./ids.ts";
import { type HardState, sameHardState } from "./log-reader.ts";
import { type Message, isLocalMessage, isResponse, message } from "./message.ts";
import type { Ready, SoftState, StepError } from "./ready.ts";
import type { Status } from "./status.ts";
import { viewStatus } from "./core/view.ts";

export class RawNode {
  readonly #raft: Raft;
  readonly #async: boolean;
  #previousSoft: SoftState;
  #previousHard: HardState;
  /** Synchronous mode: this node's own answers, to be stepped once the accepted Ready is done. */
  #onAdvance: Message[] = [];
  #isAdvanceDue = false;

  /** Starts a member from its storage. Asserts a config or a storage that makes no sense. */
  constructor(config: RaftConfig) {
    const resolved = resolveConfig(config);
    const raft = new Raft(resolved);
    this.#raft = raft;
    this.#async = resolved.asyncStorageWrites;
    const { hard, conf } = resolved.storage.initialState();
    restoreMembership(raft, { conf, index: resolved.applied });
    invariant(
      hard.commit <= raft.log.lastIndex(),
      `stored commit ${hard.commit} is beyond the last entry ${raft.log.lastIndex()}: the log lost its end`,
    );
    // It may lie before the first entry, or before what is applied: a snapshot can be stored before the commit that
    // allowed it.
    raft.log.commitTo(Math.max(hard.commit, resolved.applied));
    raft.term = hard.term;
    raft.vote = hard.vote;
    if (resolved.applied > 0) raft.log.appliedTo(resolved.applied, 0);
    becomeFollower(raft, { term: raft.term, leader: NONE });
    raft.trace({
      kind: "started",
      voters: [...raft.tracker.config.voters.ids()].sort((a, b) => a - b),
      term: raft.term,
      commit: raft.log.committed,
      applied: raft.log.applied,
      last: raft.log.lastId(),
    });
    this.#previousSoft = raft.softState;
    this.#previousHard = raft.hardState;
  }

  /** One unit of time has passed. */
  tick(): void {
    tick(this.#raft);
  }

  /** Takes a message from a peer, or from this node's own storage threads. */
  step(m: Message): StepError | null {
    const fromThread = isStorageThread(m.from);
    if (isLocalMessage(m.type) && !fromThread) return { kind: "local" };
    if (!fromThread) {
      const detail = checkMessage(this.#raft.id, m);
      if (detail !== null) return { kind: "malformed", detail };
      if (isResponse(m.type) && !this.#raft.tracker.progress.has(m.from)) return { kind: "not-found" };
    }
    return step(this.#raft, m);
  }

  /** Starts an election without waiting for the timeout. */
  campaign(): StepError | null {
    return this.#stepLocal("hup");
  }

  /** Proposes a batch; all of it enters the log together or is dropped. Followers pass it on to the leader. */
  propose(data: readonly Uint8Array[]): StepError | null {
    invariant(data.length > 0, "a proposal holds at least one entry");
    const entries = data.map((bytes) => ({ term: 0, index: 0, type: ENTRY_NORMAL, data: bytes }) satisfies Entry);
    return step(this.#raft, message({ type: "prop", from: this.#raft.id, entries }));
  }

  /**
   * Proposes a change of the membership. A leader that refuses it appends an empty entry in its place and says why in
   * a trace event; whether it took place is seen when it is applied. The single form is for one change without
   * transition.
   */
  proposeConfChange(change: ConfChange, form: "single" | "batch" = "batch"): StepError | null {
    const entry: Entry = { term: 0, index: 0, ...encodeConfChange(change, form) };
    return step(this.#raft, message({ type: "prop", from: this.#raft.id, entries: [entry] }));
  }

  /**
   * Applies a committed change, as read by decodeConfChange from the entry of the index. Called once for each, in
   * order, before the entries that hold it are reported as applied. Returns the membership at that index, to be stored
   * with the next snapshot; null where a received snapshot has overtaken the entry, whose application is then to be
   * skipped.
   */
  applyConfChange(change: ConfChange, index: Index): ConfState | null {
    return applyConfChange(this.#raft, change, index);
  }

  /** Asks for an index from which reads are linearizable; the answer is a ReadState with the same context. */
  readIndex(context: Uint8Array): StepError | null {
    return step(this.#raft, message({ type: "readIndex", from: this.#raft.id, context }));
  }

  /** Asks the leader, wherever it is, to hand over to the member. */
  transferLeader(to: RaftId): void {
    step(this.#raft, message({ type: "transferLeader", from: to }));
  }

  /** Forgets the leader without leaving the term, so that this node grants pre-votes at once. */
  forgetLeader(): void {
    this.#stepLocal("forgetLeader");
  }

  /** The last messages to the peer were not delivered. */
  reportUnreachable(id: RaftId): void {
    step(this.#raft, message({ type: "unreachable", from: id }));
  }

  /**
   * A snapshot was stored by the peer, or it was lost on the way or with the peer's memory. Until a report or the
   * peer's own acknowledgement nothing but heartbeats is sent to it, so a failure must be reported.
   */
  reportSnapshot(id: RaftId, ok: boolean): void {
    step(this.#raft, message({ type: "snapStatus", from: id, reject: !ok }));
  }

  /** Fixes the present election timeout until the next one is drawn. In ticks. For tests and for priorities. */
  setElectionTimeout(ticks: number): void {
    this.#raft.electionTimeout = ticks;
  }

  hasReady(): boolean {
    const raft = this.#raft;
    if (this.#isAdvanceDue) return false;
    return (
      this.#softChange() !== null ||
      this.#hardChange() !== null ||
      raft.log.nextUnstableSnapshot() !== null ||
      raft.messages.length > 0 ||
      raft.messagesAfterAppend.length > 0 ||
      raft.log.hasNextUnstable() ||
      raft.log.hasNextCommitted(!this.#async) ||
      raft.readStates.length > 0
    );
  }

  /** What is to be done next; it counts as accepted. In synchronous mode advance() must follow before the next. */
  ready(): Ready {
    invariant(!this.#isAdvanceDue, "the last Ready awaits its advance()");
    const raft = this.#raft;
    const writes = {
      hardState: this.#hardChange(),
      entries: raft.log.nextUnstable(),
      snapshot: raft.log.nextUnstableSnapshot(),
    };
    const { hardState } = writes;
    const committedEntries = raft.log.nextCommitted(!this.#async);
    const ready: Ready = {
      ...writes,
      softState: this.#softChange(),
      readStates: raft.readStates,
      committedEntries,
      messages: this.#async ? this.#asyncMessages(writes, committedEntries) : this.#syncMessages(),
      mustSync:
        writes.entries.length > 0 ||
        (hardState !== null &&
          (hardState.term !== this.#previousHard.term || hardState.vote !== this.#previousHard.vote)),
    };
    this.#accept(ready);
    return ready;
  }

  /** Synchronous mode: the last Ready is stored, sent and applied. */
  advance(): void {
    invariant(!this.#async, "asynchronous storage answers by messages, not by advance()");
    invariant(this.#isAdvanceDue, "advance() follows ready()");
    this.#isAdvanceDue = false;
    const answers = this.#onAdvance;
    this.#onAdvance = [];
    for (const m of answers) step(this.#raft, m);
  }

  status(): Status {
    return viewStatus(this.#raft);
  }

  #stepLocal(type: "hup" | "forgetLeader"): StepError | null {
    return step(this.#raft, message({ type, from: this.#raft.id }));
  }

  #softChange(): SoftState | null {
    const soft = this.#raft.softState;
    const previous = this.#previousSoft;
    return soft.leader === previous.leader && soft.role === previous.role ? null : soft;
  }

  #hardChange(): HardState | null {
    const hard = this.#raft.hardState;
    return sameHardState(hard, this.#previousHard) ? null : hard;
  }

  #syncMessages(): readonly Message[] {
    const raft = this.#raft;
    return [...raft.messages, ...raft.messagesAfterAppend.filter((m) => m.to !== raft.id)];
  }

  #asyncMessages(
    writes: Pick<Ready, "hardState" | "entries" | "snapshot">,
    committed: readonly Entry[],
  ): readonly Message[] {
    const append = storageAppend(this.#raft, writes);
    const messages = [...this.#raft.messages];
    if (append !== null) messages.push(append);
    if (committed.length > 0) messages.push(storageApply(this.#raft, committed));
    return messages;
  }

  #accept(ready: Ready): void {
    const raft = this.#raft;
    this.#previousSoft = ready.softState ?? this.#previousSoft;
    this.#previousHard = ready.hardState ?? this.#previousHard;
    if (!this.#async) {
      this.#isAdvanceDue = true;
      this.#onAdvance = raft.messagesAfterAppend.filter((m) => m.to === raft.id);
      const stored = storageAppendResp(raft, ready.snapshot);
      if (stored !== null) this.#onAdvance.push(stored);
      if (ready.committedEntries.length > 0) this.#onAdvance.push(storageApplyResp(raft, ready.committedEntries));
    }
    raft.readStates = [];
    raft.messages = [];
    raft.messagesAfterAppend = [];
    raft.log.acceptUnstable();
    raft.log.acceptApplying(ready.committedEntries, !this.#async);
  }
}
