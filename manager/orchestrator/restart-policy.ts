// What a restart policy says of a task that ended (SwarmKit's rules). The count of earlier restarts is on the task itself, so
// that a new leader comes to the same answer.

import { type RestartPolicy, RestartPolicy_Condition } from "../../proto/gen/specs.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";

/** Times of restarts that a task carries; a window cannot hold more of them. */
const RESTARTED_MAX = 100;

/** May a task that ended as this one did be followed by another? Looks at the time it ended, so the answer does not change later. */
export function mayRestart(task: WholeTask, policy: RestartPolicy): boolean {
  if (policy.condition === RestartPolicy_Condition.NONE) return false;
  if (policy.condition === RestartPolicy_Condition.ON_FAILURE && task.status.state === TaskState.COMPLETE) return false;
  if (policy.maxAttempts === 0) return true;
  if (policy.windowMs === 0) return task.restarts < policy.maxAttempts;
  const since = task.status.atMs - policy.windowMs;
  // A window with more attempts than are remembered never counts as used up.
  return task.restartedAtMs.filter((at) => at > since).length < policy.maxAttempts;
}

export function restartDelayMs(policy: RestartPolicy): number {
  return policy.delayMs ?? DEFAULTS.restartDelayMs;
}

/** What the next task remembers of restarts, itself included. */
export function afterRestart(
  task: WholeTask,
  options: { readonly policy: RestartPolicy; readonly now: number },
): Pick<WholeTask, "restarts" | "restartedAtMs"> {
  const { policy, now } = options;
  const counted = policy.maxAttempts > 0 && policy.windowMs > 0;
  const recent = task.restartedAtMs.filter((at) => at > now - policy.windowMs);
  return {
    restarts: task.restarts + 1,
    restartedAtMs: counted ? [...recent, now].slice(-RESTARTED_MAX) : [],
  };
}
