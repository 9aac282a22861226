// The stored objects with their parts guaranteed. The wire allows every sub-message to be absent; inside the rooms it never
// is: `whole*` is called once where an object comes in (wire, log, snapshot) and fills what is missing with empty parts.

import {
  Cluster,
  Meta,
  Node,
  NodeDescription,
  NodeStatus,
  Revision,
  RootCa,
  Service,
  Task,
  TaskStatus,
} from "../gen/objects.ts";
import {
  ClusterSpec,
  ContainerSpec,
  DisconnectPolicy,
  EndpointSpec,
  NodeSpec,
  Placement,
  Resources,
  RestartPolicy,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from "../gen/specs.ts";

type Whole<T, K extends keyof T> = Omit<T, K> & { readonly [P in K]: NonNullable<T[P]> };

export type WholeTaskSpec = Whole<TaskSpec, "container" | "limits" | "reservations" | "restart" | "placement">;
export type WholeServiceSpec = Omit<
  Whole<ServiceSpec, "endpoint" | "mode" | "update" | "rollback" | "onDisconnect">,
  "task"
> & { readonly task: WholeTaskSpec };
export type WholeService = Omit<Whole<Service, "meta">, "spec" | "previousSpec"> & {
  readonly spec: WholeServiceSpec;
  readonly previousSpec: WholeServiceSpec | undefined;
};
export type WholeTask = Omit<Whole<Task, "meta" | "status">, "spec"> & { readonly spec: WholeTaskSpec };
export type WholeRevision = Omit<Whole<Revision, "meta">, "spec"> & { readonly spec: WholeServiceSpec };
export type WholeNode = Whole<Node, "meta" | "spec" | "description" | "status">;
export type WholeCluster = Whole<Cluster, "meta" | "spec" | "rootCa">;

export function wholeTaskSpec(spec: TaskSpec | undefined): WholeTaskSpec {
  return {
    ...(spec ?? TaskSpec.create()),
    container: spec?.container ?? ContainerSpec.create(),
    limits: spec?.limits ?? Resources.create(),
    reservations: spec?.reservations ?? Resources.create(),
    restart: spec?.restart ?? RestartPolicy.create(),
    placement: spec?.placement ?? Placement.create(),
  };
}

export function wholeServiceSpec(spec: ServiceSpec | undefined): WholeServiceSpec {
  return {
    ...(spec ?? ServiceSpec.create()),
    task: wholeTaskSpec(spec?.task),
    mode: spec?.mode ?? { $case: "replicated", value: { replicas: 1 } },
    endpoint: spec?.endpoint ?? EndpointSpec.create(),
    update: spec?.update ?? UpdateConfig.create(),
    rollback: spec?.rollback ?? UpdateConfig.create(),
    onDisconnect: spec?.onDisconnect ?? DisconnectPolicy.create(),
  };
}

export function wholeService(service: Service): WholeService {
  return {
    ...service,
    meta: service.meta ?? Meta.create(),
    spec: wholeServiceSpec(service.spec),
    previousSpec: service.previousSpec === undefined ? undefined : wholeServiceSpec(service.previousSpec),
  };
}

export function wholeRevision(revision: Revision): WholeRevision {
  return { ...revision, meta: revision.meta ?? Meta.create(), spec: wholeServiceSpec(revision.spec) };
}

export function wholeTask(task: Task): WholeTask {
  return {
    ...task,
    meta: task.meta ?? Meta.create(),
    spec: wholeTaskSpec(task.spec),
    status: task.status ?? TaskStatus.create(),
  };
}

export function wholeNode(node: Node): WholeNode {
  return {
    ...node,
    meta: node.meta ?? Meta.create(),
    spec: node.spec ?? NodeSpec.create(),
    description: node.description ?? NodeDescription.create(),
    status: node.status ?? NodeStatus.create(),
  };
}

export function wholeCluster(cluster: Cluster): WholeCluster {
  return {
    ...cluster,
    meta: cluster.meta ?? Meta.create(),
    spec: cluster.spec ?? ClusterSpec.create(),
    rootCa: cluster.rootCa ?? RootCa.create(),
  };
}
