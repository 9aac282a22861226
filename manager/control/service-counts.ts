// How many tasks of a service run, are to run and have ended well, counted as Docker counts them for `service ls`.

import type { ServiceWithCounts } from "../../proto/gen/control.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { isJob, maxConcurrentOf, replicasOf } from "../../proto/model/service-mode.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import type { ReadTx } from "../store/tx.ts";

export function serviceWithCounts(view: ReadTx, service: WholeService): ServiceWithCounts {
  const tasks = view.tasks.byService(service.id);
  return {
    service,
    runningTasks: tasks.filter((task) => isServing(view, task)).length,
    desiredTasks: replicasOf(service.spec) ?? maxConcurrentOf(service.spec) ?? nodesWanted(tasks),
    completedTasks: isJob(service.spec) ? completed(service, tasks) : 0,
  };
}

/** Of tasks that belong to nodes. */
function nodesWanted(tasks: readonly WholeTask[]): number {
  const wanted = tasks.filter((task) => wantsToRun(task.desiredState) && !isEnded(task.status.state));
  return new Set(wanted.map((task) => task.nodeId)).size;
}

/** Of the newest run. */
function completed({ jobStatus }: WholeService, tasks: readonly WholeTask[]): number {
  return tasks.filter((task) => task.jobIteration === jobStatus?.iteration && task.status.state === TaskState.COMPLETE)
    .length;
}

/** Runs, is meant to, and on a node that is not known to be down. */
function isServing(view: ReadTx, task: WholeTask): boolean {
  if (task.status.state !== TaskState.RUNNING || !wantsToRun(task.desiredState)) return false;
  return view.nodes.get(task.nodeId)?.status.state !== NodeStatus_State.DOWN;
}
