// Which run a job is at: the first one, another after a change of its spec, and the runs that its schedule asks for. Pure: from the
// service, the time and what runs to the service's next job status.

import type { UnixMs } from "../../proto/base/clock.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import { JobStatus } from "../../proto/gen/objects.ts";
import { type CronSchedule, CronSchedule_Concurrency } from "../../proto/gen/specs.ts";
import { type Cron, parseCron } from "../../proto/model/cron.ts";
import { type ZoneOffset, nextRun, zoneOffset } from "../../proto/model/cron-next.ts";
import type { WholeService } from "../../proto/model/objects.ts";
import { completionsOf, scheduleOf } from "../../proto/model/service-mode.ts";
import type { JobRun } from "./job-run.ts";

/** A run that nobody began in time (no leader) is still begun when it is this late; the next one may be due by then. */
export const RUN_LATE_MAX_MS = 100_000;
/** Runs at once where a schedule allows several. */
const RUNS_MAX = 10;
/** Of one gap; more than these are not counted. */
const MISSED_MAX = 100;

export type Timetable =
  | { readonly kind: "timetable"; readonly cron: Cron; readonly offset: ZoneOffset }
  | { readonly kind: "invalid"; readonly reason: string };

/** A schedule is checked as it comes in; a manager may know fewer time zones than the one that checked it. */
export function timetableOf({ expression, timeZone }: CronSchedule): Timetable {
  try {
    return { kind: "timetable", cron: parseCron(expression), offset: zoneOffset(timeZone) };
  } catch (error) {
    if (!isSwarmError(error, "InvalidArgument")) throw error;
    return { kind: "invalid", reason: error.message };
  }
}

/** The status that the job is to have now; the very same where it has it. `timetable` is that of its schedule. */
export function statusNow(
  service: WholeService,
  facts: { readonly now: UnixMs; readonly run: JobRun; readonly timetable: Timetable | undefined },
): JobStatus {
  const { now, timetable } = facts;
  const before = service.jobStatus;
  const { specVersion } = service;
  const { forceUpdate } = service.spec.task;
  const known = { ...(before ?? JobStatus.create()), specVersion, forceUpdate };
  if (timetable === undefined) {
    const isBegun = known.iteration > 0 && before?.specVersion === specVersion;
    return settledOn(before, isBegun ? { ...known, nextRunAtMs: 0 } : begun({ ...known, nextRunAtMs: 0 }, now));
  }
  if (timetable.kind === "invalid") return settledOn(before, { ...known, nextRunAtMs: 0, message: timetable.reason });
  const isForced = before !== undefined && before.forceUpdate !== forceUpdate;
  return settledOn(before, scheduled(service, { ...facts, timetable, known, isForced }));
}

function scheduled(
  service: WholeService,
  facts: {
    readonly now: UnixMs;
    readonly run: JobRun;
    readonly timetable: Timetable & { readonly kind: "timetable" };
    readonly known: JobStatus;
    readonly isForced: boolean;
  },
): JobStatus {
  const { now, run, timetable, known, isForced } = facts;
  const due = dueSince(known.nextRunAtMs, { now, timetable });
  const nextRunAtMs = nextRun(timetable.cron, { offset: timetable.offset, after: now }) ?? 0;
  const waiting = { ...known, nextRunAtMs };
  // Who asks for a run by hand gets it: as an update of a job without a schedule does it.
  if (isForced) return begun(waiting, now);
  const { missed, startsFor } = due;
  const skipped = known.skipped + missed;
  const gap = missed === 0 ? "" : `${missed === 1 ? "1 run was" : `${missed} runs were`} missed while no manager led`;
  if (startsFor === undefined) return missed === 0 ? waiting : { ...waiting, skipped, message: gap };
  const obstacle = run.isBusy ? obstacleOf(service, run) : undefined;
  if (obstacle === undefined) return { ...begun(waiting, now), message: gap };
  const message = `the run of ${new Date(startsFor).toISOString()} was skipped: ${obstacle}`;
  return { ...waiting, skipped: skipped + 1, message };
}

/** The run that is to begin now, if one is, and how many were due before it and did not. */
function dueSince(
  nextRunAtMs: UnixMs,
  facts: { readonly now: UnixMs; readonly timetable: Timetable & { readonly kind: "timetable" } },
): { readonly missed: number; readonly startsFor: UnixMs | undefined } {
  const { now, timetable } = facts;
  const { cron, offset } = timetable;
  // A time that the schedule does not name comes from the schedule before it.
  const isOwn = nextRunAtMs !== 0 && nextRun(cron, { offset, after: nextRunAtMs - 1 }) === nextRunAtMs;
  if (!isOwn || nextRunAtMs > now) return { missed: 0, startsFor: undefined };
  let startsFor: UnixMs | undefined;
  let after = Math.max(nextRunAtMs, now - RUN_LATE_MAX_MS) - 1;
  for (;;) {
    const next = nextRun(cron, { offset, after });
    if (next === undefined || next > now) break;
    startsFor = after = next;
  }
  let missed = 0;
  for (let at: UnixMs | undefined = nextRunAtMs; missed < MISSED_MAX; missed += 1) {
    if (at === undefined || at > now || at === startsFor) break;
    at = nextRun(cron, { offset, after: at });
  }
  return { missed, startsFor };
}

/** Why a run may not begin beside those that have not ended; undefined: it may. */
function obstacleOf(service: WholeService, run: JobRun): string | undefined {
  switch (scheduleOf(service.spec)?.concurrency) {
    case CronSchedule_Concurrency.REPLACE:
    case undefined:
      return undefined;
    case CronSchedule_Concurrency.ALLOW: {
      const runs = new Set([...run.active, ...run.older].map((task) => task.jobIteration));
      if (runs.size >= RUNS_MAX) return `${RUNS_MAX} runs have not ended`;
      const isMade = run.settled.size + run.active.length >= (completionsOf(service.spec) ?? 0);
      return isMade ? undefined : "the one before it has not begun all its tasks";
    }
    case CronSchedule_Concurrency.FORBID:
      return "the one before it has not ended";
  }
}

function begun(status: JobStatus, now: UnixMs): JobStatus {
  return { ...status, iteration: status.iteration + 1, startedAtMs: now, skipped: 0, message: "" };
}

function settledOn(before: JobStatus | undefined, status: JobStatus): JobStatus {
  if (before === undefined) return status;
  const keys = Object.keys(status) as (keyof JobStatus)[];
  return keys.every((key) => before[key] === status[key]) ? before : status;
}
