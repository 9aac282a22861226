// A transaction as the log keeps it: whole objects, and of removed ones no more than the id.

import { never } from "../../proto/base/assert.ts";
import type { UnixMs } from "../../proto/base/clock.ts";
import { type StoreChange, StoreChange_Action, type StoreChanges } from "../../proto/gen/control.ts";
import { Cluster, Node, Revision, Service, Task } from "../../proto/gen/objects.ts";
import { type StoreEvent, changeOf } from "./events.ts";
import type { Kind } from "./tables.ts";

export function logChanges(events: readonly StoreEvent[], atMs: UnixMs): StoreChanges {
  const changes = events.map((event): StoreChange => {
    if (event.action !== "remove") return changeOf(event);
    return { action: StoreChange_Action.REMOVE, object: bare(event.kind, event.object.id) };
  });
  return { changes, atMs };
}

function bare(kind: Kind, id: string): StoreChange["object"] {
  switch (kind) {
    case "cluster":
      return { $case: kind, value: Cluster.create({ id }) };
    case "node":
      return { $case: kind, value: Node.create({ id }) };
    case "service":
      return { $case: kind, value: Service.create({ id }) };
    case "task":
      return { $case: kind, value: Task.create({ id }) };
    case "revision":
      return { $case: kind, value: Revision.create({ id }) };
    default:
      return never(kind);
  }
}
