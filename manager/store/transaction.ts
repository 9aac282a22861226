// One transaction under way over the newest state: writes at once, remembers how to take everything back, and counts what it
// will cost in the log.

import { assert } from "../../proto/base/assert.ts";
import type { UnixMs } from "../../proto/base/clock.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { deepFreeze } from "../../proto/base/freeze.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import { type StoreEvent, eventOf } from "./events.ts";
import { approximateBytes } from "./size.ts";
import { type Kind, type Objects, type Tables, slotKey } from "./tables.ts";
import type { Reads, RevisionReads, ServiceReads, TaskReads, WriteTx, Writes } from "./tx.ts";

/** Version of an object whose transaction is not committed. No client has it, so an update that names a version is refused. */
export const PENDING_VERSION = -1;

/** What passes may fill; the rest is room for what the estimate of sizes cannot know. */
const BYTES_MAX = DEFAULTS.transactionBytesMax * 0.75;

/** Of the id alone, and of what is stamped on an object as it is written. */
const REMOVED_BYTES = 40;
const META_BYTES = 60;

type Step = {
  readonly [K in Kind]: { readonly kind: K; readonly id: string; readonly before: Objects[K] | undefined };
}[Kind];

interface Touched {
  /** Steps that wrote this object. */
  steps: number;
  bytes: number;
}

export class Transaction implements WriteTx {
  readonly version: number;
  readonly atMs: UnixMs;
  readonly clusters: WriteTx["clusters"];
  readonly nodes: WriteTx["nodes"];
  readonly services: WriteTx["services"];
  readonly tasks: WriteTx["tasks"];
  readonly revisions: WriteTx["revisions"];
  readonly #tables: Tables;
  readonly #steps: Step[] = [];
  /** By id; ids are unique among all kinds. Invariant: holds exactly the ids of `#steps`. */
  readonly #touched = new Map<string, Touched>();
  #bytes = 0;
  /** What `fits` was asked about last: most often it is written next. */
  #sized: { readonly object: object; readonly bytes: number } | undefined;
  #open = true;

  constructor(tables: Tables, options: { readonly version: number; readonly atMs: UnixMs }) {
    this.#tables = tables;
    this.version = options.version;
    this.atMs = options.atMs;
    this.clusters = { ...readsOf(tables, "cluster"), ...this.#writes("cluster") };
    this.nodes = { ...readsOf(tables, "node"), ...this.#writes("node") };
    this.services = { ...serviceReads(tables), ...this.#writes("service") };
    this.tasks = { ...taskReads(tables), ...this.#writes("task") };
    this.revisions = { ...revisionReads(tables), ...this.#writes("revision") };
  }

  get changeCount(): number {
    return this.#touched.size;
  }

  /** About the bytes of the log entry. */
  get changeBytes(): number {
    return this.#bytes;
  }

  nested<T>(action: () => T): T {
    const mark = this.mark();
    try {
      return action();
    } catch (error) {
      this.#undoTo(mark);
      throw error;
    }
  }

  mark(): number {
    return this.#steps.length;
  }

  eventsSince(mark: number): readonly StoreEvent[] {
    const seen = new Set<string>();
    const events: StoreEvent[] = [];
    for (const { kind, id, before } of this.#steps.slice(mark)) {
      if (seen.has(id)) continue;
      seen.add(id);
      const event = eventOf(kind, { old: before, object: this.#tables.rows[kind].get(id) });
      if (event !== undefined) events.push(event);
    }
    return events;
  }

  fits(limit: number, objects: readonly { readonly id: string }[]): boolean {
    let count = this.#touched.size;
    let bytes = this.#bytes;
    for (const object of objects) {
      const touched = this.#touched.get(object.id);
      if (touched === undefined) count += 1;
      const size = approximateBytes(object);
      this.#sized = { object, bytes: size };
      bytes += size - (touched?.bytes ?? 0);
    }
    return count <= Math.min(limit, DEFAULTS.transactionChangesMax) && bytes <= BYTES_MAX;
  }

  /** Ends it with everything as it was before. */
  rollback(): void {
    this.#undoTo(0);
    this.#open = false;
  }

  /** Ends it; answers what it wrote. */
  close(): readonly StoreEvent[] {
    this.#open = false;
    return this.eventsSince(0);
  }

  #writes<K extends Kind>(kind: K): Writes<Objects[K]> {
    const table = this.#tables.rows[kind];
    const found = (id: string): Objects[K] => {
      const object = table.get(id);
      if (object === undefined) throw new SwarmError("NotFound", `${kind} ${id} not found`);
      return object;
    };
    return {
      create: (object) => {
        assert(object.id !== "", `a ${kind} has an id`);
        if (table.get(object.id) !== undefined)
          throw new SwarmError("AlreadyExists", `${kind} ${object.id} already exists`);
        this.#write(kind, object, this.#stamped(object, this.atMs));
      },
      update: (object) => {
        const before = found(object.id);
        checkStates(kind, { before, after: object });
        this.#write(kind, object, this.#stamped(object, before.meta.createdAtMs));
      },
      remove: (id) => {
        found(id);
        this.#write(kind, { id }, undefined);
      },
    };
  }

  #stamped<T extends Objects[Kind]>(object: T, createdAtMs: UnixMs): T {
    return deepFreeze({ ...object, meta: { version: PENDING_VERSION, createdAtMs, updatedAtMs: this.atMs } });
  }

  /** `asked` is the object as the writer gave it. */
  #write<K extends Kind>(kind: K, asked: { readonly id: string }, object: Objects[K] | undefined): void {
    assert(this.#open, "a transaction is written only while its function runs");
    const { id } = asked;
    const before = this.#tables.rows[kind].put(id, object);
    this.#steps.push({ kind, id, before } as Step);
    const bytes = object === undefined ? REMOVED_BYTES : this.#sizeOf(asked, object);
    const touched = this.#touched.get(id);
    this.#bytes += bytes - (touched?.bytes ?? 0);
    this.#touched.set(id, { steps: (touched?.steps ?? 0) + 1, bytes });
  }

  #sizeOf(asked: object, object: object): number {
    return this.#sized?.object === asked ? this.#sized.bytes + META_BYTES : approximateBytes(object);
  }

  #undoTo(mark: number): void {
    for (const step of this.#steps.splice(mark).reverse()) {
      put(this.#tables, step);
      const touched = this.#touched.get(step.id);
      assert(touched !== undefined, "every step is counted");
      const bytes = touched.steps === 1 || step.before === undefined ? 0 : approximateBytes(step.before);
      this.#bytes += bytes - touched.bytes;
      if (touched.steps === 1) this.#touched.delete(step.id);
      else this.#touched.set(step.id, { steps: touched.steps - 1, bytes });
    }
  }
}

function put<K extends Kind>(
  tables: Tables,
  step: { readonly kind: K; readonly id: string; readonly before: Objects[K] | undefined },
): void {
  tables.rows[step.kind].put(step.id, step.before);
}

/** SwarmKit's task model: neither what is observed of a task nor what is wanted of it ever goes back. */
function checkStates(kind: Kind, states: { readonly before: Objects[Kind]; readonly after: Objects[Kind] }): void {
  if (kind !== "task") return;
  const [before, after] = [states.before, states.after] as [Objects["task"], Objects["task"]];
  assert(after.status.state >= before.status.state, `the state of task ${after.id} only rises`);
  assert(after.desiredState >= before.desiredState, `the desired state of task ${after.id} only rises`);
}

/** Reads of one kind over the tables as they are at each call. */
export function readsOf<K extends Kind>(tables: Tables, kind: K): Reads<Objects[K]> {
  const table = tables.rows[kind];
  return { get: (id) => table.get(id), all: () => table.all() };
}

export function serviceReads(tables: Tables): ServiceReads {
  return { ...readsOf(tables, "service"), byName: (name) => tables.servicesByName.get(name) };
}

export function taskReads(tables: Tables): TaskReads {
  return {
    ...readsOf(tables, "task"),
    byService: (serviceId) => tables.tasksByService.get(serviceId),
    byNode: (nodeId) => tables.tasksByNode.get(nodeId),
    bySlot: (slot) => tables.tasksBySlot.get(slotKey(slot)),
  };
}

export function revisionReads(tables: Tables): RevisionReads {
  return {
    ...readsOf(tables, "revision"),
    byService: (serviceId) => tables.revisionsByService.get(serviceId),
  };
}
