// Making a task for a slot, and putting one in the place of another. Every way in which a slot gets a task goes through here,
// which is what keeps a slot from having two wanted ones.

import { assert } from "../../proto/base/assert.ts";
import type { UnixMs } from "../../proto/base/clock.ts";
import { Task, TaskStatus } from "../../proto/gen/objects.ts";
import { type WholeService, type WholeTask, wholeTask } from "../../proto/model/objects.ts";
import { TaskState, wantsToRun } from "../../proto/model/task-state.ts";
import { UPDATE_CAUSE, isPaused, isUnderWay } from "../../proto/model/update-plan.ts";
import type { ReadTx, WriteTx } from "../store/tx.ts";
import { isOutdated } from "./outdated.ts";
import { type Slot, isOutOfTheWay, isOver, slotOf } from "./slots.ts";

/** What the maker of a task says of it; the spec is the service's newest. */
export interface NewTaskOptions {
  readonly id: string;
  readonly now: UnixMs;
  /** Before it starts. It is placed and prepared at once. */
  readonly delayMs: number;
  readonly restarts: Pick<WholeTask, "restarts" | "restartedAtMs"> & Partial<Pick<WholeTask, "quickFailures">>;
  /** Task.cause; absent: none. */
  readonly cause?: string;
}

export const NO_RESTARTS: NewTaskOptions["restarts"] = { restarts: 0, restartedAtMs: [] };

/**
 * A task by the service's newest spec. It is wanted READY while it has to wait, for its delay or for another task of the slot to
 * stop; the restart pass raises it then. It does not wait for the one that it `replaces`.
 */
export function newTask(
  tx: ReadTx,
  service: WholeService,
  options: NewTaskOptions & {
    readonly slot: number;
    readonly nodeId?: string;
    readonly replaces?: string;
    /** Of a job; absent: its newest run. */
    readonly jobIteration?: number;
    /** Whose spec it has; absent: the service's newest. */
    readonly like?: WholeTask | undefined;
  },
): WholeTask {
  const { id, slot, nodeId = "", now, delayMs, replaces = "", cause = "", like } = options;
  const others = tx.tasks.bySlot({ serviceId: service.id, slot, nodeId });
  const waits = delayMs > 0 || others.some((task) => task.id !== replaces && !isOutOfTheWay(tx, task));
  const task = Task.create({
    id,
    specVersion: like?.specVersion ?? service.specVersion,
    serviceId: service.id,
    slot,
    nodeId: slot === 0 ? nodeId : "",
    serviceName: service.spec.name,
    serviceLabels: service.spec.labels,
    status: TaskStatus.create({ state: TaskState.NEW, atMs: now, message: "created" }),
    desiredState: waits ? TaskState.READY : TaskState.RUNNING,
    notBeforeMs: delayMs > 0 ? now + delayMs : 0,
    generation: others.reduce((newest, other) => Math.max(newest, other.generation), 0) + 1,
    ...options.restarts,
    replaces,
    cause,
    jobIteration: options.jobIteration ?? service.jobStatus?.iteration ?? 0,
  });
  return wholeTask({ ...task, spec: like?.spec ?? service.spec.task });
}

/** Of a replacement: `startFirst` lets a running task run until its successor does, else it is stopped at once. */
export interface ReplaceOptions extends NewTaskOptions {
  readonly limit: number;
  readonly startFirst?: boolean;
}

/**
 * Makes another task in the slot of `old`, which is stopped at once or, start-first, when its successor runs. One whose successor
 * is there already is only stopped, and so is a successor that is not wanted any more while the task before it is. False when the
 * transaction has no room.
 */
export function replaceTask(
  tx: WriteTx,
  pair: { readonly old: WholeTask; readonly service: WholeService },
  options: ReplaceOptions,
): boolean {
  const { old, service } = pair;
  const slot = slotOf(tx, old);
  if (slot?.outgoing?.id === old.id || (slot !== undefined && isReturning(slot, service)))
    return stopTask(tx, old, options.limit);
  const runsOn = options.startFirst === true && isServing(old);
  if (!tx.fits(options.limit, [old, { ...old, id: options.id }])) return false;
  if (!runsOn) stopTask(tx, old, options.limit);
  const replaces = runsOn ? old.id : (slot?.outgoing?.id ?? "");
  const like = isHeldBack(old, service) && options.cause !== UPDATE_CAUSE ? old : undefined;
  const cause = options.cause ?? causeOf(old, service);
  const { slot: number, nodeId, jobIteration } = old;
  const fresh = newTask(tx, service, { ...options, slot: number, nodeId, jobIteration, replaces, like, cause });
  assert(
    !tx.tasks.bySlot(fresh).some((task) => wantsToRun(task.desiredState) && task.id !== replaces),
    `slot ${fresh.slot} of service ${service.spec.name} has no wanted task when it gets one`,
  );
  tx.tasks.create(fresh);
  return true;
}

/**
 * Does a person hold the newest spec back from the slot of this task? Who follows it for another reason is what it was: neither a
 * paused update nor a canary goes on by a crash or the loss of a node.
 */
function isHeldBack(task: WholeTask, service: WholeService): boolean {
  const { updateStatus: status } = service;
  const isWaiting = isPaused(status) || (status !== undefined && status.canary > 0);
  return isWaiting && isOutdated(task, service);
}

/** Whoever brings a slot to the newest spec while an update is under way does the update's work, and is watched as its own. */
function causeOf(old: WholeTask, service: WholeService): string {
  return isUnderWay(service.updateStatus) && isOutdated(old, service) ? UPDATE_CAUSE : "";
}

/** Is the successor unwanted and the task before it, which runs on, what the service asks for? */
export function isReturning({ current, outgoing }: Slot, service: WholeService): boolean {
  if (outgoing === undefined || !isServing(outgoing)) return false;
  return isOutdated(current, service) && !isOutdated(outgoing, service);
}

/** Does it run, and is it meant to? */
export function isServing(task: WholeTask): boolean {
  return task.status.state === TaskState.RUNNING && wantsToRun(task.desiredState);
}

/** The task is no longer wanted. False when the transaction has no room. */
export function stopTask(tx: WriteTx, task: WholeTask, limit: number): boolean {
  if (task.desiredState >= TaskState.SHUTDOWN) return true;
  const stopped = { ...task, desiredState: TaskState.SHUTDOWN };
  if (!tx.fits(limit, [stopped])) return false;
  tx.tasks.update(stopped);
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
