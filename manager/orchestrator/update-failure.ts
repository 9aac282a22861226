// What counts as a failure of an update: a task that it made ended too soon, or does not run in time. Told from the tasks alone, and
// only of those that the update made itself: what a restart policy does afterwards is not its doing.

import type { UnixMs } from "../../proto/base/clock.ts";
import { printDuration } from "../../proto/base/units.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { taskName } from "../../proto/model/task-name.ts";
import { TaskState, taskStateName, wantsToRun } from "../../proto/model/task-state.ts";
import { UPDATE_CAUSE, type UpdatePlan } from "../../proto/model/update-plan.ts";
import type { Slot } from "./slots.ts";

export interface Failure {
  readonly slot: Slot;
  readonly atMs: UnixMs;
  /** Follows "update paused", "update rolled back" ... */
  readonly reason: string;
}

/** Ends of a task that nobody asked for, and that are not a node's. */
const BY_ITSELF: readonly TaskState[] = [TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED];

/** Did the update to the service's newest spec make the task? */
export function isMade(task: WholeTask, service: WholeService): boolean {
  return task.cause === UPDATE_CAUSE && task.specVersion === service.specVersion;
}

/** The first failure of the slot in this update. */
export function failureOf(
  slot: Slot,
  facts: { readonly service: WholeService; readonly plan: UpdatePlan; readonly now: UnixMs },
): Failure | undefined {
  const { service, plan, now } = facts;
  for (const task of slot.tasks) {
    if (!isMade(task, service)) continue;
    if (endedTooSoon(task, plan.monitorMs)) return { slot, atMs: task.endedAtMs, reason: endedReason(task) };
    const deadline = task.meta.createdAtMs + plan.progressDeadlineMs;
    if (isStuck(task) && now >= deadline) return { slot, atMs: deadline, reason: stuckReason(task, plan) };
  }
  return undefined;
}

function endedTooSoon(task: WholeTask, monitorMs: number): boolean {
  if (!BY_ITSELF.includes(task.status.state)) return false;
  return task.runningAtMs === 0 || task.endedAtMs - task.runningAtMs <= monitorMs;
}

/** Docker's words, and then what docker leaves out. */
function endedReason({ id, status }: WholeTask): string {
  return `due to failure or early termination of task ${id}${status.error === "" ? "" : `: ${status.error}`}`;
}

function isStuck(task: WholeTask): boolean {
  return wantsToRun(task.desiredState) && task.status.state < TaskState.RUNNING;
}

function stuckReason(task: WholeTask, { progressDeadlineMs }: UpdatePlan): string {
  const { error, state } = task.status;
  const why = error === "" ? `it is still ${taskStateName(state)}` : error;
  return `because task ${taskName(task)} (${task.id}) does not run ${printDuration(progressDeadlineMs)} after it was made: ${why}`;
}
