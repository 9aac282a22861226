// Proposals between the store and the log. What gathered enters the log as one batch; in the log each is known by
// index and term, and is told its fate in that order. The contract is store/proposer.ts: one that is lost takes with it
// whatever was proposed over the state it would have led to.

import type { Entry, Index, Term } from "raft-ts";
import { assert } from "../../proto/base/assert.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { StoreChanges } from "../../proto/gen/control.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { ProposalResult } from "../store/proposer.ts";

/** Proposals that wait or are on their way; more are dropped. */
const WAITING_MAX = 10_000;
const WAITING_BYTES_MAX = 64 * 1_048_576;
/** A change that is not committed by then is given up as ambiguous. */
export const COMMIT_TIMEOUT_MS = 10_000;
/** Turns within which whoever awaits a settled proposal, through a promise or two of its own, has gone on. */
const SETTLING_HOPS = 8;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly onCommit: (index: Index) => void;
  readonly resolve: (result: ProposalResult) => void;
}

interface Flight extends Waiting {
  readonly index: Index;
  readonly term: Term;
  readonly sinceMs: number;
}

export type Submitted =
  | { readonly kind: "taken"; readonly firstIndex: Index; readonly term: Term }
  | { readonly kind: "dropped"; readonly reason: string };

export interface ProposalsOptions {
  readonly clock: Clock;
  /** Why nothing can be proposed now, in a sentence; undefined: it can. */
  readonly refusal: () => string | undefined;
  /** Puts a batch into the log: all of it or nothing. */
  readonly submit: (batch: readonly Uint8Array[]) => Submitted;
  /** Whether what waits goes on waiting for more; a turn comes later then. */
  readonly shouldWait: () => boolean;
  /** A turn is wanted. */
  readonly wake: () => void;
}

export class Proposals {
  readonly #options: ProposalsOptions;
  #queue: Waiting[] = [];
  /** In the log, by index, oldest first. */
  #flights: Flight[] = [];
  /** Of both. */
  #bytes = 0;
  /** Given up while this node goes on leading: until all of these are applied nothing may be built beside them. */
  #unknown: { readonly index: Index; readonly term: Term } | undefined;
  /** Why proposals are dropped for a few turns of the microtask queue. */
  #falling: string | undefined;
  #fallingHops = 0;
  #isHopping = false;

  constructor(options: ProposalsOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return this.#flights.length;
  }

  propose(changes: StoreChanges, onCommit: (index: number) => void): Promise<ProposalResult> {
    const bytes = StoreChanges.encode(changes).finish();
    const refusal = this.#refusal(bytes.length);
    if (refusal !== undefined) return Promise.resolve(this.#dropped(refusal));
    return new Promise((resolve) => {
      this.#queue.push({ bytes, onCommit, resolve });
      this.#bytes += bytes.length;
      this.#options.wake();
    });
  }

  /** Puts what waits into the log, or lets it gather. */
  flush(): void {
    if (this.#queue.length === 0 || this.#options.shouldWait()) return;
    const reason = this.#options.refusal();
    const outcome: Submitted =
      reason === undefined ? this.#options.submit(this.#queue.map((each) => each.bytes)) : { kind: "dropped", reason };
    const batch = this.#queue;
    this.#queue = [];
    if (outcome.kind === "dropped") {
      this.#release(batch);
      const dropped = this.#dropped(outcome.reason);
      for (const each of batch) each.resolve(dropped);
      return;
    }
    const { firstIndex, term } = outcome;
    const sinceMs = this.#options.clock.monotonicMs();
    for (const [offset, each] of batch.entries())
      this.#flights.push({ ...each, index: firstIndex + offset, term, sinceMs });
  }

  /**
   * A committed entry with changes, in the order of the log. True: it was proposed here and its proposer was told. False: it
   * is someone else's or was given up, and is to be applied as such; nothing is in flight then.
   */
  committed(entry: Entry): boolean {
    const head = this.#flights[0];
    if (head?.index !== entry.index || head.term !== entry.term) {
      this.giveUp("another manager's change took its place in the log");
      return false;
    }
    this.#flights.shift();
    this.#release([head]);
    head.onCommit(head.index);
    head.resolve({ kind: "committed", index: head.index });
    return true;
  }

  /** What is in the log may or may not become durable; what never entered it is dropped. */
  giveUp(reason: string): void {
    const flights = this.#flights;
    const queue = this.#queue;
    if (flights.length === 0 && queue.length === 0) return;
    this.#flights = [];
    this.#queue = [];
    this.#bytes = 0;
    const last = flights.at(-1);
    if (last !== undefined) this.#unknown = { index: last.index, term: last.term };
    const dropped = this.#dropped(reason);
    for (const each of flights) each.resolve({ kind: "ambiguous", reason });
    for (const each of queue) each.resolve(dropped);
  }

  /** Gives everything up when the oldest waits too long. */
  expire(nowMs: number): void {
    const head = this.#flights[0];
    if (head === undefined || nowMs - head.sinceMs < COMMIT_TIMEOUT_MS) return;
    this.giveUp(`no majority of the managers stored it within ${COMMIT_TIMEOUT_MS / 1_000} s`);
  }

  /** How far the log is applied, and the term in which this node leads. */
  advance(at: { readonly applied: Index; readonly term: Term }): void {
    const unknown = this.#unknown;
    if (unknown !== undefined && (unknown.term !== at.term || at.applied >= unknown.index)) this.#unknown = undefined;
  }

  /** Why a proposal of so many bytes cannot be taken now. */
  #refusal(bytes: number): string | undefined {
    const refusal = this.#options.refusal();
    if (refusal !== undefined) return refusal;
    if (this.#falling !== undefined) return this.#falling;
    if (this.#unknown !== undefined)
      return "it is not known yet what became of earlier changes; try again when the managers have a majority";
    const waiting = this.#queue.length + this.#flights.length;
    if (waiting >= WAITING_MAX || this.#bytes >= WAITING_BYTES_MAX)
      return `the managers do not keep up: ${waiting} changes wait for their log; try again later`;
    const most = DEFAULTS.transactionBytesMax;
    if (bytes > most)
      return `a change of ${bytes} bytes is too large for one transaction, which holds ${most}; split it`;
    return undefined;
  }

  #release(gone: readonly Waiting[]): void {
    for (const each of gone) this.#bytes -= each.bytes.length;
    assert(this.#bytes >= 0, "bytes of proposals are released once");
  }

  /**
   * The answer to a proposal that is dropped. Until its proposer can have seen it, everything proposed is dropped too: it may
   * have been made over the state that the dropped one would have led to.
   */
  #dropped(reason: string): ProposalResult {
    this.#falling = reason;
    this.#fallingHops = SETTLING_HOPS;
    if (!this.#isHopping) this.#hop();
    return { kind: "dropped", reason };
  }

  /** Counts turns of the microtask queue: a settled promise reaches those who await it within a few. */
  #hop(): void {
    this.#isHopping = this.#fallingHops > 0;
    if (!this.#isHopping) {
      this.#falling = undefined;
      return;
    }
    this.#fallingHops -= 1;
    void Promise.resolve().then(() => this.#hop());
  }
}
