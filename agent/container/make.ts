// Makes a task's container, up to the barrier before its program: image, address and ports, files, specification, namespaces,
// wires. What exists so far is told on the way, so that the controller can take it away when a later part fails.

import { join } from "node:path";
import type { Container } from "../../native/index.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { signalNumber } from "../../proto/base/signals.ts";
import type { PortConfig } from "../../proto/gen/specs.ts";
import { PortConfig_PublishMode } from "../../proto/gen/specs.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { LOG_FILE } from "./files.ts";
import { type HealthCheck, healthCheckOf } from "./health-config.ts";
import { writeHealth } from "./health-file.ts";
import type { ContainerImage, ContainerParts } from "./parts.ts";
import { type ContainerRecord, writeRecord } from "./record.ts";

const SIGTERM = 15;
/** Output kept per container; the oldest goes first. */
const LOG_BYTES_MAX = 10_485_760;
const LOG_FILES_MAX = 5;

export interface MakeOptions {
  readonly parts: ContainerParts;
  readonly task: WholeTask;
  readonly id: string;
  /** The container's folder, which exists and is empty. */
  readonly dir: string;
  /** Called whenever there is more to take away. */
  readonly onProgress: (record: ContainerRecord, container: Container | undefined) => void;
}

export interface Made {
  readonly container: Container;
  readonly check: HealthCheck | undefined;
}

/** The container, waiting at the barrier. Rejects with the reason for the user; nothing is taken away then. */
export async function makeContainer(options: MakeOptions, signal: AbortSignal): Promise<Made> {
  const { dir, id, parts, task } = options;
  const spec = task.spec.container;
  const image = await parts.images.resolve(spec.image);
  let record: ContainerRecord = {
    taskId: task.id,
    made: false,
    imageId: image.id,
    stopSignal: stopSignal(task, image),
    addresses: [],
    ports: [],
  };
  const note = async (change: Partial<ContainerRecord>, container?: Container): Promise<void> => {
    record = { ...record, ...change };
    options.onProgress(record, container);
    await writeRecord(dir, record);
  };
  await note({});
  const check = healthCheckOf(image.config.config?.Healthcheck, spec.healthcheck);
  if (check !== undefined) await writeHealth(dir, { check, startedAtMs: 0 });
  const reservation = await parts.network.reserve({ containerId: id, ports: hostPorts(task) }, signal);
  await note({ addresses: reservation.addresses, ports: reservation.ports });
  const { cgroupParent } = parts;
  const hostname = spec.hostname === "" ? id.slice(0, 12) : spec.hostname;
  const { addresses } = reservation;
  const runtimeSpec = await parts.compose({ task, image, containerId: id, cgroupParent, hostname, dir, addresses });
  const container = await parts.runtime.create(
    {
      id,
      dir,
      runDir: parts.runDir,
      spec: runtimeSpec,
      layers: image.layers,
      log: { path: join(dir, LOG_FILE), maxBytes: LOG_BYTES_MAX, maxFiles: LOG_FILES_MAX },
    },
    signal,
  );
  options.onProgress(record, container);
  await parts.network.attach({ containerId: id, pid: container.pid }, signal);
  await note({ made: true }, container);
  return { container, check };
}

/** Ports of the ingress mesh are not this node's to bind for one task. */
function hostPorts(task: WholeTask): readonly PortConfig[] {
  return task.ports.filter((port) => port.publishMode === PortConfig_PublishMode.HOST);
}

/** The service's, else the image's, else TERM. */
function stopSignal(task: WholeTask, image: ContainerImage): number {
  const text = task.spec.container.stopSignal || (image.config.config?.StopSignal ?? "");
  if (text === "") return SIGTERM;
  const number = signalNumber(text);
  if (number === undefined) throw new SwarmError("InvalidArgument", `there is no stop signal "${text}"`);
  return number;
}
