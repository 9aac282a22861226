// A saved state in one form, whatever the order in which its objects were written: one text per object, sorted.

import { StoreChange, StoreChanges } from "../../proto/gen/control.ts";

export function canonicalState(saved: Uint8Array): readonly string[] {
  return StoreChanges.decode(saved)
    .changes.map((change) => Buffer.from(StoreChange.encode(change).finish()).toString("latin1"))
    .sort();
}
