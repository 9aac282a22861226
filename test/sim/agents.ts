// The workers of a simulated cluster, faked at the leader's store as the dispatcher would write: each takes its tasks one state on,
// and now and then one fails. And the people who create, scale, update and remove services.

import type { Store } from "../../manager/store/store.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import { Node, NodeDescription, NodeStatus, NodeStatus_State, Service } from "../../proto/gen/objects.ts";
import { NodeSpec, Resources, ServiceSpec } from "../../proto/gen/specs.ts";
import {
  type WholeServiceSpec,
  type WholeTask,
  wholeNode,
  wholeService,
  wholeServiceSpec,
} from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";

const WORKERS = ["worker-1", "worker-2", "worker-3"];
const SERVICES = ["s1", "s2", "s3"];

const STEPS: readonly TaskState[] = [
  TaskState.ASSIGNED,
  TaskState.ACCEPTED,
  TaskState.PREPARING,
  TaskState.READY,
  TaskState.STARTING,
  TaskState.RUNNING,
];

/** Makes the workers. Throws what the store throws. */
export async function createWorkers(store: Store): Promise<void> {
  const resources = Resources.create({ nanoCpus: 8e9, memoryBytes: 8e9 });
  await store.update((tx) => {
    for (const id of WORKERS) {
      if (tx.nodes.get(id) !== undefined) continue;
      const description = { ...NodeDescription.create(), hostname: id, resources };
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

/** What the agents have to say now, in one report. True when there was anything. `mayFail`: some tasks end by themselves. */
export async function report(
  store: Store,
  options: { readonly random: Random; readonly mayFail: boolean },
): Promise<boolean> {
  const { random, mayFail } = options;
  let moved = false;
  await tolerating(
    store.update((tx) => {
      moved = false;
      for (const task of [...tx.tasks.all()].sort((a, b) => (a.id < b.id ? -1 : 1))) {
        if (!WORKERS.includes(task.nodeId)) continue;
        const fails = mayFail && task.status.state === TaskState.RUNNING && random.float() < 0.02;
        const state = fails ? TaskState.FAILED : nextState(task);
        if (state === undefined || tx.changeCount >= 50) continue;
        tx.tasks.update({ ...task, status: { ...task.status, state, atMs: tx.atMs, message: "", error: "" } });
        moved = true;
      }
    }),
  );
  return moved;
}

function nextState(task: WholeTask): TaskState | undefined {
  const { state } = task.status;
  if (isEnded(state) || state < TaskState.ASSIGNED) return undefined;
  if (!wantsToRun(task.desiredState)) return TaskState.SHUTDOWN;
  if (state === TaskState.RUNNING) return undefined;
  if (state === TaskState.READY && task.desiredState === TaskState.READY) return undefined;
  return STEPS[STEPS.indexOf(state) + 1];
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
