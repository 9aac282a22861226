// What the driver is to do next, cut at one moment: store, send, apply. And how calls are refused.

import type { Entry } from "./entry.ts";
import type { Index, RaftId } from "./ids.ts";
import type { HardState, SnapshotRef } from "./log-reader.ts";
import type { Message } from "./message.ts";
import type { ReadRefusal } from "./trace.ts";

export type Role = "follower" | "preCandidate" | "candidate" | "leader";

/** Not stored; for whoever shows or follows leadership. */
export interface SoftState {
  /** 0 where no leader is known. */
  readonly leader: RaftId;
  readonly role: Role;
}

/** The answer to one readIndex call, told apart by the context it was given. */
export type ReadState =
  /** Once the index is applied, a read of the applied state is linearizable (thesis 6.4). */
  | { readonly kind: "ready"; readonly index: Index; readonly context: Uint8Array }
  /** It will not be answered: ask again. */
  | { readonly kind: "refused"; readonly reason: ReadRefusal; readonly context: Uint8Array };

/**
 * Synchronous mode: write the snapshot or the entries and the hard state (durably where mustSync), then send the
 * messages, apply the committed entries, and call advance(). Nothing else may be called between ready() and advance()
 * except step() and the like, whose results come with the next Ready.
 *
 * Asynchronous mode: messages to peers leave at once; those to APPEND_THREAD and APPLY_THREAD carry the work and,
 * as responses, what to step or send when it is done, in order. Works of one thread are done in order. Entries,
 * hardState, snapshot and committedEntries repeat what those messages carry. There is no advance().
 */
export interface Ready {
  /** Null where nothing changed. */
  readonly softState: SoftState | null;
  /** Null where nothing changed. */
  readonly hardState: HardState | null;
  readonly readStates: readonly ReadState[];
  /** To be appended to storage, replacing what stands at their indices and after; after the snapshot where there is one. */
  readonly entries: readonly Entry[];
  /** To replace storage up to its index. */
  readonly snapshot: SnapshotRef | null;
  readonly committedEntries: readonly Entry[];
  readonly messages: readonly Message[];
  /**
   * Whether entries and hard state must be durable before messages leave: entries, a new term or a new vote. A snapshot
   * must be in any case.
   */
  readonly mustSync: boolean;
}

/**
 * proposal-dropped: nothing entered a log, it is safe to propose again. not-found: a response from a stranger, which a
 * removed member sends. local: a peer sent what only the node may tell itself. malformed: a peer's message that breaks
 * its own rules. diverged: a leader contradicts what is committed here, or counts on entries this node lost; the node
 * must not go on with this storage. read-refused: see the reason.
 */
export type StepError =
  | { readonly kind: "proposal-dropped" }
  | { readonly kind: "not-found" }
  | { readonly kind: "local" }
  | { readonly kind: "malformed"; readonly detail: string }
  | { readonly kind: "diverged"; readonly detail: string }
  | { readonly kind: "read-refused"; readonly reason: ReadRefusal };
