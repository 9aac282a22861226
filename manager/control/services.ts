// Services: create, list, remove, history. Specs are checked before anything is written; names are unique among services that
// are not being removed. Updates are in update-service.ts.

import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import type {
  CreateServiceRequest,
  CreateServiceResponse,
  ListRequest,
  ListRevisionsResponse,
  ListServicesResponse,
  RefRequest,
  RemoveResponse,
  UpdateServiceRequest,
} from "../../proto/gen/control.ts";
import { Service } from "../../proto/gen/objects.ts";
import { newId } from "../../proto/model/ids.ts";
import { type WholeService, type WholeServiceSpec, wholeService, wholeServiceSpec } from "../../proto/model/objects.ts";
import { SERVICE_MODES, modeOf, replicasOf } from "../../proto/model/service-mode.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import { addRevision, revisionsOf } from "../store/revisions.ts";
import type { Store } from "../store/store.ts";
import type { ReadTx } from "../store/tx.ts";
import { authorOf } from "./author.ts";
import { type FilterTable, compileFilters, hasLabel, oneOf } from "./filters.ts";
import type { MemberFacts } from "./members.ts";
import { resolve } from "./resolve.ts";
import { serviceWithCounts } from "./service-counts.ts";
import { compareText } from "./text.ts";
import { validateServiceSpec } from "./validate-service.ts";
import { refused } from "./validate.ts";

export interface ServiceDeps {
  readonly store: Store;
  readonly random: Random;
  /** The group of managers at this moment. */
  readonly members: () => readonly MemberFacts[];
}

/** Throws InvalidArgument for a spec that cannot be, AlreadyExists for a name that is taken. */
export async function createService(
  deps: ServiceDeps,
  request: CreateServiceRequest,
  context: CallContext,
): Promise<CreateServiceResponse> {
  const spec = checkedSpec(request);
  const id = newId(deps.random);
  const revisionId = newId(deps.random);
  await deps.store.update((tx) => {
    if (tx.services.byName(spec.name).some(isLive))
      throw new SwarmError(
        "AlreadyExists",
        `name conflicts with an existing object: service ${spec.name} already exists`,
      );
    const author = authorOf(tx, context, deps.members());
    const service = wholeService(Service.create({ id, spec, specVersion: 1 }));
    tx.services.create(addRevision(tx, service, { id: revisionId, author, action: "create" }));
  });
  return { service: findService(deps.store.view(), id), warnings: warningsOf(spec) };
}

export function listServices(view: ReadTx, { filters }: ListRequest): ListServicesResponse {
  const services = live(view).filter(compileFilters(filters, FILTERS));
  services.sort((a, b) => compareText(a.spec.name, b.spec.name));
  return { services: services.map((service) => serviceWithCounts(view, service)) };
}

/** What the service was asked to be, the newest first. */
export function listRevisions(view: ReadTx, { ref }: RefRequest): ListRevisionsResponse {
  return { revisions: [...revisionsOf(view, findService(view, ref).id)] };
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

/** Marks it; its tasks are shut down, then the object goes. */
export async function removeService({ store }: ServiceDeps, { ref }: RefRequest): Promise<RemoveResponse> {
  const { id } = findService(store.view(), ref);
  await store.update((tx) => {
    tx.services.update({ ...findService(tx, id), pendingDelete: true });
  });
  return { id };
}

/** Throws InvalidArgument for a spec that cannot be. */
export function checkedSpec(request: CreateServiceRequest | UpdateServiceRequest): WholeServiceSpec {
  if (request.spec === undefined) throw refused("spec", "a service needs a spec");
  const spec = wholeServiceSpec(request.spec);
  validateServiceSpec(spec);
  return spec;
}

/** What is allowed and may surprise. */
export function warningsOf(spec: WholeServiceSpec): string[] {
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

const FILTERS: FilterTable<WholeService> = {
  id: (value) => (service) => service.id.startsWith(value),
  label: (value) => (service) => hasLabel(service.spec.labels, value),
  mode: oneOf("mode", SERVICE_MODES, (service) => modeOf(service.spec)),
  name: (value) => (service) => service.spec.name.startsWith(value),
};
