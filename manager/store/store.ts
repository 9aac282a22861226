// The replicated state in memory. Writers run at once, one after another, over the newest state; their changes are proposed
// while earlier ones are still on the way to disk, and become true in that order. Readers and watchers see only what is
// committed. It knows of replication only the Proposer, and is filled as its ReplayTarget.

import { assert } from "../../proto/base/assert.ts";
import type { UnixMs } from "../../proto/base/clock.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { deepFreeze } from "../../proto/base/freeze.ts";
import { StoreChange_Action, StoreChanges } from "../../proto/gen/control.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import { type StoreCommit, type StoreEvent, changeOf, eventOf, wholeObject } from "./events.ts";
import { logChanges } from "./log-changes.ts";
import { notTaken } from "./not-taken.ts";
import type { ProposalResult, Proposer, ReplayTarget } from "./proposer.ts";
import { savedTables } from "./snapshot.ts";
import { KINDS, type Kind, type Objects, Tables } from "./tables.ts";
import { Transaction, readsOf, revisionReads, serviceReads, taskReads } from "./transaction.ts";
import type { ReadTx, WriteTx } from "./tx.ts";

export type { StoreCommit, StoreEvent } from "./events.ts";

/** Transactions, and bytes of them, on their way to the log. More wait in memory, then are refused. */
const IN_FLIGHT_MAX = 512;
const IN_FLIGHT_BYTES_MAX = 16 * 1_048_576;
const WAITING_MAX = 10_000;

export interface StoreOptions {
  /** Stamps transactions. */
  readonly now: () => UnixMs;
}

/** One transaction between its function and its commit. */
interface Flight {
  readonly events: readonly StoreEvent[];
  readonly atMs: UnixMs;
  readonly bytes: number;
  state: "flying" | "committed" | "undone";
  /** Settles, never rejects, when it is known what became of it. */
  readonly over: PromiseWithResolvers<void>;
}

export class Store implements ReplayTarget {
  readonly #now: () => UnixMs;
  /** What is durable. */
  readonly #committed: Tables = new Tables();
  /** Invariant: `#committed` with the changes of every flight on top, in order. */
  readonly #newest: Tables = new Tables();
  #version = 0;
  readonly #view: ReadTx;
  /** Oldest first. */
  #flights: Flight[] = [];
  #flightBytes = 0;
  /** Updates that wait for room among the flights. */
  readonly #waiting: (() => void)[] = [];
  readonly #listeners = new Set<(commit: StoreCommit) => void>();
  #proposer: Proposer | undefined;

  constructor(options: StoreOptions) {
    this.#now = options.now;
    this.#view = this.#makeView();
  }

  /** From now on updates go to this log, whose content the store already holds; undefined: they are refused. */
  attach(proposer: Proposer | undefined): void {
    this.#proposer = proposer;
  }

  /** Index of the last committed transaction. */
  get version(): number {
    return this.#version;
  }

  /** The committed state as it is at each call: after an `await` it may have moved on. */
  view(): ReadTx {
    return this.#view;
  }

  /** Calls the listener synchronously after each commit, in order. It must be quick and must not throw. The answer ends it. */
  subscribe(listener: (commit: StoreCommit) => void): () => void {
    // A wrapper of its own, so that the same function may subscribe twice.
    const entry = (commit: StoreCommit): void => listener(commit);
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  /**
   * Runs `fn`, which reads and writes and never waits, and settles with its answer once what it wrote is durable; a reader then
   * sees it. When `fn` throws, nothing was written and the error comes out. At most 200 objects and 1.5 MiB: InvalidArgument.
   * Throws Unavailable when the log did not take the changes, or those that they were decided over (nothing happened, it is safe
   * to try again), Internal when they may or may not become durable, ResourceExhausted when too many updates wait.
   */
  update<T>(fn: (tx: WriteTx) => T): Promise<T> {
    if (this.#waiting.length === 0 && this.#hasRoom()) return this.#execute(fn);
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.reject(
        new SwarmError("ResourceExhausted", "the manager has too many changes waiting for its log; try again later"),
      );
    }
    return new Promise((resolve) => {
      this.#waiting.push(() => resolve(this.#execute(fn)));
    });
  }

  /** The whole committed state, fixed at the call, in pieces that are made as they are asked for. Joined they are what restore takes. */
  save(): Iterable<Uint8Array> {
    return savedTables(this.#committed);
  }

  /**
   * Takes a saved state in place of what it holds; transactions on their way are undone. Those who watch are told the difference
   * as one commit, stamped with the clock of now: what was committed in between is not known one by one.
   */
  restore(snapshot: Uint8Array, index: number): void {
    assert(index >= this.#version, "a restored state is never older than what was committed");
    this.#undoFrom(0);
    const gone = new Map(this.#rows().map((row) => [`${row.kind}/${row.object.id}`, row]));
    const events: StoreEvent[] = [];
    for (const { object } of StoreChanges.decode(snapshot).changes) {
      if (object === undefined) continue;
      const whole = wholeObject(object);
      const old = this.#committed.rows[whole.kind].get(whole.object.id);
      gone.delete(`${whole.kind}/${whole.object.id}`);
      // An object's version is the index that wrote it: the same version is the same object.
      if (old?.meta.version === whole.object.meta.version) continue;
      const restored = { kind: whole.kind, id: whole.object.id, object: deepFreeze(whole.object) };
      put(this.#committed, restored);
      put(this.#newest, restored);
      const event = eventOf(whole.kind, { old, object: restored.object });
      if (event !== undefined) events.push(event);
    }
    for (const { kind, object } of gone.values()) {
      const removed = { kind, id: object.id, object: undefined };
      put(this.#committed, removed);
      put(this.#newest, removed);
      const event = eventOf(kind, { old: object, object: undefined });
      if (event !== undefined) events.push(event);
    }
    this.#version = index;
    if (events.length > 0) this.#publish(events, { index, atMs: this.#now() });
  }

  /** Takes one committed entry of the log that did not come from this store. */
  apply(changes: StoreChanges, index: number): void {
    this.#undoFrom(0);
    const events: StoreEvent[] = [];
    for (const { action, object } of changes.changes) {
      if (object === undefined) continue;
      const whole = wholeObject(object);
      const old = this.#committed.rows[whole.kind].get(whole.object.id);
      const after = action === StoreChange_Action.REMOVE ? undefined : whole.object;
      const event = eventOf(whole.kind, { old, object: after });
      if (event !== undefined) events.push(event);
    }
    this.#publish(this.#settle({ events, index }), { index, atMs: changes.atMs });
  }

  #hasRoom(): boolean {
    return this.#flights.length < IN_FLIGHT_MAX && this.#flightBytes < IN_FLIGHT_BYTES_MAX;
  }

  async #execute<T>(fn: (tx: WriteTx) => T): Promise<T> {
    const proposer = this.#proposer;
    if (proposer === undefined) throw notTaken("this manager does not take changes at the moment");
    const tx = new Transaction(this.#newest, { version: this.#version, atMs: this.#now() });
    let answer: T;
    try {
      answer = fn(tx);
      checkBounds(tx);
    } catch (error) {
      tx.rollback();
      // It may be about something that an earlier transaction on its way wrote: it is true once that one is.
      await this.#untilTrue();
      throw error;
    }
    const events = tx.close();
    if (events.length === 0) {
      await this.#untilTrue();
      return answer;
    }
    const over = Promise.withResolvers<undefined>() as PromiseWithResolvers<unknown> as PromiseWithResolvers<void>;
    const flight: Flight = { events, atMs: tx.atMs, bytes: tx.changeBytes, state: "flying", over };
    this.#flights.push(flight);
    this.#flightBytes += flight.bytes;
    try {
      const result = await proposer.propose(logChanges(events, flight.atMs), (index) => this.#commit(flight, index));
      this.#check(flight, result);
    } finally {
      this.#undo(flight);
      over.resolve();
      this.#admit();
    }
    return answer;
  }

  /** Settles when the newest state of now is durable. Throws Unavailable when it never came to be: what was seen in it was not so. */
  async #untilTrue(): Promise<void> {
    const last = this.#flights.at(-1);
    await last?.over.promise;
    if (last?.state === "undone")
      throw notTaken("nothing was changed: an earlier change that this one was decided over was not made; try again");
  }

  /** Throws what the caller is told when the changes were not committed. */
  #check(flight: Flight, result: ProposalResult): void {
    if (result.kind === "committed") {
      assert(flight.state === "committed", "onCommit runs before the proposal settles");
      return;
    }
    assert(flight.state !== "committed", "a committed proposal is not also dropped");
    if (result.kind === "dropped") throw notTaken(`nothing was changed: ${result.reason}`);
    throw new SwarmError(
      "Internal",
      `the change may or may not have been made: ${result.reason}; look before trying again`,
    );
  }

  #commit(flight: Flight, index: number): void {
    assert(flight.state === "flying", "no proposal is committed after an earlier one was dropped");
    assert(this.#flights[0] === flight, "proposals are committed in the order in which they were made");
    this.#flights.shift();
    this.#flightBytes -= flight.bytes;
    flight.state = "committed";
    this.#publish(this.#settle({ events: flight.events, index }), { index, atMs: flight.atMs });
  }

  /** Makes the changes true: the objects get the index as their version. Answers the events as they were against what was true before. */
  #settle(entry: { readonly events: readonly StoreEvent[]; readonly index: number }): readonly StoreEvent[] {
    const { events, index } = entry;
    assert(index > this.#version, "the log is applied in order, each entry once");
    this.#version = index;
    const settled: StoreEvent[] = [];
    for (const event of events) {
      const { kind, object: written } = event;
      const old = this.#committed.rows[kind].get(written.id);
      const object = event.action === "remove" ? undefined : withVersion(written, index);
      put(this.#committed, { kind, id: written.id, object });
      // A later transaction on its way may have written over it: that one keeps its place.
      const isNewest = this.#flights.length === 0 || this.#newest.rows[kind].get(written.id) === written;
      if (isNewest) put(this.#newest, { kind, id: written.id, object });
      const change = eventOf(kind, { old, object });
      if (change !== undefined) settled.push(change);
    }
    return settled;
  }

  #publish(events: readonly StoreEvent[], entry: { readonly index: number; readonly atMs: UnixMs }): void {
    if (this.#listeners.size === 0) return;
    const commit: StoreCommit = { version: entry.index, atMs: entry.atMs, events, changes: events.map(changeOf) };
    for (const listener of this.#listeners) listener(commit);
  }

  /** Takes a flight that will not be committed, and all that flew after it, out of the newest state. */
  #undo(flight: Flight): void {
    const position = this.#flights.indexOf(flight);
    if (position >= 0) this.#undoFrom(position);
  }

  #undoFrom(position: number): void {
    const undone = this.#flights.splice(position);
    for (const flight of undone) {
      flight.state = "undone";
      this.#flightBytes -= flight.bytes;
      for (const { kind, object } of flight.events)
        put(this.#newest, { kind, id: object.id, object: this.#committed.rows[kind].get(object.id) });
    }
    if (undone.length === 0) return;
    for (const { events } of this.#flights) {
      for (const { kind, action, object } of events)
        put(this.#newest, { kind, id: object.id, object: action === "remove" ? undefined : object });
    }
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#hasRoom()) this.#waiting.shift()?.();
  }

  #rows(): { readonly kind: Kind; readonly object: Objects[Kind] }[] {
    return KINDS.flatMap((kind) => this.#committed.rows[kind].all().map((object) => ({ kind, object })));
  }

  #makeView(): ReadTx {
    const tables = this.#committed;
    const version = (): number => this.#version;
    return {
      get version(): number {
        return version();
      },
      clusters: readsOf(tables, "cluster"),
      nodes: readsOf(tables, "node"),
      services: serviceReads(tables),
      tasks: taskReads(tables),
      revisions: revisionReads(tables),
    };
  }
}

function checkBounds(tx: Transaction): void {
  const { transactionBytesMax, transactionChangesMax } = DEFAULTS;
  if (tx.changeCount > transactionChangesMax || tx.changeBytes > transactionBytesMax) {
    throw new SwarmError(
      "InvalidArgument",
      `a change of ${tx.changeCount} objects and ${tx.changeBytes} bytes is too large for one transaction, which holds ${transactionChangesMax} and ${transactionBytesMax}; split it`,
    );
  }
}

/** What was written is frozen all the way down already. */
function withVersion(written: Objects[Kind], version: number): Objects[Kind] {
  return Object.freeze({ ...deepFreeze(written), meta: Object.freeze({ ...written.meta, version }) });
}

/** The parts are of one kind; the compiler cannot follow that through the union. */
function put(
  tables: Tables,
  row: { readonly kind: Kind; readonly id: string; readonly object: Objects[Kind] | undefined },
): void {
  tables.rows[row.kind].put(row.id, row.object as never);
}
