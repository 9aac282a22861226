// A saved state: StoreChanges messages that create every object. Joined they are one such message (protobuf joins repeated
// fields), so that pieces can be made one by one while the manager goes on.

import { StoreChange_Action, StoreChanges } from "../../proto/gen/control.ts";
import type { StoreChange } from "../../proto/gen/control.ts";
import { KINDS, type Kind, type Objects, type Tables } from "./tables.ts";

/** Objects of one piece: a millisecond or two of encoding. */
const PIECE_OBJECTS = 200;

/** Fixed at the call: the objects are frozen, so the lists of them are the state. */
export function savedTables(tables: Tables): Iterable<Uint8Array> {
  return pieces(KINDS.map((kind) => ({ kind, objects: tables.rows[kind].all() })));
}

function* pieces(
  lists: readonly { readonly kind: Kind; readonly objects: readonly Objects[Kind][] }[],
): Generator<Uint8Array, void, undefined> {
  for (const { kind, objects } of lists) {
    for (let from = 0; from < objects.length; from += PIECE_OBJECTS) {
      const changes = objects.slice(from, from + PIECE_OBJECTS).map((value) => ({
        action: StoreChange_Action.CREATE,
        object: { $case: kind, value } as StoreChange["object"],
      }));
      yield StoreChanges.encode({ changes, atMs: 0 }).finish();
    }
  }
}
