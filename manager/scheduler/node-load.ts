// What the scheduler knows of a node: what it has, and what the tasks on it take. Every task that has not ended counts, wanted or
// not: a stopping one still holds its memory and its ports.

import type { UnixMs } from "../../proto/base/clock.ts";
import { type PortConfig, PortConfig_PublishMode } from "../../proto/gen/specs.ts";
import type { WholeNode, WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";

/** A node where tasks of a service failed this often within this time is the last choice for it (SwarmKit). */
const FAILURES_MAX = 5;
const FAILURES_WINDOW_MS = 300_000;

interface ServiceLoad {
  /** Wanted tasks. */
  tasks: number;
  /** When tasks failed on this node; the history that is kept is short. */
  readonly failedAtMs: UnixMs[];
}

export class NodeLoad {
  readonly node: WholeNode;
  readonly #services = new Map<string, ServiceLoad>();
  /** "8080/0": published port and protocol, mode host. */
  readonly #ports = new Set<string>();
  #tasks = 0;
  /** Billionths of a CPU, and bytes. */
  #nanoCpus = 0;
  #memoryBytes = 0;

  constructor(node: WholeNode, tasks: readonly WholeTask[]) {
    this.node = node;
    for (const task of tasks) this.add(task);
  }

  /** Wanted tasks. */
  get tasks(): number {
    return this.#tasks;
  }

  tasksOf(serviceId: string): number {
    return this.#services.get(serviceId)?.tasks ?? 0;
  }

  isFaulty(serviceId: string, now: UnixMs): boolean {
    const failed = this.#services.get(serviceId)?.failedAtMs ?? [];
    return failed.filter((at) => at > now - FAILURES_WINDOW_MS).length >= FAILURES_MAX;
  }

  add(task: WholeTask): void {
    if (isEnded(task.status.state)) {
      if (task.status.state === TaskState.FAILED || task.status.state === TaskState.REJECTED)
        this.#service(task.serviceId).failedAtMs.push(task.status.atMs);
      return;
    }
    this.#nanoCpus += task.spec.reservations.nanoCpus;
    this.#memoryBytes += task.spec.reservations.memoryBytes;
    for (const port of task.ports) if (isFixedPort(port)) this.#ports.add(portKey(port));
    if (!wantsToRun(task.desiredState)) return;
    this.#tasks += 1;
    this.#service(task.serviceId).tasks += 1;
  }

  /** A node that says nothing of its size has no room for reservations. */
  hasRoomFor({ spec: { reservations } }: WholeTask): boolean {
    const { nanoCpus = 0, memoryBytes = 0 } = this.node.description.resources ?? {};
    const cpuFits = reservations.nanoCpus === 0 || this.#nanoCpus + reservations.nanoCpus <= nanoCpus;
    return cpuFits && (reservations.memoryBytes === 0 || this.#memoryBytes + reservations.memoryBytes <= memoryBytes);
  }

  hasPortsFor({ ports }: WholeTask): boolean {
    return !ports.some((port) => isFixedPort(port) && this.#ports.has(portKey(port)));
  }

  #service(id: string): ServiceLoad {
    let service = this.#services.get(id);
    if (service === undefined) this.#services.set(id, (service = { tasks: 0, failedAtMs: [] }));
    return service;
  }
}

/** A port that only one task of a node can have. */
function isFixedPort(port: PortConfig): boolean {
  return port.publishMode === PortConfig_PublishMode.HOST && port.publishedPort !== 0;
}

function portKey(port: PortConfig): string {
  return `${port.publishedPort}/${port.protocol}`;
}
