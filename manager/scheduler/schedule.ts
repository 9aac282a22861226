// Gives every pending task a node, or says on the task why there is none. Tasks that found none wait until a node, a service or
// another task changes.

import type { UnixMs } from "../../proto/base/clock.ts";
import type { Placement } from "../../proto/gen/specs.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import type { Pass } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import type { ReadTx, WriteTx } from "../store/tx.ts";
import { explain, filtersFor } from "./filters.ts";
import { NodeLoad } from "./node-load.ts";
import { Spread } from "./spread.ts";

/** Tasks that take part in one run; as many groups as that can cost a look at every node. */
const TASKS_MAX = 200;
const LOOKS_MAX = 20_000;

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
}

export class SchedulePass implements Pass {
  readonly name = "schedule";
  /** Tasks to place. */
  readonly #dirty = new Set<string>();
  /** Tasks that found no node. */
  readonly #parked = new Set<string>();
  /** By node id. Events of tasks are counted in; a node that changed is made anew. */
  readonly #loads = new Map<string, NodeLoad>();

  observe(event: StoreEvent): void {
    switch (event.kind) {
      case "task":
        if (event.action === "remove") this.#loads.get(event.object.nodeId)?.drop(event.object.id);
        else this.#loads.get(event.object.nodeId)?.put(event.object);
        this.#task(event.object, event.old);
        break;
      case "node":
        this.#loads.delete(event.object.id);
        this.#unpark();
        break;
      case "service":
        this.#unpark();
        break;
      case "revision":
      case "cluster":
    }
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    if (this.#dirty.size === 0) return null;
    const loads = this.#loadsOf(tx);
    let looks = 0;
    for (const group of this.#groups(tx)) {
      const enough = this.#place(tx, { group, loads }, { now, limit });
      looks += loads.length;
      if (!enough || (looks > LOOKS_MAX && this.#dirty.size > 0)) return now;
    }
    return this.#dirty.size > 0 ? now : null;
  }

  #task(task: WholeTask, old: WholeTask | undefined): void {
    if (task.status.state < TaskState.ASSIGNED && wantsToRun(task.desiredState)) {
      // A note that this pass wrote on a waiting task is no reason to try again.
      const isNote = old?.status.state === task.status.state && old.desiredState === task.desiredState;
      if (!this.#parked.has(task.id) || !isNote) this.#dirty.add(task.id);
    } else {
      this.#dirty.delete(task.id);
      this.#parked.delete(task.id);
    }
    if (isEnded(task.status.state) || !wantsToRun(task.desiredState)) this.#unpark();
  }

  #unpark(): void {
    for (const id of this.#parked) this.#dirty.add(id);
    this.#parked.clear();
  }

  #loadsOf(tx: ReadTx): readonly NodeLoad[] {
    return tx.nodes.all().map((node) => {
      const known = this.#loads.get(node.id);
      if (known?.node === node) return known;
      const load = new NodeLoad(node, tx.tasks.byNode(node.id));
      this.#loads.set(node.id, load);
      return load;
    });
  }

  /** Tasks that may be placed now, those with the same needs together. */
  #groups(tx: ReadTx): Iterable<readonly WholeTask[]> {
    const groups = new Map<string, WholeTask[]>();
    let count = 0;
    for (const id of this.#dirty) {
      const task = tx.tasks.get(id);
      if (task?.status.state !== TaskState.PENDING || !wantsToRun(task.desiredState)) {
        this.#dirty.delete(id);
        continue;
      }
      const key = `${task.serviceId}/${task.specVersion}/${task.ports.map((port) => port.publishedPort).join()}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [task]);
      else group.push(task);
      count += 1;
      if (count >= TASKS_MAX) break;
    }
    return groups.values();
  }

  /** False when the transaction has no more room. */
  #place(
    tx: WriteTx,
    work: { readonly group: readonly WholeTask[]; readonly loads: readonly NodeLoad[] },
    run: Run,
  ): boolean {
    const [first] = work.group;
    if (first === undefined) return true;
    const { serviceId } = first;
    const filters = filtersFor(first, placementOf(tx, first));
    const accepts = (load: NodeLoad): boolean => filters.every((filter) => filter.accepts(load));
    const spread = new Spread(work.loads.filter(accepts), { serviceId, now: run.now });
    let note: string | undefined;
    for (const task of work.group) {
      while (spread.best !== undefined && !accepts(spread.best)) spread.drop();
      const load = spread.best;
      note ??= load === undefined ? explain(filters, work.loads) : undefined;
      const next =
        load !== undefined
          ? assigned(task, load.node.id, run.now)
          : followsLiving(tx, task)
            ? task
            : noted(task, note ?? "");
      if (next !== task) {
        if (!tx.fits(run.limit, [next])) return false;
        tx.tasks.update(next);
      }
      this.#dirty.delete(task.id);
      if (load === undefined) this.#parked.add(task.id);
      else {
        load.put(next);
        spread.taken();
      }
    }
    return true;
  }
}

/** As the service says now: where a task may run changes without another task. */
function placementOf(tx: ReadTx, task: WholeTask): Placement {
  return tx.services.get(task.serviceId)?.spec.task.placement ?? task.spec.placement;
}

/** Its place may be held by the task before it, which is stopping: that is how updates go and nothing to complain about. */
function followsLiving(tx: ReadTx, task: WholeTask): boolean {
  if (task.desiredState !== TaskState.READY) return false;
  return tx.tasks
    .bySlot(task)
    .some((other) => other.status.state >= TaskState.ASSIGNED && !isEnded(other.status.state));
}

function assigned(task: WholeTask, nodeId: string, now: UnixMs): WholeTask {
  const message = "scheduler assigned task to node";
  const status = { ...task.status, state: TaskState.ASSIGNED, atMs: now, message, error: "" };
  return { ...task, nodeId, status };
}

function noted(task: WholeTask, error: string): WholeTask {
  return task.status.error === error ? task : { ...task, status: { ...task.status, error } };
}
