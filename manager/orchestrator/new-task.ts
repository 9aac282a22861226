// Making a task for a slot, and putting one in the place of another. Every way in which a slot gets a task goes through here,
// which is what keeps a slot from having two wanted ones.

import { assert } from "../../proto/base/assert.ts";
import type { UnixMs } from "../../proto/base/clock.ts";
import { Task, TaskStatus } from "../../proto/gen/objects.ts";
import { type WholeService, type WholeTask, wholeTask } from "../../proto/model/objects.ts";
import { TaskState, wantsToRun } from "../../proto/model/task-state.ts";
import type { ReadTx, WriteTx } from "../store/tx.ts";
import { isOutOfTheWay, isOver } from "./slots.ts";

export interface NewTaskOptions {
  readonly id: string;
  readonly slot: number;
  readonly now: UnixMs;
  /** Before it starts. It is placed and prepared at once. */
  readonly delayMs: number;
  readonly restarts: Pick<WholeTask, "restarts" | "restartedAtMs">;
}

export const NO_RESTARTS: NewTaskOptions["restarts"] = { restarts: 0, restartedAtMs: [] };

/**
 * A task by the service's newest spec. It is wanted READY while it has to wait, for its delay or for another task of the slot to
 * stop; the restart pass raises it then.
 */
export function newTask(tx: ReadTx, service: WholeService, options: NewTaskOptions): WholeTask {
  const { id, slot, now, delayMs } = options;
  const others = tx.tasks.bySlot({ serviceId: service.id, slot });
  const waits = delayMs > 0 || others.some((task) => !isOutOfTheWay(tx, task));
  const task = Task.create({
    id,
    specVersion: service.specVersion,
    serviceId: service.id,
    slot,
    serviceName: service.spec.name,
    serviceLabels: service.spec.labels,
    status: TaskStatus.create({ state: TaskState.NEW, atMs: now, message: "created" }),
    desiredState: waits ? TaskState.READY : TaskState.RUNNING,
    notBeforeMs: delayMs > 0 ? now + delayMs : 0,
    generation: others.reduce((newest, other) => Math.max(newest, other.generation), 0) + 1,
    ...options.restarts,
  });
  return wholeTask({ ...task, spec: service.spec.task });
}

/** Stops `old`, if it is not stopped, and makes another task in its slot. False when the transaction has no room for both. */
export function replaceTask(
  tx: WriteTx,
  pair: { readonly old: WholeTask; readonly service: WholeService },
  options: Omit<NewTaskOptions, "slot"> & { readonly limit: number },
): boolean {
  const { old, service } = pair;
  const stopped = { ...old, desiredState: Math.max(old.desiredState, TaskState.SHUTDOWN) as TaskState };
  if (!tx.fits(options.limit, [stopped, { ...stopped, id: options.id }])) return false;
  if (stopped.desiredState !== old.desiredState) tx.tasks.update(stopped);
  const fresh = newTask(tx, service, { ...options, slot: old.slot });
  assert(
    !tx.tasks.bySlot(fresh).some((task) => wantsToRun(task.desiredState)),
    `slot ${fresh.slot} of service ${service.spec.name} has no wanted task when it gets one`,
  );
  tx.tasks.create(fresh);
  return true;
}

/** Takes a task back for good: it is stopped, and forgotten once it is over. False when the transaction has no room. */
export function removeTask(tx: WriteTx, task: WholeTask, limit: number): boolean {
  if (task.desiredState >= TaskState.REMOVE) return true;
  const removed = { ...task, desiredState: TaskState.REMOVE };
  if (!tx.fits(limit, [removed])) return false;
  if (isOver(tx, removed)) tx.tasks.remove(task.id);
  else tx.tasks.update(removed);
  return true;
}
