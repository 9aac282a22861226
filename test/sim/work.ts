// What the simulated cluster works with: its workers as the store has them, and the people who create, scale, update and remove
// services.

import type { Store } from "../../manager/store/store.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import { Node, NodeStatus, NodeStatus_State, Service } from "../../proto/gen/objects.ts";
import { NodeSpec, ServiceSpec } from "../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeNode, wholeService, wholeServiceSpec } from "../../proto/model/objects.ts";
import { describe } from "./agent.ts";

export const WORKERS: readonly string[] = ["worker-1", "worker-2", "worker-3"];
const SERVICES = ["s1", "s2", "s3"];

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

/** One thing that a person does to a service. */
export async function changeService(store: Store, random: Random): Promise<void> {
  const id = SERVICES[random.int(0, SERVICES.length)] ?? "s1";
  const what = random.float();
  const replicas = random.int(0, 6);
  await tolerating(
    store.update((tx) => {
      const service = tx.services.get(id);
      if (service === undefined) {
        tx.services.create(wholeService(Service.create({ id, spec: specOf(id, replicas), specVersion: 1 })));
        return;
      }
      if (service.pendingDelete) return;
      if (what < 0.15) {
        tx.services.update({ ...service, pendingDelete: true });
        return;
      }
      if (what < 0.6) {
        tx.services.update({
          ...service,
          spec: { ...service.spec, mode: { $case: "replicated", value: { replicas } } },
        });
        return;
      }
      const container = { ...service.spec.task.container, image: `image:${replicas}` };
      const spec = { ...service.spec, task: { ...service.spec.task, container } };
      tx.services.update({ ...service, spec, specVersion: service.specVersion + 1, updateStatus: undefined });
    }),
  );
}

function specOf(name: string, replicas: number): WholeServiceSpec {
  const base = wholeServiceSpec(ServiceSpec.create({ name }));
  return { ...base, mode: { $case: "replicated", value: { replicas } } };
}

/** What the log did not take is tried again another time. */
async function tolerating(update: Promise<unknown>): Promise<void> {
  try {
    await update;
  } catch (error) {
    if (!(error instanceof SwarmError)) throw error;
  }
}
