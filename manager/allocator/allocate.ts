// Gives a new task what it needs before a node can be chosen: today the ports that its service publishes. Networks and
// addresses come here too.

import type { UnixMs } from "../../proto/base/clock.ts";
import { TaskState, wantsToRun } from "../../proto/model/task-state.ts";
import { type Pass, type StepResult, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import type { WriteTx } from "../store/tx.ts";

export class AllocatePass implements Pass {
  readonly name = "allocate";
  readonly carriesOn = true;
  /** Ids of new tasks. */
  readonly #dirty = new Set<string>();

  observe(event: StoreEvent): void {
    if (event.kind === "task" && event.object.status.state === TaskState.NEW) this.#dirty.add(event.object.id);
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    return visit(this.#dirty, (id) => allocate(tx, id, { now, limit })) ? null : now;
  }
}

function allocate(tx: WriteTx, id: string, run: { readonly now: UnixMs; readonly limit: number }): StepResult {
  const task = tx.tasks.get(id);
  if (task?.status.state !== TaskState.NEW || !wantsToRun(task.desiredState)) return 1;
  const service = tx.services.get(task.serviceId);
  if (service === undefined) return 1;
  const status = { ...task.status, state: TaskState.PENDING, atMs: run.now, message: "pending task scheduling" };
  const allocated = { ...task, status, ports: service.spec.endpoint.ports };
  if (!tx.fits(run.limit, [allocated])) return "full";
  tx.tasks.update(allocated);
  return 1;
}
