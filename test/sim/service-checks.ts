// What must hold of services in every committed state, beyond what checkAlways looks at: no update has more slots in work than its
// parallelism, no job more than it may. And what must hold once the cluster rests.

import type { ReadTx } from "../../manager/store/tx.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { NodeSpec_Availability } from "../../proto/gen/specs.ts";
import type { WholeNode, WholeService, WholeTask } from "../../proto/model/objects.ts";
import { completionsOf, maxConcurrentOf, replicasOf } from "../../proto/model/service-mode.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { UPDATE_CAUSE, currentPlan, isUnderWay } from "../../proto/model/update-plan.ts";
import { slotKey } from "../../manager/store/tables.ts";
import { WORKERS } from "./work.ts";

export class ServiceChecks {
  #version = 0;
  /** Slots that were well before the last commit: their task was wanted and ran, on a node that is to have it. */
  #well = new Set<string>();
  #known = new Set<string>();
  /** Tasks that an update put in the place of one that was well. */
  readonly #taken = new Set<string>();

  /** After a commit. Undefined: all holds. Each version is looked at once, whoever comes to it first. */
  look(view: ReadTx): string | undefined {
    if (view.version <= this.#version) return undefined;
    this.#version = view.version;
    const tasks = view.tasks.all();
    for (const task of tasks)
      if (!this.#known.has(task.id) && task.cause === UPDATE_CAUSE && this.#well.has(slotKey(task)))
        this.#taken.add(task.id);
    this.#known = new Set(tasks.map(({ id }) => id));
    this.#well = new Set(tasks.filter((task) => isWell(view, task)).map(slotKey));
    for (const service of view.services.all()) {
      const problem = this.#tooMany(view, service);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  #tooMany(view: ReadTx, service: WholeService): string | undefined {
    const tasks = view.tasks.byService(service.id);
    const { name } = service.spec;
    const atOnce = maxConcurrentOf(service.spec);
    const active = tasks.filter((task) => isOfNewestRun(task, service) && isComingOrUp(task)).length;
    if (atOnce !== undefined && active > atOnce) return `job ${name} has ${active} tasks at once, ${atOnce} may be`;
    if (!isUnderWay(service.updateStatus)) return undefined;
    const { parallelism } = currentPlan(service);
    // What failed, or does not run in time, is waited for no longer.
    const failed = new Set([...service.updateStatus.failedSlots, ...service.updateStatus.forgivenSlots]);
    const inWork = tasks.filter(
      (task) =>
        this.#taken.has(task.id) &&
        task.specVersion === service.specVersion &&
        isComingOrUp(task) &&
        task.status.state < TaskState.RUNNING &&
        !failed.has(task.slot === 0 ? task.nodeId : String(task.slot)),
    ).length;
    return inWork > parallelism
      ? `the update of ${name} has taken ${inWork} slots at once, its parallelism is ${parallelism}`
      : undefined;
  }
}

function isWell(view: ReadTx, task: WholeTask): boolean {
  const node = view.nodes.get(task.nodeId);
  const isUp = wantsToRun(task.desiredState) && task.status.state === TaskState.RUNNING;
  return isUp && node !== undefined && isWhole(node);
}

function isWhole({ status, spec }: WholeNode): boolean {
  return status.state === NodeStatus_State.READY && spec.availability !== NodeSpec_Availability.DRAIN;
}

function isComingOrUp({ desiredState, status }: WholeTask): boolean {
  return wantsToRun(desiredState) && !isEnded(status.state);
}

function isOfNewestRun(task: WholeTask, { jobStatus }: WholeService): boolean {
  return task.jobIteration === (jobStatus?.iteration ?? 0);
}

/** What is not as it should be of a service in a cluster that is whole and rests; undefined: all is. */
export function restProblem(view: ReadTx, service: WholeService): string | undefined {
  const { spec, pendingDelete, updateStatus } = service;
  const { name } = spec;
  if (pendingDelete) return `service ${name} is not removed`;
  if (isUnderWay(updateStatus)) return `the update of ${name} has not ended: ${updateStatus.message}`;
  const tasks = view.tasks.byService(service.id);
  const completed = tasks.filter((task) => isOfNewestRun(task, service) && isDone(task));
  switch (spec.mode.$case) {
    case "replicated":
    case "global": {
      const wanted = replicasOf(spec) ?? WORKERS.length;
      const up = tasks.filter((task) => isWell(view, task));
      if (up.length !== wanted || new Set(up.map(slotKey)).size !== wanted)
        return `service ${name} has ${up.length} running tasks at rest, ${wanted} are wanted`;
      const other = up.find((task) => task.spec.container.image !== spec.task.container.image);
      return other === undefined ? undefined : `task ${other.id} of ${name} runs ${other.spec.container.image} at rest`;
    }
    case "replicatedJob":
    case "globalJob": {
      const wanted = completionsOf(spec) ?? WORKERS.length;
      const slots = new Set(completed.map(slotKey)).size;
      if (slots !== wanted) return `job ${name} has done ${slots} of ${wanted} at rest`;
      return tasks.some(isComingOrUp) ? `job ${name} is done and has tasks to run` : undefined;
    }
  }
}

function isDone({ status, desiredState }: WholeTask): boolean {
  return status.state === TaskState.COMPLETE && desiredState < TaskState.REMOVE;
}
