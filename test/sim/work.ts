// What the simulated cluster works with: its workers as the store has them, and objects that only take room.

import type { Store } from "../../manager/store/store.ts";
import { Node, NodeStatus, NodeStatus_State } from "../../proto/gen/objects.ts";
import { NodeSpec } from "../../proto/gen/specs.ts";
import { wholeNode } from "../../proto/model/objects.ts";
import { describe } from "./agent.ts";

export const WORKERS: readonly string[] = ["worker-1", "worker-2", "worker-3"];

/** Makes the workers. Throws what the store throws. */
export async function createWorkers(store: Store): Promise<void> {
  await store.update((tx) => {
    for (const id of WORKERS) {
      if (tx.nodes.get(id) !== undefined) continue;
      const description = describe(id);
      const status = NodeStatus.create({ state: NodeStatus_State.READY });
      tx.nodes.create(wholeNode(Node.create({ id, spec: NodeSpec.create(), description, status })));
    }
  });
}

/** A large object that does nothing. Throws what the store throws. */
export async function createBallast(store: Store, place: number): Promise<void> {
  const spec = { ...NodeSpec.create(), labels: { ballast: "b".repeat(40_000) } };
  await store.update((tx) => tx.nodes.create(wholeNode(Node.create({ id: `ballast-${place}`, spec }))));
}
