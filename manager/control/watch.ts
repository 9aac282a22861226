// Watching the cluster: the present objects when asked for, then every committed change of the kinds wanted.

import { type StoreChange, StoreChange_Action, type WatchMessage, type WatchRequest } from "../../proto/gen/control.ts";
import { wholeCluster } from "../../proto/model/objects.ts";
import type { CallContext, Caller } from "../../proto/rpc/caller.ts";
import type { Store } from "../store/store.ts";
import type { ReadTx } from "../store/tx.ts";
import { committedChanges } from "./changes.ts";
import { withoutSecrets } from "./cluster.ts";
import { invalid, refused } from "./validate.ts";

type Kind = NonNullable<StoreChange["object"]>["$case"];
const KINDS: readonly Kind[] = ["cluster", "node", "service", "task", "revision"];

/** Of one message; a message is read whole by the client. */
const CHANGES_MAX = 500;

/**
 * With `include_present`, the objects of now come first as created, and an empty message marks their end. Throws
 * ResourceExhausted when the reader falls too far behind: it lists and watches again.
 */
export async function* watch(
  store: Store,
  request: WatchRequest,
  { signal, caller }: CallContext,
): AsyncGenerator<WatchMessage, void, undefined> {
  const wants = selection(request);
  const later = committedChanges(store, signal);
  const view = store.view();
  const present = request.includePresent ? presentOf(view).filter(wants) : [];
  const { version } = view;
  for (const changes of portions(present)) yield { changes: changes.map((change) => shown(change, caller)), version };
  if (request.includePresent) yield { changes: [], version };
  for await (const commit of later) {
    for (const changes of portions(commit.changes.filter(wants)))
      yield { changes: changes.map((change) => shown(change, caller)), version: commit.version };
  }
}

function selection({ kinds, serviceId }: WatchRequest): (change: StoreChange) => boolean {
  if (kinds.length > KINDS.length)
    throw refused("kinds", `${kinds.length} kinds were given; there are ${KINDS.length}`);
  kinds.forEach((kind, index) => {
    if (!KINDS.some((known) => known === kind))
      throw invalid({ path: `kinds[${index}]`, value: kind }, `it must be one of ${KINDS.join(", ")}`);
  });
  return ({ object }) => {
    if (object === undefined || (kinds.length > 0 && !kinds.includes(object.$case))) return false;
    if (serviceId === "") return true;
    if (object.$case === "task" || object.$case === "revision") return object.value.serviceId === serviceId;
    return object.$case === "service" && object.value.id === serviceId;
  };
}

function presentOf(view: ReadTx): StoreChange[] {
  const created = (object: StoreChange["object"]): StoreChange => ({ action: StoreChange_Action.CREATE, object });
  return [
    ...[...view.clusters.all()].map((value) => created({ $case: "cluster", value })),
    ...[...view.nodes.all()].map((value) => created({ $case: "node", value })),
    ...[...view.services.all()].map((value) => created({ $case: "service", value })),
    ...[...view.tasks.all()].map((value) => created({ $case: "task", value })),
    ...[...view.revisions.all()].map((value) => created({ $case: "revision", value })),
  ];
}

function shown(change: StoreChange, caller: Caller): StoreChange {
  if (change.object?.$case !== "cluster") return change;
  const value = withoutSecrets(wholeCluster(change.object.value), caller);
  return { ...change, object: { $case: "cluster", value } };
}

function portions(changes: readonly StoreChange[]): StoreChange[][] {
  const parts: StoreChange[][] = [];
  for (let from = 0; from < changes.length; from += CHANGES_MAX) parts.push(changes.slice(from, from + CHANGES_MAX));
  return parts;
}
