// The modes of a service and what they have in common: does it have a number of replicas, does it end, is it bound to nodes.

import { never } from "../base/assert.ts";
import { type CronSchedule, type RestartPolicy, RestartPolicy_Condition } from "../gen/specs.ts";
import type { WholeServiceSpec } from "./objects.ts";

type Spec = Pick<WholeServiceSpec, "mode">;

/** Docker's words, as `--mode` takes them. */
export const SERVICE_MODES = ["replicated", "global", "replicated-job", "global-job"] as const;
export type ServiceMode = (typeof SERVICE_MODES)[number];

export function modeOf({ mode }: Spec): ServiceMode {
  switch (mode.$case) {
    case "replicated":
    case "global":
      return mode.$case;
    case "replicatedJob":
      return "replicated-job";
    case "globalJob":
      return "global-job";
    default:
      return never(mode);
  }
}

/** Replicas asked for; undefined in the other modes. */
export function replicasOf({ mode }: Spec): number | undefined {
  return mode.$case === "replicated" ? mode.value.replicas : undefined;
}

/** Of a replicated job: tasks of a run that are to end well; undefined in the other modes. */
export function completionsOf({ mode }: Spec): number | undefined {
  return mode.$case === "replicatedJob" ? mode.value.totalCompletions : undefined;
}

/** Of a replicated job: tasks of a run at once; undefined in the other modes. */
export function maxConcurrentOf({ mode }: Spec): number | undefined {
  return mode.$case === "replicatedJob" ? mode.value.maxConcurrent || mode.value.totalCompletions : undefined;
}

/** Does each task belong to a node (slot 0) instead of a numbered slot? */
export function isGlobal({ mode }: Spec): boolean {
  return mode.$case === "global" || mode.$case === "globalJob";
}

/** Do its tasks run to an end? */
export function isJob({ mode }: Spec): boolean {
  return mode.$case === "replicatedJob" || mode.$case === "globalJob";
}

/** When a job is to run; undefined: once. */
export function scheduleOf({ mode }: Spec): CronSchedule | undefined {
  return mode.$case === "replicatedJob" || mode.$case === "globalJob" ? mode.value.schedule : undefined;
}

/** The restart policy in force: a job that has done its work is not done again, so `any` is on-failure there (Docker). */
export function restartPolicyOf(spec: Pick<WholeServiceSpec, "mode" | "task">): RestartPolicy {
  const { restart } = spec.task;
  if (!isJob(spec) || restart.condition !== RestartPolicy_Condition.ANY) return restart;
  return { ...restart, condition: RestartPolicy_Condition.ON_FAILURE };
}
