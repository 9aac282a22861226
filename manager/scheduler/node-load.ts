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
  /** When tasks failed on this node, by their ids; the history that is kept is short. */
  readonly failedAtMs: Map<string, UnixMs>;
}

export class NodeLoad {
  readonly node: WholeNode;
  /** What is counted, by id. Invariant: every sum below is over exactly these. */
  readonly #counted = new Map<string, WholeTask>();
  readonly #services = new Map<string, ServiceLoad>();
  /** "8080/0": published port and protocol, mode host; and how many tasks hold it, one unless something went wrong. */
  readonly #ports = new Map<string, number>();
  #tasks = 0;
  /** Billionths of a CPU, and bytes. */
  #nanoCpus = 0;
  #memoryBytes = 0;

  constructor(node: WholeNode, tasks: readonly WholeTask[]) {
    this.node = node;
    for (const task of tasks) this.put(task);
  }

  /** Wanted tasks. */
  get tasks(): number {
    return this.#tasks;
  }

  tasksOf(serviceId: string): number {
    return this.#services.get(serviceId)?.tasks ?? 0;
  }

  isFaulty(serviceId: string, now: UnixMs): boolean {
    const failed = this.#services.get(serviceId)?.failedAtMs;
    if (failed === undefined || failed.size < FAILURES_MAX) return false;
    return [...failed.values()].filter((at) => at > now - FAILURES_WINDOW_MS).length >= FAILURES_MAX;
  }

  /** Counts a task of this node, or counts it as it is now. */
  put(task: WholeTask): void {
    this.drop(task.id);
    this.#counted.set(task.id, task);
    this.#count(task, 1);
  }

  /** The task is gone; none is fine. */
  drop(id: string): void {
    const task = this.#counted.get(id);
    if (task === undefined) return;
    this.#counted.delete(id);
    this.#count(task, -1);
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

  #count(task: WholeTask, by: 1 | -1): void {
    const { state, atMs } = task.status;
    const service = this.#service(task.serviceId);
    if (isEnded(state)) {
      if (by < 0) service.failedAtMs.delete(task.id);
      else if (state === TaskState.FAILED || state === TaskState.REJECTED) service.failedAtMs.set(task.id, atMs);
      return;
    }
    this.#nanoCpus += by * task.spec.reservations.nanoCpus;
    this.#memoryBytes += by * task.spec.reservations.memoryBytes;
    for (const port of task.ports) {
      if (!isFixedPort(port)) continue;
      const holders = (this.#ports.get(portKey(port)) ?? 0) + by;
      if (holders > 0) this.#ports.set(portKey(port), holders);
      else this.#ports.delete(portKey(port));
    }
    if (!wantsToRun(task.desiredState)) return;
    this.#tasks += by;
    service.tasks += by;
  }

  #service(id: string): ServiceLoad {
    let service = this.#services.get(id);
    if (service === undefined) this.#services.set(id, (service = { tasks: 0, failedAtMs: new Map() }));
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
