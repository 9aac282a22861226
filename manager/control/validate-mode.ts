// Whether a service may have the mode that its spec asks for, with what belongs to it: replicas, completions, a schedule.

import { never } from "../../proto/base/assert.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import {
  type CronSchedule,
  CronSchedule_Concurrency,
  type GlobalJob,
  type ReplicatedJob,
  UpdateConfig,
} from "../../proto/gen/specs.ts";
import { parseCron } from "../../proto/model/cron.ts";
import { nextRun, zoneOffset } from "../../proto/model/cron-next.ts";
import type { WholeServiceSpec } from "../../proto/model/objects.ts";
import { isGlobal, isJob } from "../../proto/model/service-mode.ts";
import { equalValues } from "./equal.ts";
import { type Field, checkEnum, checkNumber, refused } from "./validate.ts";

const TASKS_MAX = 100_000;

/** Throws InvalidArgument for the first thing in it that cannot be. */
export function checkMode(spec: WholeServiceSpec): void {
  const { mode } = spec;
  switch (mode.$case) {
    case "replicated":
      checkNumber({ path: "replicated.replicas", value: mode.value.replicas }, { min: 0, max: TASKS_MAX });
      break;
    case "replicatedJob":
      checkReplicatedJob({ path: "replicated_job", value: mode.value });
      break;
    case "globalJob":
      checkGlobalJob({ path: "global_job", value: mode.value });
      break;
    case "global":
      break;
    default:
      never(mode);
  }
  const { placement } = spec.task;
  if (isGlobal(spec) && placement.maxReplicasPerNode > 0)
    throw refused(
      "task.placement.max_replicas_per_node",
      "replicas-max-per-node can only be used with replicated or replicated-job mode",
    );
  if (isJob(spec)) checkWithoutUpdate(spec);
}

function checkReplicatedJob({ path, value: job }: Field<ReplicatedJob>): void {
  checkNumber({ path: `${path}.max_concurrent`, value: job.maxConcurrent }, { min: 0, max: TASKS_MAX });
  checkNumber({ path: `${path}.total_completions`, value: job.totalCompletions }, { min: 0, max: TASKS_MAX });
  if (job.schedule === undefined) return;
  checkSchedule({ path: `${path}.schedule`, value: job.schedule });
  const isPartial = job.maxConcurrent > 0 && job.maxConcurrent < job.totalCompletions;
  if (job.schedule.concurrency === CronSchedule_Concurrency.ALLOW && isPartial)
    throw refused(
      `${path}.max_concurrent`,
      `concurrency policy allow needs all ${job.totalCompletions} tasks of a run at once: leave --max-concurrent out, or use forbid or replace`,
    );
}

function checkGlobalJob({ path, value: { schedule } }: Field<GlobalJob>): void {
  if (schedule === undefined) return;
  checkSchedule({ path: `${path}.schedule`, value: schedule });
  if (schedule.concurrency === CronSchedule_Concurrency.ALLOW)
    throw refused(
      `${path}.schedule.concurrency`,
      "concurrency policy allow cannot be used with global-job mode, where a node has one task: use forbid or replace",
    );
}

function checkSchedule({ path, value: schedule }: Field<CronSchedule>): void {
  checkEnum({ path: `${path}.concurrency`, value: schedule.concurrency }, CronSchedule_Concurrency);
  const cron = asRead(`${path}.expression`, () => parseCron(schedule.expression));
  const offset = asRead(`${path}.time_zone`, () => zoneOffset(schedule.timeZone));
  if (nextRun(cron, { offset, after: 0 }) === undefined)
    throw refused(
      `${path}.expression`,
      `invalid schedule "${schedule.expression}": no day matches it, so it would never run`,
    );
}

/** A refusal of the reader's, with the field that it is of. */
function asRead<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!isSwarmError(error, "InvalidArgument")) throw error;
    throw refused(path, error.message);
  }
}

function checkWithoutUpdate({ update, rollback }: WholeServiceSpec): void {
  if (!equalValues(update, UpdateConfig.create())) throw refused("update", "Jobs may not have an update config");
  if (!equalValues(rollback, UpdateConfig.create())) throw refused("rollback", "Jobs may not have a rollback config");
}
