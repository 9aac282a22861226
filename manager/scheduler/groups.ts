// The tasks that wait for a node, those with the same needs together: what one of them is told, all are. A group is dirty while it
// has tasks that were not looked at, or when something happened that may let it find a place.

import type { WholeTask } from "../../proto/model/objects.ts";

export interface Group {
  readonly key: string;
  /** Ids of tasks to look at. */
  readonly waiting: Set<string>;
  /** Ids of tasks that found no node, with the reason written on them. */
  readonly parked: Set<string>;
  /** It wants tasks of other services beside it: each that gets a node may help. */
  readonly isAttracted: boolean;
}

export class Groups {
  readonly #groups = new Map<string, Group>();
  /** Those with parked tasks. */
  readonly #parked = new Set<Group>();
  readonly #groupOf = new Map<string, Group>();
  readonly #dirty = new Set<Group>();
  /** Those that wait for others are looked at after them. */
  readonly #dirtyLast = new Set<Group>();

  hasDirty(): boolean {
    return this.#dirty.size > 0 || this.#dirtyLast.size > 0;
  }

  /** The dirty ones. One that is cleaned meanwhile is left out. */
  *dirty(): Generator<Group> {
    yield* this.#dirty;
    yield* this.#dirtyLast;
  }

  isParked({ id }: WholeTask): boolean {
    return this.#groupOf.get(id)?.parked.has(id) === true;
  }

  /** The task is to be looked at, as it is now. */
  add(task: WholeTask): void {
    const key = keyOf(task);
    if (this.#groupOf.get(task.id)?.key !== key) this.forget(task.id);
    let group = this.#groups.get(key);
    if (group === undefined) {
      const isAttracted = task.spec.placement.affinities.some((text) => !text.includes("!="));
      group = { key, waiting: new Set(), parked: new Set(), isAttracted };
      this.#groups.set(key, group);
    }
    this.#groupOf.set(task.id, group);
    group.parked.delete(task.id);
    group.waiting.add(task.id);
    this.#mark(group);
  }

  /** The task waits no more. */
  forget(id: string): void {
    const group = this.#groupOf.get(id);
    if (group === undefined) return;
    this.#groupOf.delete(id);
    group.waiting.delete(id);
    group.parked.delete(id);
    if (group.parked.size === 0) this.#parked.delete(group);
    if (group.waiting.size > 0 || group.parked.size > 0) return;
    this.#groups.delete(group.key);
    this.clean(group);
  }

  /** The task found no node. */
  park(group: Group, id: string): void {
    group.waiting.delete(id);
    group.parked.add(id);
    this.#parked.add(group);
  }

  /** All that found no node are to be looked at one by one. */
  unpark(group: Group): void {
    for (const id of group.parked) group.waiting.add(id);
    group.parked.clear();
    this.#parked.delete(group);
  }

  /** Something happened that may let parked tasks find a place. */
  retry(which: "all" | "attracted"): void {
    for (const group of this.#parked) if (which === "all" || group.isAttracted) this.#mark(group);
  }

  clean(group: Group): void {
    this.#dirty.delete(group);
    this.#dirtyLast.delete(group);
  }

  #mark(group: Group): void {
    (group.isAttracted ? this.#dirtyLast : this.#dirty).add(group);
  }
}

function keyOf({ serviceId, specVersion, ports, slot, nodeId }: WholeTask): string {
  const published = ports.map((port) => `${port.publishedPort}/${port.protocol}`).join();
  return `${serviceId}/${specVersion}/${published}/${slot === 0 ? nodeId : ""}`;
}
