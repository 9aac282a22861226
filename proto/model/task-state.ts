// The order of task states and what it means. A task's state only rises; desired state likewise, save that it is the
// manager's to set (SwarmKit, design/task_model).

import { TaskState } from "../gen/objects.ts";

export { TaskState };

const NAMES: Readonly<Record<TaskState, string>> = {
  [TaskState.NEW]: "new",
  [TaskState.PENDING]: "pending",
  [TaskState.ASSIGNED]: "assigned",
  [TaskState.ACCEPTED]: "accepted",
  [TaskState.PREPARING]: "preparing",
  [TaskState.READY]: "ready",
  [TaskState.STARTING]: "starting",
  [TaskState.RUNNING]: "running",
  [TaskState.COMPLETE]: "complete",
  [TaskState.SHUTDOWN]: "shutdown",
  [TaskState.FAILED]: "failed",
  [TaskState.REJECTED]: "rejected",
  [TaskState.REMOVE]: "remove",
  [TaskState.ORPHANED]: "orphaned",
};

/** "running", as Docker's API words it. */
export function taskStateName(state: TaskState): string {
  return NAMES[state];
}

/** True once a task will never run again. */
export function isEnded(state: TaskState): boolean {
  return state > TaskState.RUNNING;
}

/** True while the manager wants the task to run, or to be ready to. */
export function wantsToRun(desired: TaskState): boolean {
  return desired <= TaskState.RUNNING;
}
