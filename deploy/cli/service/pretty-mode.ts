// What `service inspect --pretty` says of a service's mode and, of a job, of its runs.

import { humanDuration } from "../../../proto/base/units.ts";
import type { WholeService } from "../../../proto/model/objects.ts";
import {
  type ServiceMode,
  completionsOf,
  maxConcurrentOf,
  modeOf,
  replicasOf,
  scheduleOf,
} from "../../../proto/model/service-mode.ts";
import { isoTime } from "../../docker/spec.ts";
import { policyName } from "../../docker/mode.ts";
import type { Section } from "../format/pretty.ts";

const NAMES: Readonly<Record<ServiceMode, string>> = {
  replicated: "Replicated",
  global: "Global",
  "replicated-job": "Replicated Job",
  "global-job": "Global Job",
};

export function modeSections({ spec, jobStatus }: WholeService, nowMs: number): readonly Section[] {
  const schedule = scheduleOf(spec);
  const number = (value: number | undefined): string => (value === undefined ? "" : String(value));
  // As Docker has it, the name stands beside the heading and what belongs to it below.
  const mode: readonly Section[] = [
    ["Service Mode", NAMES[modeOf(spec)]],
    [" Replicas", number(replicasOf(spec))],
    [" Max Concurrent", number(maxConcurrentOf(spec))],
    [" Total Completions", number(completionsOf(spec))],
    [" Schedule", schedule === undefined ? "" : `${schedule.expression} (${schedule.timeZone || "UTC"})`],
    [" Concurrency Policy", schedule === undefined ? "" : policyName(schedule.concurrency)],
  ];
  if (jobStatus === undefined) return mode;
  const { iteration, startedAtMs, nextRunAtMs, skipped, message } = jobStatus;
  const status: Section = [
    "Job Status",
    [
      ["Iteration", String(iteration)],
      ["Last Execution", startedAtMs === 0 ? "" : `${humanDuration(nowMs - startedAtMs)} ago`],
      ["Next Run", isoTime(nextRunAtMs)],
      ["Skipped", skipped === 0 ? "" : String(skipped)],
      ["Message", message],
    ],
  ];
  return [...mode, status];
}
