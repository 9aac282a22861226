// A service's mode and, of a job, how far it is, in the JSON shape of Docker's Engine API. The schedule is a field that Docker does not
// have. Pure.

import type { JobStatus } from "../../proto/gen/objects.ts";
import { type CronSchedule, CronSchedule_Concurrency } from "../../proto/gen/specs.ts";
import { never } from "../../proto/base/assert.ts";
import type { WholeServiceSpec } from "../../proto/model/objects.ts";
import { maxConcurrentOf } from "../../proto/model/service-mode.ts";
import { type Json, compact, isoTime } from "./spec.ts";

const POLICIES: Readonly<Record<CronSchedule_Concurrency, string>> = {
  [CronSchedule_Concurrency.FORBID]: "forbid",
  [CronSchedule_Concurrency.REPLACE]: "replace",
  [CronSchedule_Concurrency.ALLOW]: "allow",
};

export function policyName(policy: CronSchedule_Concurrency): string {
  return POLICIES[policy];
}

export function modeJson(spec: WholeServiceSpec): Json {
  const { mode } = spec;
  switch (mode.$case) {
    case "replicated":
      return { Replicated: { Replicas: mode.value.replicas } };
    case "global":
      return { Global: {} };
    case "replicatedJob":
      return {
        ReplicatedJob: {
          MaxConcurrent: maxConcurrentOf(spec) ?? 0,
          TotalCompletions: mode.value.totalCompletions,
          ...scheduleField(mode.value.schedule),
        },
      };
    case "globalJob":
      return { GlobalJob: { ...scheduleField(mode.value.schedule) } };
    default:
      return never(mode);
  }
}

function scheduleField(schedule: CronSchedule | undefined): Record<string, Json> {
  if (schedule === undefined) return {};
  const { expression, timeZone, concurrency } = schedule;
  return {
    Schedule: { Expression: expression, TimeZone: timeZone || "UTC", ConcurrencyPolicy: policyName(concurrency) },
  };
}

export function jobStatusJson(status: JobStatus): Json {
  return {
    JobIteration: { Index: status.iteration },
    LastExecution: isoTime(status.startedAtMs),
    ...(compact({
      NextRun: isoTime(status.nextRunAtMs),
      Skipped: status.skipped,
      Message: status.message,
    }) as Record<string, Json>),
  };
}
