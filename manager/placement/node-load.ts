// What is known of a node for placing tasks: what it has, and what the tasks on it take. Every task that a node was given and that
// has not ended counts, wanted or not: a stopping one still holds its memory and its ports.

import type { UnixMs } from "../../proto/base/clock.ts";
import type { GenericResource, PortConfig } from "../../proto/gen/specs.ts";
import { PortConfig_PublishMode } from "../../proto/gen/specs.ts";
import { type Affinity, concerns, parseAffinity } from "../../proto/model/affinity.ts";
import type { WholeNode, WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { GenericLoad } from "./generic-load.ts";

/** A node where tasks of a service failed this often within this time is the last choice for it (SwarmKit). */
const FAILURES_MAX = 5;
const FAILURES_WINDOW_MS = 300_000;

interface ServiceLoad {
  /** Wanted tasks. */
  tasks: number;
  /** The newest one: it says how the service is called and labelled. */
  sample: WholeTask;
  /** When tasks failed on this node, by their ids; the history that is kept is short. */
  readonly failedAtMs: Map<string, UnixMs>;
}

/** How much there is of something, and how much of it is not reserved. */
export interface Room {
  readonly total: number;
  readonly free: number;
}

export class NodeLoad {
  readonly node: WholeNode;
  /** What is counted, by id. Invariant: every sum below is over exactly these. */
  readonly #counted = new Map<string, WholeTask>();
  readonly #services = new Map<string, ServiceLoad>();
  /** "8080/0": published port and protocol, mode host; and the tasks that hold it, one unless something went wrong. */
  readonly #ports = new Map<string, Set<string>>();
  readonly #generic: GenericLoad;
  /** Affinities of its tasks that keep others away, and how many tasks have each. */
  readonly #repelled = new Map<string, { readonly affinity: Affinity; tasks: number }>();
  #tasks = 0;
  /** Billionths of a CPU, and bytes. */
  #nanoCpus = 0;
  #memoryBytes = 0;

  constructor(node: WholeNode, tasks: readonly WholeTask[]) {
    this.node = node;
    this.#generic = new GenericLoad(node.description.resources?.generic ?? []);
    for (const task of tasks) this.put(task);
  }

  /** Wanted tasks. */
  get tasks(): number {
    return this.#tasks;
  }

  get cpus(): Room {
    return roomOf(this.node.description.resources?.nanoCpus, this.#nanoCpus);
  }

  get memory(): Room {
    return roomOf(this.node.description.resources?.memoryBytes, this.#memoryBytes);
  }

  /** The larger of the reserved shares of its CPUs and its memory; 0 to 1. */
  get fullness(): number {
    const { resources } = this.node.description;
    return Math.max(
      shareOf(resources?.nanoCpus ?? 0, { reserved: this.#nanoCpus }),
      shareOf(resources?.memoryBytes ?? 0, { reserved: this.#memoryBytes }),
    );
  }

  generic(kind: string): Room {
    return { total: this.#generic.total(kind), free: this.#generic.free(kind) };
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
    const before = this.#counted.get(task.id);
    if (before !== undefined) {
      if (countsLike(before, task)) {
        this.#counted.set(task.id, task);
        return;
      }
      this.drop(task.id);
    }
    if (task.status.state < TaskState.ASSIGNED) return;
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
    const { nanoCpus, memoryBytes, generic } = reservations;
    return (
      (nanoCpus === 0 || nanoCpus <= this.cpus.free) &&
      (memoryBytes === 0 || memoryBytes <= this.memory.free) &&
      (generic.length === 0 || this.#generic.hasFree(generic))
    );
  }

  /** Which of the generic resources that it asks for the task would be given here. There must be room. */
  chooseGeneric({ spec: { reservations } }: WholeTask): readonly GenericResource[] {
    return reservations.generic.length === 0 ? reservations.generic : this.#generic.choose(reservations.generic);
  }

  hasPortsFor({ ports }: WholeTask): boolean {
    return !ports.some((port) => this.holderOf(port) !== undefined);
  }

  /** Id of a task that has the port, where only one of a node can have it. */
  holderOf(port: PortConfig): string | undefined {
    if (!isFixedPort(port)) return undefined;
    for (const id of this.#ports.get(portKey(port)) ?? []) return id;
    return undefined;
  }

  task(id: string): WholeTask | undefined {
    return this.#counted.get(id);
  }

  /** A wanted task that the affinity speaks of. */
  companion(affinity: Affinity): WholeTask | undefined {
    for (const { tasks, sample } of this.#services.values()) if (tasks > 0 && concerns(affinity, sample)) return sample;
    return undefined;
  }

  /** An affinity of a task here that keeps this one away. */
  repelling(task: WholeTask): Affinity | undefined {
    for (const { affinity } of this.#repelled.values()) if (concerns(affinity, task)) return affinity;
    return undefined;
  }

  #count(task: WholeTask, by: 1 | -1): void {
    const { state, atMs } = task.status;
    const service = this.#service(task);
    if (isEnded(state)) {
      if (by < 0) service.failedAtMs.delete(task.id);
      else if (state === TaskState.FAILED || state === TaskState.REJECTED) service.failedAtMs.set(task.id, atMs);
    } else {
      this.#nanoCpus += by * task.spec.reservations.nanoCpus;
      this.#memoryBytes += by * task.spec.reservations.memoryBytes;
      this.#generic.count(task.generic, by);
      this.#countPorts(task, by);
      if (wantsToRun(task.desiredState)) {
        this.#tasks += by;
        service.tasks += by;
        this.#countRepelled(task, by);
      }
    }
    if (service.tasks === 0 && service.failedAtMs.size === 0) this.#services.delete(task.serviceId);
  }

  #countPorts({ id, ports }: WholeTask, by: 1 | -1): void {
    for (const port of ports) {
      if (!isFixedPort(port)) continue;
      const key = portKey(port);
      const holders = this.#ports.get(key) ?? new Set();
      if (by > 0) holders.add(id);
      else holders.delete(id);
      if (holders.size > 0) this.#ports.set(key, holders);
      else this.#ports.delete(key);
    }
  }

  #countRepelled({ spec: { placement } }: WholeTask, by: 1 | -1): void {
    for (const text of placement.affinities) {
      const known = this.#repelled.get(text);
      if (known !== undefined) {
        known.tasks += by;
        if (known.tasks === 0) this.#repelled.delete(text);
        continue;
      }
      const affinity = parseAffinity(text);
      if (!affinity.together) this.#repelled.set(text, { affinity, tasks: 1 });
    }
  }

  #service(task: WholeTask): ServiceLoad {
    const service = this.#services.get(task.serviceId);
    if (service !== undefined) {
      service.sample = task;
      return service;
    }
    const made = { tasks: 0, sample: task, failedAtMs: new Map<string, UnixMs>() };
    this.#services.set(task.serviceId, made);
    return made;
  }
}

/** Is all that is counted of a task as it was? A running task that only goes on is the common case. */
function countsLike(before: WholeTask, after: WholeTask): boolean {
  return (
    wantsToRun(before.desiredState) === wantsToRun(after.desiredState) &&
    !isEnded(before.status.state) &&
    !isEnded(after.status.state) &&
    before.spec === after.spec &&
    before.ports === after.ports &&
    before.generic === after.generic
  );
}

function roomOf(total: number | undefined, reserved: number): Room {
  return { total: total ?? 0, free: Math.max(0, (total ?? 0) - reserved) };
}

/** Not above 1: a node may come to have less than its tasks reserve. */
function shareOf(total: number, { reserved }: { readonly reserved: number }): number {
  return total === 0 ? 0 : Math.min(1, reserved / total);
}

/** A port that only one task of a node can have. */
export function isFixedPort(port: PortConfig): boolean {
  return port.publishMode === PortConfig_PublishMode.HOST && port.publishedPort !== 0;
}

function portKey(port: PortConfig): string {
  return `${port.publishedPort}/${port.protocol}`;
}
