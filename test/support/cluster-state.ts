// A store whose log is the memory of one test, and the objects that tests of the manager put into it.

import type { Clock } from "../../proto/base/clock.ts";
import { StoreChanges } from "../../proto/gen/control.ts";
import {
  Cluster,
  Node,
  NodeDescription,
  NodeStatus,
  NodeStatus_State,
  Service,
  Task,
  TaskStatus,
} from "../../proto/gen/objects.ts";
import { ClusterSpec, ContainerSpec, NodeSpec, ServiceSpec, TaskSpec } from "../../proto/gen/specs.ts";
import {
  wholeCluster,
  wholeNode,
  wholeService,
  wholeServiceSpec,
  wholeTask,
  type WholeServiceSpec,
} from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";
import { Store } from "../../manager/store/store.ts";

/** Changes commit on the next turn, after they went through their encoding as on a real log. */
export function memoryStore(clock: Clock): Store {
  let index = 0;
  const store = new Store({ now: () => clock.now() });
  store.attach({
    propose: async (changes, onCommit) => {
      StoreChanges.decode(StoreChanges.encode(changes).finish());
      await Promise.resolve();
      index += 1;
      onCommit(index);
      return { kind: "committed", index };
    },
  });
  return store;
}

export async function addCluster(store: Store, spec: Partial<ClusterSpec> = {}): Promise<void> {
  const rootCa = {
    caKeyPem: Buffer.from("key"),
    caCertPem: Buffer.from("certificate"),
    caDigest: "sha256:00",
    joinTokenWorker: "worker-token",
    joinTokenManager: "manager-token",
  };
  const object = wholeCluster({
    ...Cluster.create(),
    id: "c1",
    spec: { ...ClusterSpec.create(), name: "default", ...spec },
    rootCa,
  });
  await store.update((tx) => tx.clusters.create(object));
}

export async function addNode(store: Store, id: string, change: Partial<Node> = {}): Promise<void> {
  const object = wholeNode({
    ...Node.create(),
    id,
    spec: NodeSpec.create(),
    description: { ...NodeDescription.create(), hostname: `host-${id}` },
    status: { ...NodeStatus.create(), state: NodeStatus_State.READY },
    ...change,
  });
  await store.update((tx) => tx.nodes.create(object));
}

export function webSpec(change: Partial<ContainerSpec> = {}): WholeServiceSpec {
  return wholeServiceSpec({
    ...ServiceSpec.create(),
    name: "web",
    task: { ...TaskSpec.create(), container: { ...ContainerSpec.create(), image: "web:1", ...change } },
    mode: { $case: "replicated", value: { replicas: 3 } },
  });
}

export async function addService(store: Store, id: string, change: Partial<Service> = {}): Promise<void> {
  const object = wholeService({ ...Service.create(), id, spec: webSpec(), specVersion: 1, ...change });
  await store.update((tx) => tx.services.create(object));
}

/** Of service s1, on node n1, running, unless said otherwise. */
export async function addTask(
  store: Store,
  id: string,
  change: Partial<Task> & { readonly state?: TaskState } = {},
): Promise<void> {
  const { state = TaskState.RUNNING, ...rest } = change;
  const object = wholeTask({
    ...Task.create(),
    id,
    spec: webSpec().task,
    serviceId: "s1",
    serviceName: "web",
    slot: 1,
    nodeId: "n1",
    desiredState: TaskState.RUNNING,
    status: { ...TaskStatus.create(), state },
    ...rest,
  });
  await store.update((tx) => tx.tasks.create(object));
}
