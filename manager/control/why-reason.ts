// What holds up one task, in a sentence: its place, its time, the task before it, its node, or itself. Empty where nothing does.

import type { UnixMs } from "../../proto/base/clock.ts";
import { printDuration } from "../../proto/base/units.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { taskName } from "../../proto/model/task-name.ts";
import { TaskState, isEnded, taskStateName, wantsToRun } from "../../proto/model/task-state.ts";
import type { ReadTx } from "../store/tx.ts";
import { nodeName } from "./nodes.ts";

export function reasonFor(view: ReadTx, task: WholeTask, now: UnixMs): string {
  const { state, error, message } = task.status;
  if (isEnded(state)) return ended(task);
  if (!wantsToRun(task.desiredState))
    return state < TaskState.ASSIGNED ? "it is not wanted any more" : `it is told to stop${on(view, task)}`;
  const waits = state < TaskState.STARTING ? waitsFor(view, task, now) : "";
  if (state < TaskState.ASSIGNED) return error || waits || `it waits to be placed: ${message}`;
  const silent = silentNode(view, task);
  if (silent !== "") return silent;
  if (waits !== "") return waits;
  if (state === TaskState.RUNNING) return error;
  return `it is ${taskStateName(state)}${on(view, task)}${error === "" ? "" : `: ${error}`}`;
}

function ended({ status }: WholeTask): string {
  const { container, error } = status;
  const code = container?.exitCode === undefined ? "" : ` with exit code ${container.exitCode}`;
  const memory = container?.oomKilled === true ? ", killed because it was out of memory" : "";
  return `it ended (${taskStateName(status.state)})${code}${memory}${error === "" ? "" : `: ${error}`}`;
}

/** Of a task that is ready to start, or on its way there, and may not yet. */
function waitsFor(view: ReadTx, task: WholeTask, now: UnixMs): string {
  if (task.desiredState !== TaskState.READY) return "";
  if (task.notBeforeMs > now) return `it waits for its restart delay: ${printDuration(task.notBeforeMs - now)} more`;
  const before = view.tasks
    .bySlot(task)
    .find(
      ({ id, status }) =>
        id !== task.id && id !== task.replaces && status.state >= TaskState.ASSIGNED && !isEnded(status.state),
    );
  return before === undefined ? "" : `it waits for task ${before.id} before it to stop${on(view, before)}`;
}

function silentNode(view: ReadTx, task: WholeTask): string {
  const node = view.nodes.get(task.nodeId);
  if (node === undefined) return `its node ${task.nodeId} is gone`;
  if (node.status.state === NodeStatus_State.READY) return "";
  const down = node.status.state === NodeStatus_State.DOWN;
  const what = down ? "is down" : "has not reported since the manager began to lead";
  const fate = task.status.state === TaskState.RUNNING ? "; the task may still run there" : "";
  return `node ${nodeName(node)} ${what}${node.status.message === "" ? "" : ` (${node.status.message})`}${fate}`;
}

function on(view: ReadTx, task: WholeTask): string {
  const node = view.nodes.get(task.nodeId);
  return node === undefined ? "" : ` on ${nodeName(node)} (${taskName(task)})`;
}
