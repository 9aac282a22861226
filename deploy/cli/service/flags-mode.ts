// The flags of `service create` and `service update` that say how many tasks there are and when: replicas, and of jobs how many at once
// and on what schedule. The mode itself is chosen at create and stays.

import { SwarmError } from "../../../proto/base/errors.ts";
import { CronSchedule, CronSchedule_Concurrency } from "../../../proto/gen/specs.ts";
import type { WholeServiceSpec } from "../../../proto/model/objects.ts";
import { SERVICE_MODES, isJob, scheduleOf } from "../../../proto/model/service-mode.ts";
import { wholeNumber } from "../options.ts";
import type { Flag } from "./flags.ts";

type Mode = WholeServiceSpec["mode"];

const COUNT_MAX = 4_294_967_295;
const POLICIES: Readonly<Record<string, CronSchedule_Concurrency>> = {
  forbid: CronSchedule_Concurrency.FORBID,
  replace: CronSchedule_Concurrency.REPLACE,
  allow: CronSchedule_Concurrency.ALLOW,
};

export const MODE_FLAG = "--mode <mode>";
export const MODE_HELP = 'Service mode ("replicated", "global", "replicated-job", "global-job") (default "replicated")';

/** What `--mode` asks for, with one task where the mode counts them. Throws InvalidArgument. */
export function modeNamed(name: string): Mode {
  switch (name) {
    case "replicated":
      return { $case: "replicated", value: { replicas: 1 } };
    case "global":
      return { $case: "global", value: {} };
    case "replicated-job":
      return { $case: "replicatedJob", value: { maxConcurrent: 0, totalCompletions: 1, schedule: undefined } };
    case "global-job":
      return { $case: "globalJob", value: { schedule: undefined } };
    default:
      throw new SwarmError("InvalidArgument", `Unknown mode: ${name}, only ${SERVICE_MODES.join(", ")} supported`);
  }
}

/** The mode with another number of replicas, or of completions. Throws InvalidArgument with `refusal`. */
export function withReplicas(mode: Mode, replicas: number, refusal: string): Mode {
  if (mode.$case === "replicated") return { $case: "replicated", value: { replicas } };
  if (mode.$case === "replicatedJob")
    return { $case: "replicatedJob", value: { ...mode.value, totalCompletions: replicas } };
  throw new SwarmError("InvalidArgument", refusal);
}

function withMaxConcurrent({ mode }: WholeServiceSpec, maxConcurrent: number): Mode {
  if (mode.$case === "replicatedJob") return { $case: "replicatedJob", value: { ...mode.value, maxConcurrent } };
  throw new SwarmError("InvalidArgument", "max-concurrent can only be used with replicated-job mode");
}

function withSchedule(spec: WholeServiceSpec, schedule: CronSchedule | undefined): WholeServiceSpec {
  const { mode } = spec;
  if (mode.$case === "replicatedJob")
    return { ...spec, mode: { $case: "replicatedJob", value: { ...mode.value, schedule } } };
  if (mode.$case === "globalJob") return { ...spec, mode: { $case: "globalJob", value: { schedule } } };
  throw new SwarmError("InvalidArgument", "schedule can only be used with replicated-job or global-job mode");
}

/** Of a job that has a schedule. */
function inSchedule(flag: string, set: (value: string) => Partial<CronSchedule>): Flag["set"] {
  return (spec, value) => {
    const schedule = scheduleOf(spec);
    if (schedule === undefined)
      throw new SwarmError("InvalidArgument", `${flag} can only be used with a schedule: give one with --schedule`);
    return withSchedule(spec, { ...schedule, ...set(value) });
  };
}

function policyOf(text: string): CronSchedule_Concurrency {
  const policy = POLICIES[text.toLowerCase()];
  if (policy !== undefined) return policy;
  throw new SwarmError(
    "InvalidArgument",
    `invalid --concurrency-policy "${text}": it must be one of ${Object.keys(POLICIES).join(", ")}`,
  );
}

export const MODE_FLAGS: readonly Flag[] = [
  {
    flag: "--replicas <number>",
    help: "Number of tasks",
    set: (spec, value) => {
      const replicas = wholeNumber(value, { flag: "--replicas", min: 0, max: COUNT_MAX });
      const refusal = "replicas can only be used with replicated or replicated-job mode";
      return { ...spec, mode: withReplicas(spec.mode, replicas, refusal) };
    },
  },
  {
    flag: "--max-concurrent <number>",
    help: "Number of job tasks to run concurrently (default equal to --replicas)",
    set: (spec, value) => ({
      ...spec,
      mode: withMaxConcurrent(spec, wholeNumber(value, { flag: "--max-concurrent", min: 0, max: COUNT_MAX })),
    }),
  },
  {
    flag: "--schedule <cron>",
    help: 'When a job runs, as cron writes it ("*/5 * * * *", "@daily"); empty for once, now',
    set: (spec, expression) => {
      const before = isJob(spec) ? scheduleOf(spec) : undefined;
      return withSchedule(spec, expression === "" ? undefined : { ...(before ?? CronSchedule.create()), expression });
    },
  },
  {
    flag: "--schedule-time-zone <name>",
    help: "Time zone of the schedule, as IANA names it (default UTC)",
    set: inSchedule("--schedule-time-zone", (timeZone) => ({ timeZone })),
  },
  {
    flag: "--concurrency-policy <policy>",
    help: 'When a run is due and the one before it has not ended ("forbid", "replace", "allow") (default "forbid")',
    set: inSchedule("--concurrency-policy", (text) => ({ concurrency: policyOf(text) })),
  },
];
