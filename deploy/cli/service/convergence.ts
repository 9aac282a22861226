// What a service's tasks look like to someone who waits for it, and when the waiting is over. Pure; progress.ts feeds it
// with changes and draws it. Jobs are convergence-job.ts's.

import type { WholeService, WholeTask } from "../../../proto/model/objects.ts";
import { isJob, replicasOf } from "../../../proto/model/service-mode.ts";
import { TaskState, wantsToRun } from "../../../proto/model/task-state.ts";
import { isPaused, isRollback, isUnderWay } from "../../../proto/model/update-plan.ts";
import { jobPicture } from "./convergence-job.ts";
import { type Outcome, type Picture, type Places, failureOf, placeOf, placesOf, slotViews } from "./picture.ts";

/** The service and its tasks as they are, for someone who began to wait at `sinceMs`. */
export function picture(service: WholeService, tasks: readonly WholeTask[], sinceMs: number): Picture {
  if (isJob(service.spec)) return jobPicture(service, tasks, sinceMs);
  const replicas = replicasOf(service.spec);
  const wanted = replicas ?? nodesWanted(tasks);
  const places = placesOf(tasks.filter((task) => task.specVersion === service.specVersion));
  const running = [...places.values()].filter((there) => there.some(isUp)).length;
  // Tasks of nodes are made at once on all of them; before that nobody knows how many nodes there are.
  const isUnmade = replicas === undefined && wanted === 0;
  const standing = isUnmade ? "waiting for new tasks" : `${running} out of ${wanted} tasks`;
  const isBack = isUnderWay(service.updateStatus) && isRollback(service.updateStatus);
  const shown = new Map([...places].filter(([, there]) => there.some((task) => wantsToRun(task.desiredState))));
  return {
    running,
    wanted,
    standing,
    summary: [`overall progress: ${isBack ? "rolling back update: " : ""}${standing}`],
    slots: slotViews(shown, { service, wanted, last: TaskState.RUNNING }),
    isPatient: isUnderWay(service.updateStatus),
    outcome: outcomeOf({ service, places, sinceMs, isThere: !isUnmade && running >= wanted }),
  };
}

/** Nodes that are to have a task, of the newest spec or of an earlier one. */
function nodesWanted(tasks: readonly WholeTask[]): number {
  return new Set(tasks.filter((task) => wantsToRun(task.desiredState)).map(placeOf)).size;
}

function isUp(task: WholeTask): boolean {
  return task.desiredState === TaskState.RUNNING && task.status.state === TaskState.RUNNING;
}

function outcomeOf(facts: {
  readonly service: WholeService;
  readonly places: Places;
  readonly sinceMs: number;
  readonly isThere: boolean;
}): Outcome {
  const { service, places, sinceMs, isThere } = facts;
  const { updateStatus: update } = service;
  if (isPaused(update)) {
    if (update.canary > 0) return { kind: "held", message: update.message };
    return {
      kind: "failed",
      reason: `service ${isRollback(update) ? "rollback" : "update"} paused: ${update.message}`,
    };
  }
  const isOver = !isUnderWay(update);
  if (isThere) return { kind: "converged", isOver };
  // What is too much of a failure is the update's to say.
  const reason = isOver ? failureOf(places, sinceMs) : undefined;
  return reason === undefined ? { kind: "waiting" } : { kind: "failed", reason };
}
