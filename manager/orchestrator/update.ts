// Brings the tasks of a service to its newest spec, so many slots at a time as its update config says, and back again when that fails.
// What is under way is read from the store: the tasks say how far each slot is, the service's update status what failed. Jobs are not
// updated: their next run has the new spec.

import type { UnixMs } from "../../proto/base/clock.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { isJob } from "../../proto/model/service-mode.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { UPDATE_CAUSE, isPaused, isUnderWay } from "../../proto/model/update-plan.ts";
import { type NewId, type Pass, type StepResult, earlier, visit } from "../pass.ts";
import { addRevision } from "../store/revisions.ts";
import type { StoreEvent } from "../store/events.ts";
import type { WriteTx } from "../store/tx.ts";
import { NO_RESTARTS, replaceTask, stopTask } from "./new-task.ts";
import { isOutdated } from "./outdated.ts";
import { type Slot, isHeld, slotsOf } from "./slots.ts";
import { afterFailures, completed, held, progressing, started } from "./update-status.ts";
import { type UpdateView, lookAt } from "./update-view.ts";

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
}

export class UpdatePass implements Pass {
  readonly name = "update";
  readonly #newId: NewId;
  /** Ids of services to look at as a whole. */
  readonly #dirty = new Set<string>();
  /** Ids of tasks that may be a reason to look at their service. */
  readonly #dirtyTasks = new Set<string>();
  readonly #dirtyNodes = new Set<string>();
  /** When to look again at a service that waits, by its id. */
  readonly #wakes = new Map<string, UnixMs>();

  constructor(newId: NewId) {
    this.#newId = newId;
  }

  observe(event: StoreEvent): void {
    if (event.kind === "service") this.#dirty.add(event.object.id);
    else if (event.kind === "task") this.#dirtyTasks.add(event.object.id);
    else if (event.kind === "node") this.#dirtyNodes.add(event.object.id);
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    const nodesSeen = visit(this.#dirtyNodes, (id) => {
      const tasks = tx.tasks.byNode(id);
      for (const task of tasks) this.#dirtyTasks.add(task.id);
      return tasks.length;
    });
    const tasksSeen = visit(this.#dirtyTasks, (id) => {
      const task = tx.tasks.get(id);
      if (task !== undefined && concerns(tx, task)) this.#dirty.add(task.serviceId);
      return 1;
    });
    for (const [id, at] of this.#wakes) if (at <= now) this.#dirty.add(id);
    const servicesSeen = visit(this.#dirty, (id) => this.#service(tx, id, { now, limit }));
    return nodesSeen && tasksSeen && servicesSeen ? earlier([...this.#wakes.values()]) : now;
  }

  #service(tx: WriteTx, id: string, run: Run): StepResult {
    this.#wakes.delete(id);
    const service = tx.services.get(id);
    if (service === undefined || service.pendingDelete || isJob(service.spec)) return 0;
    const slots = currentSlots(tx, service, run.limit);
    if (slots === undefined) return "full";
    if (isPaused(service.updateStatus)) return slots.length;
    const begun = isUnderWay(service.updateStatus) ? service : started(service, run.now);
    const view = lookAt(tx, { service: begun, slots }, run.now);
    const isIdle = begun !== service && view.outdated.length === 0 && view.returning.length === 0;
    return isIdle || this.#advance(tx, { service: begun, view }, run) ? slots.length : "full";
  }

  /** One step of an update that is under way. False when the transaction has no room for all of it. */
  #advance(tx: WriteTx, found: { readonly service: WholeService; readonly view: UpdateView }, run: Run): boolean {
    const { view } = found;
    const verdict = afterFailures(found.service, view, run.now);
    const { service } = verdict;
    if (verdict.kind === "rollBack") return this.#rollBack(tx, service, run);
    if (!put(tx, service, run.limit)) return false;
    if (verdict.kind === "stop") return true;
    // Tasks whose successors are dropped get the newest version in the next run.
    if (!view.returning.every(({ current }) => stopTask(tx, current, run.limit))) return false;
    if (!this.#replace(tx, { service, view }, run)) return false;
    if (!put(tx, nextStatus(service, view, run.now), run.limit)) return false;
    if (view.wake !== null) this.#wakes.set(service.id, view.wake);
    return true;
  }

  /** As many more as parallelism and canary allow. */
  #replace(tx: WriteTx, found: { readonly service: WholeService; readonly view: UpdateView }, run: Run): boolean {
    const { service, view } = found;
    const { canary = 0 } = service.updateStatus ?? {};
    const left = canary === 0 ? Infinity : canary - view.fresh.length;
    const room = Math.max(0, Math.min(view.plan.parallelism - view.busy, left));
    for (const { current: old } of view.outdated.slice(0, room)) {
      const { startFirst } = view.plan;
      const options = { ...run, id: this.#newId(), delayMs: 0, restarts: NO_RESTARTS, startFirst, cause: UPDATE_CAUSE };
      if (!replaceTask(tx, { old, service }, options)) return false;
    }
    return true;
  }

  #rollBack(tx: WriteTx, service: WholeService, run: Run): boolean {
    const facts = { id: this.#newId(), author: "tsswarm", action: "automatic rollback" };
    // The revision that is written, and the oldest one that goes.
    const revisions = [
      { ...facts, spec: service.spec },
      { ...facts, id: `${facts.id}-oldest` },
    ];
    if (!tx.fits(run.limit, [service, ...revisions])) return false;
    tx.services.update(addRevision(tx, service, facts));
    return true;
  }
}

/** May what became of the task change what is to be done? In a service that is not being updated, only when the task is outdated. */
function concerns(tx: WriteTx, task: WholeTask): boolean {
  const service = tx.services.get(task.serviceId);
  if (service === undefined) return false;
  if (isUnderWay(service.updateStatus)) return true;
  if (isPaused(service.updateStatus) || !wantsToRun(task.desiredState)) return false;
  return task.specVersion !== service.specVersion || isOutdated(task, service);
}

/** What the update comes to when nothing is left to replace; until then, how it goes. */
function nextStatus(service: WholeService, view: UpdateView, now: UnixMs): WholeService {
  const { canary = 0 } = service.updateStatus ?? {};
  const isOut = view.outdated.length === 0;
  const isHeldBack = canary > 0 && view.fresh.length >= canary;
  if (view.returning.length > 0 || !view.isSettled || !(isOut || isHeldBack)) return progressing(service, view.trouble);
  return isOut ? completed(service, now) : held(service);
}

/** The slots, each task that is as it should be with the newest version. Undefined when the transaction has no room. */
function currentSlots(tx: WriteTx, service: WholeService, limit: number): readonly Slot[] | undefined {
  const slotsNow = (): readonly Slot[] => slotsOf(tx, service.id).filter((slot) => isHeld(slot, service));
  const slots = slotsNow();
  const stale = slots.filter(({ current }) => isStale(current, service) && !isOutdated(current, service));
  if (!stale.every(({ current }) => refresh(tx, { task: current, service }, limit))) return undefined;
  return stale.length === 0 ? slots : slotsNow();
}

function isStale(task: WholeTask, service: WholeService): boolean {
  return task.specVersion !== service.specVersion && !isEnded(task.status.state);
}

/**
 * A task that is as it should be carries the newest version, so that whoever looks for those of this spec finds it. One that runs is
 * no longer of the update that made it.
 */
function refresh(
  tx: WriteTx,
  pair: { readonly task: WholeTask; readonly service: WholeService },
  limit: number,
): boolean {
  const { task, service } = pair;
  const cause = task.cause === UPDATE_CAUSE && task.status.state === TaskState.RUNNING ? "" : task.cause;
  const renewed = { ...task, spec: service.spec.task, specVersion: service.specVersion, cause };
  if (!tx.fits(limit, [renewed])) return false;
  tx.tasks.update(renewed);
  return true;
}

/** Writes the service when it is another. False when the transaction has no room. */
function put(tx: WriteTx, service: WholeService, limit: number): boolean {
  const before = tx.services.get(service.id);
  if (before === undefined || before.updateStatus === service.updateStatus) return true;
  if (!tx.fits(limit, [service])) return false;
  tx.services.update(service);
  return true;
}
