// When a container counts as healthy: Docker's rules as a pure function of what its checks said. It knows no clock and runs
// nothing.

import { ContainerStatus_Health } from "../../proto/gen/objects.ts";
import type { HealthCheck } from "./health-config.ts";

export interface HealthState {
  readonly health: ContainerStatus_Health;
  /** Failures in a row that count. */
  readonly failures: number;
}

export const STARTING: HealthState = { health: ContainerStatus_Health.STARTING, failures: 0 };
export const HEALTHY: HealthState = { health: ContainerStatus_Health.HEALTHY, failures: 0 };

/** The state after a check. `sinceStartMs`: when the check began, from the start of the container. */
export function afterCheck(
  state: HealthState,
  check: Pick<HealthCheck, "retries" | "startPeriodMs">,
  seen: { readonly ok: boolean; readonly sinceStartMs: number },
): HealthState {
  if (seen.ok) return HEALTHY;
  if (inStartPeriod(state, check, seen.sinceStartMs)) return state;
  const failures = state.failures + 1;
  return { health: failures >= check.retries ? ContainerStatus_Health.UNHEALTHY : state.health, failures };
}

/** From the end of a check to the next one. */
export function untilNextMs(state: HealthState, check: HealthCheck, sinceStartMs: number): number {
  if (!inStartPeriod(state, check, sinceStartMs)) return check.intervalMs;
  // The first check that counts is not put off by the longer steps of the start.
  return Math.min(check.startIntervalMs, Math.max(1, check.startPeriodMs - sinceStartMs));
}

/** The first success ends it. */
function inStartPeriod(
  { health }: HealthState,
  { startPeriodMs }: Pick<HealthCheck, "startPeriodMs">,
  sinceStartMs: number,
): boolean {
  return health === ContainerStatus_Health.STARTING && sinceStartMs < startPeriodMs;
}
