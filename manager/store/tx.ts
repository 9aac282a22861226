// What code sees of the store: a view to read, a transaction to write. Interfaces only; store.ts makes them.

import type { UnixMs } from "../../proto/base/clock.ts";
import type { WholeCluster, WholeNode, WholeRevision, WholeService, WholeTask } from "../../proto/model/objects.ts";
import type { StoreEvent } from "./events.ts";
import type { SlotName } from "./tables.ts";

/** Lists are copies: writing while going through one is fine. Their order means nothing. */
export interface Reads<T> {
  get(id: string): T | undefined;
  all(): readonly T[];
}

export interface ServiceReads extends Reads<WholeService> {
  /** Several only while one of them is being removed. */
  byName(name: string): readonly WholeService[];
}

export interface TaskReads extends Reads<WholeTask> {
  byService(serviceId: string): readonly WholeTask[];
  /** Those without a node under "". */
  byNode(nodeId: string): readonly WholeTask[];
  bySlot(slot: SlotName): readonly WholeTask[];
}

export interface RevisionReads extends Reads<WholeRevision> {
  byService(serviceId: string): readonly WholeRevision[];
}

export interface ReadTx {
  /** Index of the last committed transaction. */
  readonly version: number;
  readonly clusters: Reads<WholeCluster>;
  readonly nodes: Reads<WholeNode>;
  readonly services: ServiceReads;
  readonly tasks: TaskReads;
  readonly revisions: RevisionReads;
}

/**
 * Writers of one kind. The store sets `meta` itself: the times at once, the version at commit (until then it is -1, which no
 * reader can have seen). Objects are frozen all the way down as they enter.
 */
export interface Writes<T> {
  /** Throws AlreadyExists when the id is taken. */
  create(object: T): void;
  /** Throws NotFound when there is none of this id. A task's states must not fall. */
  update(object: T): void;
  /** Throws NotFound. */
  remove(id: string): void;
}

export interface WriteTx extends ReadTx {
  /** The time of this transaction, for everything it stamps. */
  readonly atMs: UnixMs;
  /** Objects written so far. */
  readonly changeCount: number;
  readonly clusters: Reads<WholeCluster> & Writes<WholeCluster>;
  readonly nodes: Reads<WholeNode> & Writes<WholeNode>;
  readonly services: ServiceReads & Writes<WholeService>;
  readonly tasks: TaskReads & Writes<WholeTask>;
  readonly revisions: RevisionReads & Writes<WholeRevision>;
  /** Runs `action`; when it throws, its writes are undone, earlier ones stay, and the error goes on. */
  nested<T>(action: () => T): T;
  /** A point in the transaction, for `eventsSince`. */
  mark(): number;
  /** What was written since the mark, one event per object, as if it had been committed. */
  eventsSince(mark: number): readonly StoreEvent[];
  /**
   * True when the transaction would still be within its bytes, and within `limit` objects, after these were written as well.
   */
  fits(limit: number, objects: readonly { readonly id: string }[]): boolean;
}
