// How far the newest run of a job is, told from its tasks. A slot is settled when its task has ended well, or has failed and may not be
// tried again; tasks that ended stay as what has been done. Reads only.

import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { completionsOf } from "../../proto/model/service-mode.ts";
import { TaskState, wantsToRun } from "../../proto/model/task-state.ts";
import type { ReadTx } from "../store/tx.ts";
import { hasHadItsRun, isOutOfTheWay } from "./slots.ts";

export interface JobRun {
  /** Slots where nothing is left to do. */
  readonly settled: ReadonlySet<number>;
  /** The wanted task of each slot in work. */
  readonly active: readonly WholeTask[];
  /** Tasks of earlier runs that are wanted, or run still. */
  readonly older: readonly WholeTask[];
  /** Is there something left to do, or that runs? */
  readonly isBusy: boolean;
}

export function runOf(tx: ReadTx, service: WholeService): JobRun {
  const iteration = service.jobStatus?.iteration ?? 0;
  const settled = new Set<number>();
  const active: WholeTask[] = [];
  const older: WholeTask[] = [];
  let isStopping = false;
  for (const task of tx.tasks.byService(service.id)) {
    if (task.jobIteration !== iteration) {
      if (wantsToRun(task.desiredState) || !isOutOfTheWay(tx, task)) older.push(task);
    } else if (task.desiredState < TaskState.REMOVE && hasHadItsRun(task, service)) settled.add(task.slot);
    else if (wantsToRun(task.desiredState)) active.push(task);
    else isStopping ||= !isOutOfTheWay(tx, task);
  }
  // A policy that became stricter does not settle a slot whose task was made before.
  for (const { slot } of active) settled.delete(slot);
  active.sort((a, b) => a.slot - b.slot);
  const isUnfinished = iteration > 0 && settled.size + active.length < (completionsOf(service.spec) ?? 0);
  const isBusy = isUnfinished || isStopping || active.length > 0 || older.length > 0;
  return { settled, active, older, isBusy };
}
