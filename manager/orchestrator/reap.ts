// Forgets what is over: tasks to be removed that have stopped, tasks told to stop that never had a node, history beyond the
// limit, and at last a service that was asked to go.
//
// `service rm` marks the service, which frees its name at once; its tasks are stopped by the replicated pass, and the object goes
// with the last of them, so that whoever asks why a port is still taken can see it.

import type { UnixMs } from "../../proto/base/clock.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { type Pass, type StepResult, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import { slotKey, slotNamed } from "../store/tables.ts";
import type { ReadTx, WriteTx } from "../store/tx.ts";
import { isOver, wasAssigned } from "./slots.ts";

export class ReapPass implements Pass {
  readonly name = "reap";
  /** Keys of slots. */
  readonly #dirty = new Set<string>();
  readonly #dirtyNodes = new Set<string>();
  readonly #dirtyServices = new Set<string>();
  /** Services whose slots are all dirty: the history limit may have changed. */
  readonly #dirtyAll = new Set<string>();
  #everything = false;

  observe(event: StoreEvent): void {
    if (event.kind === "task") this.#mark(event.object);
    else if (event.kind === "service") this.#dirtyServices.add(event.object.id);
    else if (event.kind === "node") {
      if (event.action === "remove") this.#dirtyNodes.add(event.object.id);
    } else if (event.action === "update") this.#everything = true;
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    if (this.#everything) for (const { id } of tx.services.all()) this.#dirtyAll.add(id);
    this.#everything = false;
    const keep = historyLimit(tx);
    const seen = [
      visit(this.#dirtyAll, (id) => this.#markAll(tx.tasks.byService(id))),
      visit(this.#dirtyNodes, (id) => this.#markAll(tx.tasks.byNode(id))),
      visit(this.#dirty, (key) => this.#slot(tx, key, { keep, limit })),
      visit(this.#dirtyServices, (id) => reapService(tx, id, limit)),
    ];
    return seen.every(Boolean) ? null : now;
  }

  #mark(task: WholeTask): void {
    this.#dirty.add(slotKey(task));
  }

  #markAll(tasks: readonly WholeTask[]): number {
    for (const task of tasks) this.#mark(task);
    return tasks.length;
  }

  #slot(tx: WriteTx, key: string, bounds: { readonly keep: number; readonly limit: number }): StepResult {
    const slot = slotNamed(key);
    const tasks = tx.tasks.bySlot(slot);
    for (const { id } of reapable(tx, tasks, bounds.keep)) {
      if (!tx.fits(bounds.limit, [{ id }])) return "full";
      tx.tasks.remove(id);
    }
    this.#dirtyServices.add(slot.serviceId);
    return tasks.length;
  }
}

function historyLimit(tx: ReadTx): number {
  const [cluster] = tx.clusters.all();
  return cluster?.spec.taskHistoryLimit ?? DEFAULTS.taskHistoryLimit;
}

/** `keep` counts all tasks of the slot; the newest stays in any case, for it says whether the slot has had its run. */
function reapable(tx: ReadTx, tasks: readonly WholeTask[], keep: number): readonly WholeTask[] {
  const gone = tasks.filter((task) => !wantsToRun(task.desiredState) && isForgettable(tx, task));
  const rest = tasks.filter((task) => !gone.includes(task)).sort((a, b) => a.generation - b.generation);
  const over = rest.slice(0, -1).filter((task) => isEnded(task.status.state) && !wantsToRun(task.desiredState));
  return [...gone, ...over.slice(0, Math.max(0, rest.length - Math.max(keep, 1)))];
}

function isForgettable(tx: ReadTx, task: WholeTask): boolean {
  if (task.desiredState >= TaskState.REMOVE) return isOver(tx, task);
  // Nobody will ever report on a task that no node had.
  return !wasAssigned(task);
}

function reapService(tx: WriteTx, id: string, limit: number): StepResult {
  if (tx.services.get(id)?.pendingDelete !== true || tx.tasks.byService(id).length > 0) return 1;
  const revisions = tx.revisions.byService(id).map((revision) => ({ id: revision.id }));
  if (!tx.fits(limit, [{ id }, ...revisions])) return "full";
  for (const revision of revisions) tx.revisions.remove(revision.id);
  tx.services.remove(id);
  return 1;
}
