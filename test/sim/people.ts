// What people do in a simulation, by the functions behind the API: they create, scale, update, roll back, pause, let go on and remove
// services of every mode, with images that run, crash, are refused or never come up, and they drain and pause nodes.

import { type ServiceDeps, createService, findService, removeService } from "../../manager/control/services.ts";
import { steerUpdate } from "../../manager/control/steer-update.ts";
import { updateService } from "../../manager/control/update-service.ts";
import type { Store } from "../../manager/store/store.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import { SteerUpdateRequest_Action } from "../../proto/gen/control.ts";
import type { UpdateStatus } from "../../proto/gen/objects.ts";
import {
  NodeSpec_Availability,
  PortConfig,
  PortConfig_PublishMode,
  Resources,
  ServiceSpec,
  UpdateConfig,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
} from "../../proto/gen/specs.ts";
import { type WholeService, type WholeServiceSpec, wholeServiceSpec } from "../../proto/model/objects.ts";
import { isJob } from "../../proto/model/service-mode.ts";
import { isPaused } from "../../proto/model/update-plan.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import { WORKERS } from "./work.ts";

/** Plain; with a port that one task of a node can have, and reservations; one a node; jobs. */
const NAMES = ["plain", "port", "global", "job", "global-job"] as const;
type Name = (typeof NAMES)[number];

const CONTEXT: CallContext = { signal: new AbortController().signal, caller: { kind: "local" } };
const REPLICAS_MAX = 5;
const GOOD_IMAGE = "image:good";

/** What the agent does with an image is said by the beginning of its name. */
const TROUBLES = ["bad", "stuck", "crash"] as const;

export class People {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** One thing that somebody does. What is refused is refused. */
  async act(store: Store): Promise<void> {
    const random = this.#random;
    const name = this.#pick(NAMES);
    const found = store
      .view()
      .services.byName(name)
      .find(({ pendingDelete }) => !pendingDelete);
    const what = random.float();
    await tolerating(async () => {
      if (what < 0.15) await this.#availability(store);
      else if (found === undefined) await createService(this.#deps(store), { spec: this.#spec(name) }, CONTEXT);
      else if (what < 0.22) await removeService(this.#deps(store), { ref: name });
      else if (what < 0.37) await this.#change(store, found, { spec: this.#scaled(found.spec) });
      else if (what < 0.72) {
        const canary = random.float() < 0.2 && !isJob(found.spec) ? random.int(1, 3) : undefined;
        await this.#change(store, found, { spec: this.#renewed(found.spec), canary });
      } else if (what < 0.82) await this.#change(store, found, { rollbackTo: 0 });
      else {
        const action = this.#pick(Object.values(SteerUpdateRequest_Action));
        await steerUpdate(this.#deps(store), { ref: name, action });
      }
    });
  }

  /** Nodes take tasks again, no image is bad, and no update waits for a person: the cluster can come to rest as specified. */
  async mend(store: Store): Promise<void> {
    await store.update((tx) => {
      for (const id of WORKERS) {
        const node = tx.nodes.get(id);
        const spec = node === undefined ? undefined : { ...node.spec, availability: NodeSpec_Availability.ACTIVE };
        if (node !== undefined && spec !== undefined) tx.nodes.update({ ...node, spec });
      }
    });
    for (const service of store.view().services.all()) {
      if (service.pendingDelete || isJob(service.spec) || !needsMending(service)) continue;
      const { task } = service.spec;
      const container = { ...task.container, image: GOOD_IMAGE, env: [`MENDED=${service.specVersion}`] };
      await this.#change(store, service, { spec: { ...service.spec, task: { ...task, container } } });
    }
  }

  #deps(store: Store): ServiceDeps {
    return { store, random: this.#random, members: () => [] };
  }

  async #change(
    store: Store,
    { id }: WholeService,
    change: { readonly spec?: WholeServiceSpec; readonly rollbackTo?: number; readonly canary?: number | undefined },
  ): Promise<void> {
    const { version } = findService(store.view(), id).meta;
    await updateService(
      this.#deps(store),
      { id, version, spec: change.spec, rollbackTo: change.rollbackTo, canary: change.canary },
      CONTEXT,
    );
  }

  async #availability(store: Store): Promise<void> {
    const id = this.#pick(WORKERS);
    const availability = this.#pick(Object.values(NodeSpec_Availability));
    const drainForce = this.#random.float() < 0.5;
    await store.update((tx) => {
      const node = tx.nodes.get(id);
      if (node !== undefined) tx.nodes.update({ ...node, spec: { ...node.spec, availability, drainForce } });
    });
  }

  #spec(name: Name): WholeServiceSpec {
    const base = wholeServiceSpec(ServiceSpec.create({ name }));
    const task = { ...base.task, container: { ...base.task.container, image: "image:1" } };
    const spec = { ...base, task, update: this.#config(), rollback: this.#config() };
    const totalCompletions = this.#random.int(1, REPLICAS_MAX);
    const jobTask = { ...task, container: { ...task.container, image: "job:1" } };
    switch (name) {
      case "plain":
        return this.#scaled(spec);
      case "port": {
        const reservations = { ...Resources.create(), nanoCpus: 5e9, memoryBytes: 1e9 };
        const port = PortConfig.create({ targetPort: 80, publishedPort: 80, publishMode: PortConfig_PublishMode.HOST });
        return this.#scaled({ ...spec, task: { ...task, reservations }, endpoint: { ports: [port] } });
      }
      case "global":
        return { ...spec, mode: { $case: "global", value: {} } };
      case "job": {
        const maxConcurrent = this.#random.int(0, 3);
        const value = { maxConcurrent, totalCompletions, schedule: undefined };
        return { ...base, task: jobTask, mode: { $case: "replicatedJob", value } };
      }
      case "global-job":
        return { ...base, task: jobTask, mode: { $case: "globalJob", value: { schedule: undefined } } };
    }
  }

  #scaled(spec: WholeServiceSpec): WholeServiceSpec {
    const most = spec.endpoint.ports.length > 0 ? WORKERS.length : REPLICAS_MAX;
    const replicas = this.#random.int(0, most + 1);
    return spec.mode.$case === "replicated" ? { ...spec, mode: { $case: "replicated", value: { replicas } } } : spec;
  }

  /** With another image and other rules; of a job another run. */
  #renewed(spec: WholeServiceSpec): WholeServiceSpec {
    const { task } = spec;
    const kind = isJob(spec) ? "job" : this.#random.float() < 0.4 ? this.#pick(TROUBLES) : "image";
    const container = { ...task.container, image: `${kind}:${this.#random.int(1, 1_000)}` };
    const renewed = { ...spec, task: { ...task, container, forceUpdate: task.forceUpdate + 1 } };
    return isJob(spec) ? renewed : { ...renewed, update: this.#config(), rollback: this.#config() };
  }

  #config(): WholeServiceSpec["update"] {
    const random = this.#random;
    return {
      ...UpdateConfig.create(),
      parallelism: random.int(0, 4),
      delayMs: random.float() < 0.5 ? 0 : random.int(1, 1_500),
      monitorMs: random.int(0, 2_000),
      failureAction: this.#pick(Object.values(UpdateConfig_FailureAction)),
      maxFailureRatio: random.float() < 0.5 ? 0 : 0.5,
      order: this.#pick(Object.values(UpdateConfig_Order)),
      progressDeadlineMs: random.int(6_000, 12_000),
    };
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.int(0, from.length)] as T;
  }
}

function needsMending({ spec, updateStatus }: WholeService): boolean {
  return !spec.task.container.image.startsWith("image") || isPaused(updateStatus) || hasCanary(updateStatus);
}

function hasCanary(status: UpdateStatus | undefined): boolean {
  return (status?.canary ?? 0) > 0;
}

/** What the log did not take, or what cannot be, is tried again another time. */
async function tolerating(action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof SwarmError)) throw error;
  }
}
