// Health checks in the JSON shape of Docker's Engine API. Pure.

import { ContainerStatus_Health } from "../../proto/gen/objects.ts";
import type { HealthConfig } from "../../proto/gen/specs.ts";
import { type Json, compact } from "./spec.ts";

const NS_PER_MS = 1_000_000;

const HEALTH: Readonly<Record<ContainerStatus_Health, string>> = {
  [ContainerStatus_Health.NONE]: "",
  [ContainerStatus_Health.STARTING]: "starting",
  [ContainerStatus_Health.HEALTHY]: "healthy",
  [ContainerStatus_Health.UNHEALTHY]: "unhealthy",
};

/** Empty without a check. */
export function healthName(health: ContainerStatus_Health): string {
  return HEALTH[health];
}

/** Undefined: the image's. */
export function healthcheckJson(config: HealthConfig | undefined): Json | undefined {
  if (config === undefined) return undefined;
  const ns = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms * NS_PER_MS);
  return compact({
    Test: config.test,
    Interval: ns(config.intervalMs),
    Timeout: ns(config.timeoutMs),
    Retries: config.retries,
    StartPeriod: ns(config.startPeriodMs),
    StartInterval: ns(config.startIntervalMs),
  });
}
