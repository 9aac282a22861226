// Services: create, list, update, remove. Specs are checked before anything is written; names are unique among services that
// are not being removed; an update names the version it was made from.

import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import type {
  CreateServiceRequest,
  CreateServiceResponse,
  ListRequest,
  ListServicesResponse,
  RefRequest,
  RemoveResponse,
  ServiceWithCounts,
  UpdateServiceRequest,
  UpdateServiceResponse,
} from "../../proto/gen/control.ts";
import { NodeStatus_State, Service } from "../../proto/gen/objects.ts";
import { newId } from "../../proto/model/ids.ts";
import {
  type WholeService,
  type WholeServiceSpec,
  type WholeTask,
  wholeService,
  wholeServiceSpec,
} from "../../proto/model/objects.ts";
import { replicasOf } from "../../proto/model/service-mode.ts";
import { TaskState, wantsToRun } from "../../proto/model/task-state.ts";
import type { Store } from "../store/store.ts";
import type { ReadTx } from "../store/tx.ts";
import { equalValues } from "./equal.ts";
import { type FilterTable, compileFilters, hasLabel, oneOf } from "./filters.ts";
import { resolve } from "./resolve.ts";
import { compareText } from "./text.ts";
import { validateServiceSpec } from "./validate-service.ts";
import { refused } from "./validate.ts";
import { checkVersion } from "./versions.ts";

export interface ServiceDeps {
  readonly store: Store;
  readonly random: Random;
}

/** Throws InvalidArgument for a spec that cannot be, AlreadyExists for a name that is taken. */
export async function createService(deps: ServiceDeps, request: CreateServiceRequest): Promise<CreateServiceResponse> {
  const spec = checkedSpec(request);
  const id = newId(deps.random);
  await deps.store.update((tx) => {
    if (tx.services.byName(spec.name).some(isLive))
      throw new SwarmError(
        "AlreadyExists",
        `name conflicts with an existing object: service ${spec.name} already exists`,
      );
    tx.services.create(wholeService(Service.create({ id, spec, specVersion: 1 })));
  });
  return { service: findService(deps.store.view(), id), warnings: warningsOf(spec) };
}

export function listServices(view: ReadTx, { filters }: ListRequest): ListServicesResponse {
  const services = live(view).filter(compileFilters(filters, FILTERS));
  services.sort((a, b) => compareText(a.spec.name, b.spec.name));
  return { services: services.map((service) => withCounts(view, service)) };
}

/** A service by its id, the beginning of one or its name; one that is being removed is not found. */
export function findService(view: ReadTx, ref: string): WholeService {
  return resolve(ref, {
    noun: "service",
    byId: (id) => [view.services.get(id)].find(isLive),
    byName: (name) => view.services.byName(name).filter(isLive),
    all: () => live(view),
  });
}

/** Throws OutOfSequence for a stale version; the name and the mode stay. The spec before is kept. */
export async function updateService(deps: ServiceDeps, request: UpdateServiceRequest): Promise<UpdateServiceResponse> {
  const spec = checkedSpec(request);
  const { id } = findService(deps.store.view(), request.id);
  await deps.store.update((tx) => {
    const service = findService(tx, id);
    checkVersion({ found: service.meta.version, asked: request.version });
    if (spec.name !== service.spec.name)
      throw refused("name", `renaming services is not supported: service ${service.spec.name} keeps its name`);
    const { task, endpoint } = service.spec;
    const sameTasks = equalValues(task, spec.task) && equalValues(endpoint.ports, spec.endpoint.ports);
    tx.services.update({
      ...service,
      // An unchanged template stays the same object: tasks made from it need no look.
      spec: sameTasks ? { ...spec, task, endpoint } : spec,
      previousSpec: service.spec,
      specVersion: sameTasks ? service.specVersion : service.specVersion + 1,
      updateStatus: sameTasks ? service.updateStatus : undefined,
    });
  });
  return { service: findService(deps.store.view(), id), warnings: warningsOf(spec) };
}

/** Marks it; its tasks are shut down, then the object goes. */
export async function removeService({ store }: ServiceDeps, { ref }: RefRequest): Promise<RemoveResponse> {
  const { id } = findService(store.view(), ref);
  await store.update((tx) => {
    tx.services.update({ ...findService(tx, id), pendingDelete: true });
  });
  return { id };
}

function checkedSpec(request: CreateServiceRequest | UpdateServiceRequest): WholeServiceSpec {
  if (request.spec === undefined) throw refused("spec", "a service needs a spec");
  const spec = wholeServiceSpec(request.spec);
  validateServiceSpec(spec);
  return spec;
}

/** What is allowed and may surprise. */
function warningsOf(spec: WholeServiceSpec): string[] {
  const fixed = spec.endpoint.ports.filter((port) => port.publishedPort !== 0);
  const replicas = replicasOf(spec) ?? 0;
  if (fixed.length === 0 || replicas < 2) return [];
  const ports = fixed.map((port) => port.publishedPort).join(", ");
  return [`published port ${ports} in mode host: a node runs at most one of the ${replicas} replicas`];
}

function live(view: ReadTx): WholeService[] {
  return [...view.services.all()].filter(isLive);
}

function isLive(service: WholeService | undefined): service is WholeService {
  return service !== undefined && !service.pendingDelete;
}

function withCounts(view: ReadTx, service: WholeService): ServiceWithCounts {
  const tasks = [...view.tasks.byService(service.id)];
  return {
    service,
    runningTasks: tasks.filter((task) => isServing(view, task)).length,
    desiredTasks: replicasOf(service.spec) ?? 0,
  };
}

/** Runs, is meant to, and on a node that is not known to be down. */
function isServing(view: ReadTx, task: WholeTask): boolean {
  if (task.status.state !== TaskState.RUNNING || !wantsToRun(task.desiredState)) return false;
  return view.nodes.get(task.nodeId)?.status.state !== NodeStatus_State.DOWN;
}

const FILTERS: FilterTable<WholeService> = {
  id: (value) => (service) => service.id.startsWith(value),
  label: (value) => (service) => hasLabel(service.spec.labels, value),
  mode: oneOf("mode", ["replicated"], (service) => service.spec.mode.$case),
  name: (value) => (service) => service.spec.name.startsWith(value),
};
