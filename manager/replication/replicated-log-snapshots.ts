// Snapshots as the driver moves them: cut of the applied state now and then and for a peer that needs a fresh one, sent to peers,
// taken from a leader. A snapshot always goes with the membership of its own index.

import type { Entry, HardState, Index, Message, RaftId, SnapshotRef } from "raft-ts";
import { AssertionError, assert } from "../../proto/base/assert.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { type ChildAbort, childOf } from "../../proto/base/abort.ts";
import { diskErrorCode } from "../../proto/base/disk.ts";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { LogSnapshotMeta, LogStorage } from "./replicated-log-storage.ts";
import type { IncomingSnapshot, Transport } from "./transport.ts";

/** After one that could not be written, a peer's wish for one waits so long. */
const AGAIN_MS = 5_000;

export interface SnapshotsOptions {
  readonly clock: Clock;
  readonly storage: LogStorage;
  readonly logger: Logger;
  /** Entries between snapshots. */
  readonly every: number;
  /** The newest stored one when the log was opened. */
  readonly newest: LogSnapshotMeta | undefined;
  readonly transport: () => Transport;
  /** The applied state, as a snapshot of it is named, and its content; the call fixes what state it is. */
  readonly applied: () => { readonly meta: LogSnapshotMeta; readonly pieces: () => Iterable<Uint8Array> };
  /** A peer has it, or not. */
  readonly report: (peer: RaftId, ok: boolean) => void;
  /** Gives a received one to the core. True: it asked to have it put in place; false: it had as much already. */
  readonly step: (message: Message) => boolean;
  /** Takes an installed one as the state. */
  readonly restored: (meta: LogSnapshotMeta, bytes: Uint8Array) => void;
  readonly onFailure: (error: unknown) => void;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

export class Snapshots {
  readonly #options: SnapshotsOptions;
  /** The newest two of this node, by which a message finds its membership. */
  #known: readonly LogSnapshotMeta[];
  #triedIndex: Index;
  #isWanted = false;
  #notBeforeMs = -Infinity;
  #saving: Promise<void> | undefined;
  readonly #sending = new Map<RaftId, ChildAbort>();
  #incoming: { readonly meta: LogSnapshotMeta; readonly installed: PromiseWithResolvers<void> } | undefined;

  constructor(options: SnapshotsOptions) {
    this.#options = options;
    this.#known = options.newest === undefined ? [] : [options.newest];
    this.#triedIndex = options.newest?.index ?? 0;
  }

  /** A peer needs one that the storage does not have: the core asks again once there is one. */
  want(): void {
    this.#isWanted = true;
  }

  /** Asked after each turn. */
  maybeCut(appliedIndex: Index): void {
    const newest = this.#known.at(-1)?.index ?? 0;
    if (appliedIndex <= newest) this.#isWanted = false;
    const isDue = appliedIndex - this.#triedIndex >= this.#options.every;
    const isWanted = this.#isWanted && this.#options.clock.monotonicMs() >= this.#notBeforeMs;
    if ((!isWanted && !isDue) || this.#saving !== undefined || this.#incoming !== undefined) return;
    this.#isWanted = false;
    this.#triedIndex = appliedIndex;
    const { meta, pieces } = this.#options.applied();
    this.#saving = this.#save(meta, pieces()).finally(() => {
      this.#saving = undefined;
    });
  }

  /** Sends the one that the core's message names. */
  send(message: Message): void {
    const { storage, transport, report, signal } = this.#options;
    const peer = message.to;
    const meta = this.#known.find((each) => each.index === message.snapshot?.index);
    if (meta === undefined || signal.aborted) {
      report(peer, false);
      return;
    }
    this.#sending.get(peer)?.abort(new Error("a newer snapshot is sent"));
    const abort = childOf(signal);
    this.#sending.set(peer, abort);
    this.#options.logger.info("sending a snapshot", { index: meta.index, peer });
    const outgoing = { message, membership: meta.membership, chunks: storage.readSnapshot(meta.index) };
    void transport()
      .sendSnapshot(outgoing, abort.signal)
      .then((ok) => {
        abort.release();
        // One that was replaced by a newer one says nothing about that one.
        if (this.#sending.get(peer) !== abort) return;
        this.#sending.delete(peer);
        if (!ok) this.#options.logger.warn("a snapshot did not arrive", { index: meta.index, peer });
        report(peer, ok);
      });
  }

  /** Leadership is over: what is on its way need not arrive. */
  cancelSending(): void {
    for (const abort of this.#sending.values()) abort.abort(new Error("this manager leads no longer"));
    this.#sending.clear();
  }

  /** Takes one from a peer; settles when it is in place, or when the core had as much. */
  async receive(incoming: IncomingSnapshot, signal: AbortSignal): Promise<void> {
    const { storage, logger, step } = this.#options;
    const { message, membership, chunks } = incoming;
    const ref = message.snapshot;
    if (message.type !== "snap" || ref === null)
      throw new SwarmError("InvalidArgument", "a snapshot comes with a message that names it");
    if (this.#incoming !== undefined)
      throw new SwarmError("Unavailable", "another snapshot is being received; try again later");
    const meta: LogSnapshotMeta = { index: ref.index, term: ref.term, membership };
    const installed = Promise.withResolvers<undefined>() as PromiseWithResolvers<unknown> as PromiseWithResolvers<void>;
    installed.promise.catch(() => undefined);
    this.#incoming = { meta, installed };
    try {
      logger.info("receiving a snapshot", { index: meta.index, from: message.from });
      await storage.receiveSnapshot(meta, chunks, signal).catch((error: unknown) => {
        if (isSwarmError(error) || diskErrorCode(error) === "") throw error;
        throw new SwarmError(
          "Unavailable",
          `the snapshot cannot be stored: ${errorText(error)}; make room on the disk`,
          {
            cause: error,
          },
        );
      });
      signal.throwIfAborted();
      // The membership is what the core is to believe, whatever the message says of it.
      if (step({ ...message, snapshot: { ...ref, conf: membership.conf } })) await installed.promise;
    } finally {
      this.#incoming = undefined;
    }
  }

  /** The append loop's part: puts the received one in place. */
  async install(work: {
    readonly snapshot: SnapshotRef;
    readonly hard: HardState | null;
    readonly entries: readonly Entry[];
  }): Promise<void> {
    const { storage, restored, logger } = this.#options;
    const incoming = this.#incoming;
    assert(incoming?.meta.index === work.snapshot.index, "the core installs the snapshot that was received");
    await this.#saving;
    const { bytes } = await storage.installSnapshot({ meta: incoming.meta, hard: work.hard, entries: work.entries });
    this.#known = [incoming.meta];
    this.#triedIndex = incoming.meta.index;
    restored(incoming.meta, bytes);
    logger.info("a snapshot is in place", { index: incoming.meta.index });
    incoming.installed.resolve();
  }

  /** Nothing more comes of what waits. */
  fail(error: unknown): void {
    this.cancelSending();
    this.#incoming?.installed.reject(error);
  }

  /** Settles when none is being written. */
  async idle(): Promise<void> {
    await this.#saving;
  }

  async #save(meta: LogSnapshotMeta, pieces: Iterable<Uint8Array>): Promise<void> {
    const { storage, clock, logger, onFailure } = this.#options;
    try {
      await storage.saveSnapshot(meta, pieces);
      this.#known = [...this.#known, meta].slice(-2);
    } catch (error) {
      if (error instanceof AssertionError) onFailure(error);
      // The log goes on and holds everything; the next try comes after as many entries again.
      this.#notBeforeMs = clock.monotonicMs() + AGAIN_MS;
      logger.error("cannot write a snapshot", { index: meta.index, error: errorText(error) });
    }
  }
}
