// What this machine runs containers with, cluster or not: the runtime, the images, the network and the executor over them.

import { hostname } from "node:os";
import { join } from "node:path";
import { ContainerExecutor, ImageStore, NodeNetwork, createCompose, describeNode } from "../../agent/index.ts";
import { openContainerRuntime } from "../../native/index.ts";
import type { Clock } from "../../proto/base/clock.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import type { NodeDescription } from "../../proto/gen/objects.ts";
import { VERSION } from "../version.ts";
import type { DaemonOptions } from "./options.ts";

export interface Surroundings {
  readonly options: DaemonOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface Machine {
  readonly images: ImageStore;
  readonly network: NodeNetwork;
  readonly executor: ContainerExecutor;
  readonly describe: () => Promise<NodeDescription>;
}

export async function openMachine(surroundings: Surroundings, signal: AbortSignal): Promise<Machine> {
  const { options, clock, random, logger } = surroundings;
  const { stateDir, runDir, cgroupParent } = options;
  const nodeHostname = hostname();
  const describe = (): Promise<NodeDescription> =>
    describeNode({
      hostname: nodeHostname,
      engineVersion: VERSION,
      engineLabels: options.labels,
      genericResources: options.genericResources,
    });
  const network = new NodeNetwork({ dir: join(stateDir, "network"), clock, logger: logger.child("network") });
  // The store asks the executor which images are in use, and the executor asks the store for images.
  const images: ImageStore = new ImageStore({
    dir: join(stateDir, "images"),
    clock,
    random,
    logger: logger.child("images"),
    inUse: () => executor.imagesInUse(),
  });
  const executor: ContainerExecutor = new ContainerExecutor({
    runtime: openContainerRuntime({ clock }),
    images: { resolve: (ref) => images.resolve(ref) },
    network: {
      reserve: ({ containerId, ports }) => network.reserve({ taskId: containerId, ports }),
      attach: ({ containerId, pid }, until) => network.attach(containerId, pid, until),
      withdraw: (containerId, until) => network.withdraw(containerId, until),
      detach: (containerId, until) => network.detach(containerId, until),
      reconcile: (containerIds, until) => network.reconcile(containerIds, until),
    },
    dir: join(stateDir, "containers"),
    runDir: join(runDir, "s"),
    cgroupParent,
    compose: createCompose({ nodeHostname }),
    describe,
    clock,
    logger: logger.child("container"),
  });
  await images.open(signal);
  return { images, network, executor, describe };
}
