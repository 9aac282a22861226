// The tables of the store in memory: one per kind, each with its indexes. Objects in them are frozen; who may write, and when
// a write becomes true, is decided elsewhere.

import type { WholeCluster, WholeNode, WholeRevision, WholeService, WholeTask } from "../../proto/model/objects.ts";

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

/** Objects by something other than their id. Invariant: holds exactly the rows of its table for which `keyOf` gives a key. */
class Index<T extends { readonly id: string }> {
  readonly #keyOf: (object: T) => string;
  readonly #groups = new Map<string, Map<string, T>>();

  constructor(keyOf: (object: T) => string) {
    this.#keyOf = keyOf;
  }

  get(key: string): readonly T[] {
    const group = this.#groups.get(key);
    return group === undefined ? [] : [...group.values()];
  }

  replace(change: { readonly before: T | undefined; readonly after: T | undefined }): void {
    const { before, after } = change;
    const keyBefore = before === undefined ? undefined : this.#keyOf(before);
    const keyAfter = after === undefined ? undefined : this.#keyOf(after);
    if (before !== undefined && keyBefore !== undefined && keyBefore !== keyAfter) {
      const group = this.#groups.get(keyBefore);
      group?.delete(before.id);
      if (group?.size === 0) this.#groups.delete(keyBefore);
    }
    if (after === undefined || keyAfter === undefined) return;
    let group = this.#groups.get(keyAfter);
    if (group === undefined) this.#groups.set(keyAfter, (group = new Map<string, T>()));
    group.set(after.id, after);
  }
}

class Table<T extends { readonly id: string }> {
  readonly #rows = new Map<string, T>();
  readonly #indexes: readonly Index<T>[];

  constructor(indexes: readonly Index<T>[]) {
    this.#indexes = indexes;
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

/** Names one slot of a service, as a key of maps and sets. */
export function slotKey({ serviceId, slot, nodeId }: SlotName): string {
  return slot === 0 ? `${serviceId}/@${nodeId}` : `${serviceId}/${slot}`;
}

export class Tables {
  readonly servicesByName: Index<WholeService> = new Index((service) => service.spec.name);
  readonly tasksByService: Index<WholeTask> = new Index((task) => task.serviceId);
  readonly tasksByNode: Index<WholeTask> = new Index((task) => task.nodeId);
  readonly tasksBySlot: Index<WholeTask> = new Index((task) => slotKey(task));
  readonly revisionsByService: Index<WholeRevision> = new Index((revision) => revision.serviceId);
  readonly rows: { readonly [K in Kind]: Table<Objects[K]> } = {
    cluster: new Table<WholeCluster>([]),
    node: new Table<WholeNode>([]),
    service: new Table<WholeService>([this.servicesByName]),
    task: new Table<WholeTask>([this.tasksByService, this.tasksByNode, this.tasksBySlot]),
    revision: new Table<WholeRevision>([this.revisionsByService]),
  };
}
