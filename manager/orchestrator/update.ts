// Brings the tasks of a service to its newest spec, one slot at a time: the old task stops, the new one starts, and the next slot
// is touched only when every new task runs. What is under way is read from the tasks themselves.

import type { UnixMs } from "../../proto/base/clock.ts";
import { UpdateStatus, UpdateStatus_State } from "../../proto/gen/objects.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { type NewId, type Pass, type StepResult, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import type { WriteTx } from "../store/tx.ts";
import { NO_RESTARTS, replaceTask } from "./new-task.ts";
import { isOutdated } from "./outdated.ts";
import { type Slot, isHeld, slotsOf } from "./slots.ts";

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
}

export class UpdatePass implements Pass {
  readonly name = "update";
  readonly #newId: NewId;
  /** Ids of services. */
  readonly #dirty = new Set<string>();

  constructor(newId: NewId) {
    this.#newId = newId;
  }

  observe(event: StoreEvent): void {
    if (event.kind === "service") this.#dirty.add(event.object.id);
    else if (event.kind === "task") this.#dirty.add(event.object.serviceId);
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    return visit(this.#dirty, (id) => this.#service(tx, id, { now, limit })) ? null : now;
  }

  #service(tx: WriteTx, id: string, run: Run): StepResult {
    const service = tx.services.get(id);
    if (service === undefined || service.pendingDelete) return 0;
    const slots = slotsOf(tx, id).filter((slot) => isHeld(slot, service));
    const old = slots.filter((slot) => isOutdated(slot.current, service));
    const fresh = slots.filter((slot) => !old.includes(slot));
    for (const { current } of fresh) if (!refresh(tx, { task: current, service }, run.limit)) return "full";
    const comingUp = fresh.filter(({ current }) => isComingUp(current));
    const told = tell(tx, service, { more: old.length > 0, comingUp, ...run });
    if (!told) return "full";
    // A slot that serves nobody is lost nothing by.
    const next = old.find(({ current }) => !serves(current)) ?? old[0];
    if (next === undefined || comingUp.length > 0) return slots.length;
    const options = { ...run, id: this.#newId(), delayMs: 0, restarts: NO_RESTARTS };
    return replaceTask(tx, { old: next.current, service }, options) ? slots.length : "full";
  }
}

function serves(task: WholeTask): boolean {
  return task.status.state === TaskState.RUNNING;
}

function isComingUp(task: WholeTask): boolean {
  return wantsToRun(task.desiredState) && !serves(task);
}

/** A task that is as it should be carries the newest version, so that whoever looks for those of this spec finds it. */
function refresh(
  tx: WriteTx,
  pair: { readonly task: WholeTask; readonly service: WholeService },
  limit: number,
): boolean {
  const { task, service } = pair;
  if (task.specVersion === service.specVersion || isEnded(task.status.state)) return true;
  const renewed = { ...task, spec: service.spec.task, specVersion: service.specVersion };
  if (!tx.fits(limit, [renewed])) return false;
  tx.tasks.update(renewed);
  return true;
}

/** Keeps the service's update status. False when the transaction has no room. */
function tell(
  tx: WriteTx,
  service: WholeService,
  facts: { readonly more: boolean; readonly comingUp: readonly Slot[]; readonly now: UnixMs; readonly limit: number },
): boolean {
  const { more, comingUp, now, limit } = facts;
  const status = service.updateStatus ?? UpdateStatus.create();
  if (!more && status.state !== UpdateStatus_State.UPDATING) return true;
  const next = nextStatus(status, { more, comingUp, now });
  if (next.state === status.state && next.message === status.message) return true;
  const told = { ...service, updateStatus: next };
  if (!tx.fits(limit, [told])) return false;
  tx.services.update(told);
  return true;
}

function nextStatus(
  status: UpdateStatus,
  facts: { readonly more: boolean; readonly comingUp: readonly Slot[]; readonly now: UnixMs },
): UpdateStatus {
  const { more, comingUp, now } = facts;
  const state = UpdateStatus_State.UPDATING;
  if (status.state !== state) return UpdateStatus.create({ state, startedAtMs: now, message: "update in progress" });
  if (more || comingUp.length > 0) return { ...status, message: progressMessage(comingUp) };
  return { ...status, state: UpdateStatus_State.COMPLETED, completedAtMs: now, message: "update completed" };
}

/** Says what the update waits for when a new task has trouble. */
function progressMessage(comingUp: readonly Slot[]): string {
  for (const { current, tasks } of comingUp) {
    const failed = tasks.findLast((task) => task.specVersion === current.specVersion && task.status.error !== "");
    if (failed !== undefined)
      return `update in progress: ${failed.serviceName}.${failed.slot} does not run yet: ${failed.status.error}`;
  }
  return "update in progress";
}
