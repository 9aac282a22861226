// What a restart policy says of a task that ended (SwarmKit's rules). The count of earlier restarts is on the task itself, so
// that a new leader comes to the same answer.

import { type RestartPolicy, RestartPolicy_Condition } from "../../proto/gen/specs.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";

/** Times of restarts that a task carries; a window cannot hold more of them. */
const RESTARTED_MAX = 100;
/** A task has run well when it ran for so long, and for as long as it had been made to wait. */
const RAN_WELL_MIN_MS = 10_000;
/** Bounds the count's effect; any delay of a millisecond or more has reached every longest delay by then. */
const DOUBLINGS_MAX = 40;
/** Part of a grown delay that the draw may take away. */
const JITTER = 0.25;

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

/** The delay after the first failure. */
function firstDelayMs(policy: RestartPolicy): number {
  return policy.delayMs ?? DEFAULTS.restartDelayMs;
}

/** The longest delay that the policy can lead to: no shorter than its first. */
export function restartDelayMaxMs(policy: RestartPolicy): number {
  const first = firstDelayMs(policy);
  return first === 0 ? 0 : Math.max(first, policy.maxDelayMs ?? DEFAULTS.restartDelayMaxMs);
}

/**
 * How long a task waits to which so many quick failures led: the policy's delay after the first of them, twice that after each
 * further one, up to the longest. A delay that has grown is shortened by up to a quarter, as `draw` from [0, 1) says, so that what
 * fell together does not start together. A delay of 0 does not grow.
 */
export function restartDelayMs(
  policy: RestartPolicy,
  options: { readonly quickFailures: number; readonly draw: number },
): number {
  const first = firstDelayMs(policy);
  const grown = first * 2 ** Math.min(DOUBLINGS_MAX, Math.max(0, options.quickFailures - 1));
  const delayMs = Math.min(grown, restartDelayMaxMs(policy));
  return Math.max(first, Math.round(delayMs * (1 - JITTER * options.draw)));
}

/** The quick failures in a row, this task's end included: 0 when it did what it was asked. */
function quickFailuresWith(task: WholeTask, policy: RestartPolicy): number {
  if (task.status.state === TaskState.COMPLETE) return 0;
  const ranMs = task.runningAtMs === 0 ? 0 : Math.max(0, task.endedAtMs - task.runningAtMs);
  const waitedMs =
    task.quickFailures === 0 ? 0 : restartDelayMs(policy, { quickFailures: task.quickFailures, draw: 0 });
  // One that ran well makes the count begin anew, itself the first.
  return ranMs >= Math.max(RAN_WELL_MIN_MS, waitedMs) ? 1 : task.quickFailures + 1;
}

/** What the next task remembers of restarts, itself included. */
export function afterRestart(
  task: WholeTask,
  options: { readonly policy: RestartPolicy; readonly now: number },
): Pick<WholeTask, "restarts" | "restartedAtMs" | "quickFailures"> {
  const { policy, now } = options;
  const counted = policy.maxAttempts > 0 && policy.windowMs > 0;
  const recent = task.restartedAtMs.filter((at) => at > now - policy.windowMs);
  return {
    restarts: task.restarts + 1,
    quickFailures: quickFailuresWith(task, policy),
    restartedAtMs: counted ? [...recent, now].slice(-RESTARTED_MAX) : [],
  };
}
