// What the store tells those who watch it, and how a change looks in the log.

import type { UnixMs } from "../../proto/base/clock.ts";
import { never } from "../../proto/base/assert.ts";
import { type StoreChange, StoreChange_Action } from "../../proto/gen/control.ts";
import { wholeCluster, wholeNode, wholeRevision, wholeService, wholeTask } from "../../proto/model/objects.ts";
import type { Kind, Objects } from "./tables.ts";

interface EventOf<K extends Kind> {
  readonly kind: K;
  readonly action: "create" | "update" | "remove";
  /** The object as it is; of a removed one, as it was. */
  readonly object: Objects[K];
  /** As it was before; undefined for one that was created. */
  readonly old: Objects[K] | undefined;
}

/** One object that changed. */
export type StoreEvent = { readonly [K in Kind]: EventOf<K> }[Kind];

/** One committed transaction. */
export interface StoreCommit {
  /** Index in the log; the version of every object it wrote. */
  readonly version: number;
  /** Clock of the proposer. */
  readonly atMs: UnixMs;
  readonly events: readonly StoreEvent[];
  /** The same in the form of the API; a removed object is carried whole, as it was. */
  readonly changes: readonly StoreChange[];
}

/** The difference between two states of one object; undefined when there is none. */
export function eventOf<K extends Kind>(
  kind: K,
  states: { readonly old: Objects[K] | undefined; readonly object: Objects[K] | undefined },
): StoreEvent | undefined {
  const { old, object } = states;
  if (old === object) return undefined;
  // The parts are of one kind; the compiler cannot follow that through the union.
  if (object === undefined) return { kind, action: "remove", object: old, old } as StoreEvent;
  return { kind, action: old === undefined ? "create" : "update", object, old } as StoreEvent;
}

const ACTIONS: Readonly<Record<StoreEvent["action"], StoreChange_Action>> = {
  create: StoreChange_Action.CREATE,
  update: StoreChange_Action.UPDATE,
  remove: StoreChange_Action.REMOVE,
};

/** The event as the API and the log write it. */
export function changeOf(event: StoreEvent): StoreChange {
  return { action: ACTIONS[event.action], object: { $case: event.kind, value: event.object } as StoreChange["object"] };
}

/** An object that came from a log or a snapshot, by its kind, with its parts made whole. */
export type KindAndObject = { readonly [K in Kind]: { readonly kind: K; readonly object: Objects[K] } }[Kind];

export function wholeObject(object: NonNullable<StoreChange["object"]>): KindAndObject {
  switch (object.$case) {
    case "cluster":
      return { kind: "cluster", object: wholeCluster(object.value) };
    case "node":
      return { kind: "node", object: wholeNode(object.value) };
    case "service":
      return { kind: "service", object: wholeService(object.value) };
    case "task":
      return { kind: "task", object: wholeTask(object.value) };
    case "revision":
      return { kind: "revision", object: wholeRevision(object.value) };
    default:
      return never(object);
  }
}
