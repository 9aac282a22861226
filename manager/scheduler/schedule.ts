// Gives every pending task a node, or says on the task why there is none. Tasks that found none wait until a node, a service or
// another task changes. How a node is chosen is manager/placement's.

import type { UnixMs } from "../../proto/base/clock.ts";
import type { Placement } from "../../proto/gen/specs.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import type { Pass } from "../pass.ts";
import { type Chooser, askedNodes, chooserFor } from "../placement/choose.ts";
import { type Wish, explain, filtersFor } from "../placement/filters.ts";
import { LoadBook } from "../placement/load-book.ts";
import type { NodeLoad } from "../placement/node-load.ts";
import type { StoreEvent } from "../store/events.ts";
import type { ReadTx, WriteTx } from "../store/tx.ts";
import { type Group, Groups } from "./groups.ts";

/** Tasks that one run looks at, and nodes that it asks for the reasons of those that find none. */
const TASKS_MAX = 200;
const LOOKS_MAX = 10_000;

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
  tasks: number;
  looks: number;
}

export class SchedulePass implements Pass {
  readonly name = "schedule";
  readonly carriesOn = true;
  readonly #groups = new Groups();
  readonly #book = new LoadBook();

  observe(event: StoreEvent): void {
    this.#book.observe(event);
    switch (event.kind) {
      case "task":
        this.#task(event.object, event.action === "remove" ? "removed" : event.old);
        break;
      case "node":
      case "service":
        this.#groups.retry("all");
        break;
      case "revision":
      case "cluster":
    }
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    if (!this.#groups.hasDirty()) return null;
    if (!this.#book.sync(tx)) return now;
    const run: Run = { now, limit, tasks: 0, looks: 0 };
    for (const group of this.#groups.dirty()) {
      if (!this.#place(tx, group, run)) return now;
      this.#groups.clean(group);
      if (run.tasks >= TASKS_MAX || run.looks >= LOOKS_MAX) break;
    }
    return this.#groups.hasDirty() ? now : null;
  }

  #task(task: WholeTask, before: WholeTask | "removed" | undefined): void {
    const isGone = before === "removed";
    if (!isGone && task.status.state < TaskState.ASSIGNED && wantsToRun(task.desiredState)) {
      // A note that this pass wrote on a waiting task is no reason to try again.
      const isNote = before?.status.state === task.status.state && before.desiredState === task.desiredState;
      if (task.status.state === TaskState.PENDING && !(this.#groups.isParked(task) && isNote)) this.#groups.add(task);
      return;
    }
    this.#groups.forget(task.id);
    if (isGone || isEnded(task.status.state) || !wantsToRun(task.desiredState)) this.#groups.retry("all");
    else if (before === undefined || before.status.state < TaskState.ASSIGNED) this.#groups.retry("attracted");
  }

  /** False when it has to go on in another run. */
  #place(tx: WriteTx, group: Group, run: Run): boolean {
    let asked: { readonly wish: Wish; readonly chooser: Chooser; readonly nothing: () => string } | undefined;
    for (const { id, isParked } of idsOf(group)) {
      if (run.tasks >= TASKS_MAX) return false;
      run.tasks += 1;
      const task = tx.tasks.get(id);
      if (task?.status.state !== TaskState.PENDING || !wantsToRun(task.desiredState)) {
        this.#groups.forget(id);
        continue;
      }
      asked ??= this.#ask(tx, task, run);
      const load = asked.chooser.next();
      if (load === undefined) {
        const note = asked.nothing();
        if (isParked && (task.status.error === note || followsLiving(tx, task))) return true;
        // Not the reason that they were told: all of them are told anew.
        if (isParked) this.#groups.unpark(group);
        if (!followsLiving(tx, task) && !this.#write(tx, noted(task, note), run)) return false;
        this.#groups.park(group, id);
        continue;
      }
      const next = assigned(task, load, run.now);
      if (!this.#write(tx, next, run)) return false;
      this.#groups.forget(id);
      this.#book.put(next);
      asked.chooser.taken();
    }
    return true;
  }

  /** Once for all tasks of a group. */
  #ask(
    tx: ReadTx,
    task: WholeTask,
    run: Run,
  ): { readonly wish: Wish; readonly chooser: Chooser; readonly nothing: () => string } {
    const book = this.#book;
    const wish = { task, placement: placementOf(tx, task) };
    const filters = filtersFor(wish);
    let reason: string | undefined;
    const nothing = (): string => {
      if (reason === undefined) {
        reason = explain(filters, askedNodes(book, wish));
        run.looks += task.slot === 0 ? 1 : book.size;
      }
      return reason;
    };
    const chooser = chooserFor({ book, wish, filters, now: run.now });
    run.looks += chooser.looks;
    return { wish, nothing, chooser };
  }

  /** False when the transaction has no more room. */
  #write(tx: WriteTx, task: WholeTask, { limit }: Run): boolean {
    if (tx.tasks.get(task.id) === task) return true;
    if (!tx.fits(limit, [task])) return false;
    tx.tasks.update(task);
    return true;
  }
}

/** First those that nobody looked at, then those that may try again. */
function* idsOf({ waiting, parked }: Group): Generator<{ readonly id: string; readonly isParked: boolean }> {
  for (const id of waiting) yield { id, isParked: false };
  for (const id of parked) yield { id, isParked: true };
  for (const id of waiting) yield { id, isParked: false };
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

function assigned(task: WholeTask, load: NodeLoad, now: UnixMs): WholeTask {
  const message = "scheduler assigned task to node";
  const status = { ...task.status, state: TaskState.ASSIGNED, atMs: now, message, error: "" };
  return { ...task, nodeId: load.node.id, generic: load.chooseGeneric(task), status };
}

function noted(task: WholeTask, error: string): WholeTask {
  return task.status.error === error ? task : { ...task, status: { ...task.status, error } };
}
