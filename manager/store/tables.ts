// The tables of the store in memory: one per kind, each with its indexes. Objects in them are frozen; who may write, and when
// a write becomes true, is decided elsewhere.

import type { WholeCluster, WholeNode, WholeRevision, WholeService, WholeTask } from "../../proto/model/objects.ts";
import { WideMap } from "./wide-map.ts";

export interface Objects {
  readonly cluster: WholeCluster;
  readonly node: WholeNode;
  readonly service: WholeService;
  readonly task: WholeTask;
  readonly revision: WholeRevision;
}

export type Kind = keyof Objects;

/** The order in which snapshots hold them: what is referred to comes before what refers to it. */
export const KINDS: readonly Kind[] = ["cluster", "node", "service", "task", "revision"];

/**
 * Objects by something other than their id. It holds ids, so that a change that leaves the key alone costs nothing. Invariant: the
 * ids of exactly those rows of its table that have the key.
 */
class Index<T extends { readonly id: string }> {
  readonly #keyOf: (object: T) => string;
  readonly #hasSameKey: (before: T, change: { readonly after: T }) => boolean;
  /** One id, which is the most common, or several. */
  readonly #groups = new WideMap<string | Set<string>>();
  #rows: Pick<Rows<T>, "get"> = new Map<string, T>();

  constructor(
    keyOf: (object: T) => string,
    hasSameKey: (before: T, change: { readonly after: T }) => boolean = (before, { after }) =>
      keyOf(before) === keyOf(after),
  ) {
    this.#keyOf = keyOf;
    this.#hasSameKey = hasSameKey;
  }

  /** Of this table. */
  attach(rows: Pick<Rows<T>, "get">): void {
    this.#rows = rows;
  }

  get(key: string): readonly T[] {
    const group = this.#groups.get(key);
    if (group === undefined) return [];
    const found: T[] = [];
    for (const id of typeof group === "string" ? [group] : group) {
      const row = this.#rows.get(id);
      if (row !== undefined) found.push(row);
    }
    return found;
  }

  replace(change: { readonly before: T | undefined; readonly after: T | undefined }): void {
    const { before, after } = change;
    if (before !== undefined) {
      if (after !== undefined && this.#hasSameKey(before, { after })) return;
      this.#drop(this.#keyOf(before), before);
    }
    if (after !== undefined) this.#add(this.#keyOf(after), after);
  }

  #drop(key: string, { id }: T): void {
    const group = this.#groups.get(key);
    if (typeof group === "string") {
      if (group === id) this.#groups.delete(key);
      return;
    }
    group?.delete(id);
    if (group?.size === 0) this.#groups.delete(key);
  }

  #add(key: string, { id }: T): void {
    const group = this.#groups.get(key);
    if (group === undefined || group === id) this.#groups.set(key, id);
    else if (typeof group === "string") this.#groups.set(key, new Set([group, id]));
    else group.add(id);
  }
}

interface Rows<T> {
  get(id: string): T | undefined;
  set(id: string, row: T): unknown;
  delete(id: string): unknown;
  values(): Iterable<T>;
}

class Table<T extends { readonly id: string }> {
  readonly #rows: Rows<T>;
  readonly #indexes: readonly Index<T>[];

  constructor(indexes: readonly Index<T>[], rows: Rows<T> = new Map()) {
    this.#indexes = indexes;
    this.#rows = rows;
    for (const index of indexes) index.attach(this.#rows);
  }

  get(id: string): T | undefined {
    return this.#rows.get(id);
  }

  all(): readonly T[] {
    return [...this.#rows.values()];
  }

  /** Makes `object` the row of this id; undefined takes the row away. Answers what was there. */
  put(id: string, object: T | undefined): T | undefined {
    const before = this.#rows.get(id);
    if (object === undefined) this.#rows.delete(id);
    else this.#rows.set(id, object);
    for (const index of this.#indexes) index.replace({ before, after: object });
    return before;
  }
}

/** The place of one task of a service: a number from 1, or 0 and the node that the task belongs to. */
export interface SlotName {
  readonly serviceId: string;
  readonly slot: number;
  /** Read where the slot is 0. */
  readonly nodeId: string;
}

/** Names one slot of a service, as a key of maps and sets; slotNamed takes it apart. */
export function slotKey({ serviceId, slot, nodeId }: SlotName): string {
  return slot === 0 ? `${serviceId}/@${nodeId}` : `${serviceId}/${slot}`;
}

export function slotNamed(key: string): SlotName {
  const end = key.indexOf("/");
  const serviceId = key.slice(0, end);
  if (key[end + 1] === "@") return { serviceId, slot: 0, nodeId: key.slice(end + 2) };
  return { serviceId, slot: Number(key.slice(end + 1)), nodeId: "" };
}

function hasSameSlot(before: SlotName, { after }: { readonly after: SlotName }): boolean {
  if (before.slot !== after.slot || before.serviceId !== after.serviceId) return false;
  return after.slot !== 0 || before.nodeId === after.nodeId;
}

export class Tables {
  readonly servicesByName: Index<WholeService> = new Index((service) => service.spec.name);
  readonly tasksByService: Index<WholeTask> = new Index((task) => task.serviceId);
  readonly tasksByNode: Index<WholeTask> = new Index((task) => task.nodeId);
  readonly tasksBySlot: Index<WholeTask> = new Index<WholeTask>(slotKey, hasSameSlot);
  readonly revisionsByService: Index<WholeRevision> = new Index((revision) => revision.serviceId);
  readonly rows: { readonly [K in Kind]: Table<Objects[K]> } = {
    cluster: new Table<WholeCluster>([]),
    node: new Table<WholeNode>([]),
    service: new Table<WholeService>([this.servicesByName]),
    task: new Table<WholeTask>([this.tasksByService, this.tasksByNode, this.tasksBySlot], new WideMap()),
    revision: new Table<WholeRevision>([this.revisionsByService]),
  };
}
