// Jobs: begins their runs, gives a replicated job as many tasks at once as it may have until enough have ended well, and clears away
// what is left of the runs before. The tasks of a global job are the global pass's; failed tasks are tried again by the restart pass.

import type { UnixMs } from "../../proto/base/clock.ts";
import { type CronSchedule, CronSchedule_Concurrency } from "../../proto/gen/specs.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { completionsOf, isJob, maxConcurrentOf, scheduleOf } from "../../proto/model/service-mode.ts";
import { wantsToRun } from "../../proto/model/task-state.ts";
import { type NewId, type Pass, type StepResult, earlier, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import type { WriteTx } from "../store/tx.ts";
import { type JobRun, runOf } from "./job-run.ts";
import { type Timetable, statusNow, timetableOf } from "./job-schedule.ts";
import { NO_RESTARTS, newTask, removeTask, stopTask } from "./new-task.ts";

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
}

export class JobPass implements Pass {
  readonly name = "jobs";
  readonly #newId: NewId;
  /** Ids of services. */
  readonly #dirty = new Set<string>();
  /** When the next run of a schedule is due, by the service's id. */
  readonly #wakes = new Map<string, UnixMs>();
  /** Schedules that have been read, by the service's id. */
  readonly #timetables = new Map<string, { readonly schedule: CronSchedule; readonly timetable: Timetable }>();

  constructor(newId: NewId) {
    this.#newId = newId;
  }

  observe(event: StoreEvent): void {
    if (event.kind === "service") {
      if (isJob(event.object.spec)) this.#dirty.add(event.object.id);
    } else if (event.kind === "task" && event.object.jobIteration > 0) this.#dirty.add(event.object.serviceId);
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    for (const [id, at] of this.#wakes) if (at <= now) this.#dirty.add(id);
    const seen = visit(this.#dirty, (id) => this.#service(tx, id, { now, limit }));
    return seen ? earlier([...this.#wakes.values()]) : now;
  }

  #service(tx: WriteTx, id: string, run: Run): StepResult {
    this.#wakes.delete(id);
    const found = tx.services.get(id);
    if (found === undefined || found.pendingDelete || !isJob(found.spec)) {
      this.#timetables.delete(id);
      return 0;
    }
    const facts = { now: run.now, run: runOf(tx, found), timetable: this.#timetable(found) };
    const jobStatus = statusNow(found, facts);
    const service = { ...found, jobStatus };
    if (jobStatus !== found.jobStatus) {
      if (!tx.fits(run.limit, [service])) return "full";
      tx.services.update(service);
    }
    if (jobStatus.nextRunAtMs > 0) this.#wakes.set(id, jobStatus.nextRunAtMs);
    const tasks = tx.tasks.byService(id);
    const isDone = clearOlder(tx, { service, tasks }, run.limit) && this.#fill(tx, service, run);
    return isDone ? tasks.length : "full";
  }

  #timetable({ id, spec }: WholeService): Timetable | undefined {
    const schedule = scheduleOf(spec);
    if (schedule === undefined) return undefined;
    const read = this.#timetables.get(id);
    if (read?.schedule === schedule) return read.timetable;
    const timetable = timetableOf(schedule);
    this.#timetables.set(id, { schedule, timetable });
    return timetable;
  }

  /** Brings the newest run of a replicated job to as many tasks as it is to have now. False when the transaction has no room. */
  #fill(tx: WriteTx, service: WholeService, { now, limit }: Run): boolean {
    const completions = completionsOf(service.spec);
    if (completions === undefined || service.jobStatus === undefined || service.jobStatus.iteration === 0) return true;
    const run = runOf(tx, service);
    const left = Math.max(0, completions - run.settled.size);
    if (run.active.length > left) return run.active.slice(left).every((task) => removeTask(tx, task, limit));
    const atOnce = Math.min(left, maxConcurrentOf(service.spec) ?? left);
    const slots = freeSlots(service, run);
    for (let made = run.active.length; made < atOnce; made += 1) {
      const slot = slots.next().value;
      const task = newTask(tx, service, { id: this.#newId(), slot, now, delayMs: 0, restarts: NO_RESTARTS });
      if (!tx.fits(limit, [task])) return false;
      tx.tasks.create(task);
    }
    return true;
  }
}

/**
 * What is left of earlier runs goes: without a schedule all of it, as Docker does it; with one what has ended stays as history, and
 * where several runs are allowed nothing is touched. False when the transaction has no room.
 */
function clearOlder(
  tx: WriteTx,
  found: { readonly service: WholeService; readonly tasks: readonly WholeTask[] },
  limit: number,
): boolean {
  const { service, tasks } = found;
  const schedule = scheduleOf(service.spec);
  if (schedule?.concurrency === CronSchedule_Concurrency.ALLOW) return true;
  const older = tasks.filter((task) => task.jobIteration !== service.jobStatus?.iteration);
  if (schedule === undefined) return older.every((task) => removeTask(tx, task, limit));
  return older.filter((task) => wantsToRun(task.desiredState)).every((task) => stopTask(tx, task, limit));
}

/**
 * Numbers of slots for further tasks of the newest run. Where earlier runs are stopping it takes their slots first, so that each new
 * task waits for one of theirs and no more run than may; where they go on beside it, it keeps out of their slots.
 */
function* freeSlots(service: WholeService, { active, older, settled }: JobRun): Generator<number, never> {
  const taken = new Set([...settled, ...active.map(({ slot }) => slot)]);
  const others = new Set(older.map(({ slot }) => slot));
  const isBeside = scheduleOf(service.spec)?.concurrency === CronSchedule_Concurrency.ALLOW;
  if (!isBeside)
    for (const slot of others) {
      if (taken.has(slot)) continue;
      taken.add(slot);
      yield slot;
    }
  for (let slot = 1; ; slot += 1) if (!taken.has(slot) && !(isBeside && others.has(slot))) yield slot;
}
