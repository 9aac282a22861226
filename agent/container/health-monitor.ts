// Asks a running container again and again whether it serves, and tells who waits: that it is healthy, or no longer. It decides
// nothing about the container.

import type { Container } from "../../native/index.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { Notice } from "../../proto/base/notice.ts";
import { ContainerStatus_Health } from "../../proto/gen/objects.ts";
import type { HealthCheck } from "./health-config.ts";
import type { HealthLog } from "./health-log.ts";
import { probe } from "./health-probe.ts";
import { HEALTHY, type HealthState, STARTING, afterCheck, untilNextMs } from "./health-state.ts";

/** A check fails too when the container ends under it: its end is let come first. */
const END_MS = 200;

export interface HealthMonitorOptions {
  readonly check: HealthCheck;
  readonly clock: Clock;
  /** When the container was started. */
  readonly startedAtMs: number;
  /** It was found healthy before, by an earlier daemon. */
  readonly healthy: boolean;
  readonly log: HealthLog;
  /** [0, 1): part of the interval before the first check of a container that an earlier daemon started; they spread over it. */
  readonly phase: number | undefined;
}

export class HealthMonitor {
  readonly #options: HealthMonitorOptions;
  readonly #changed = new Notice();
  /** On the clock that never goes back. */
  readonly #startedMs: number;
  #state: HealthState;
  /** Of the first check's wait. */
  #part: number;

  constructor(options: HealthMonitorOptions) {
    const { clock } = options;
    this.#options = options;
    this.#state = options.healthy ? HEALTHY : STARTING;
    this.#part = options.phase ?? 1;
    this.#startedMs = clock.monotonicMs() - Math.max(0, clock.now() - options.startedAtMs);
  }

  get health(): ContainerStatus_Health {
    return this.#state.health;
  }

  /** Checks until the container is unhealthy, then settles; rejects when `signal` aborts. One run at a time. */
  async run(container: Pick<Container, "exec">, signal: AbortSignal): Promise<void> {
    const { check, clock, log } = this.#options;
    while (this.#state.health !== ContainerStatus_Health.UNHEALTHY) {
      await clock.sleep(this.#part * untilNextMs(this.#state, check, this.#sinceStartMs()), signal);
      this.#part = 1;
      const sinceStartMs = this.#sinceStartMs();
      const result = await probe({ container, check, clock }, signal);
      const state = afterCheck(this.#state, check, { ok: result.exitCode === 0, sinceStartMs });
      if (state.health === ContainerStatus_Health.UNHEALTHY) await clock.sleep(END_MS, signal);
      log.add(result);
      this.#state = state;
      this.#changed.raise();
    }
  }

  /** Settles when it is healthy. */
  async healthy(signal: AbortSignal): Promise<void> {
    while (this.#state.health !== ContainerStatus_Health.HEALTHY) await this.#changed.wait(signal);
  }

  /** Why it is unhealthy, for people. */
  get reason(): string {
    const { check, log } = this.#options;
    const { last } = log;
    const times =
      check.retries === 1 ? "its health check failed" : `its health check failed ${check.retries} times in a row`;
    if (last === undefined) return times;
    const said = firstLine(last.output);
    if (last.exitCode < 0) return `${times}: ${said}`;
    return `${times}, at last with exit code ${last.exitCode}${said === "" ? "" : `: ${said}`}`;
  }

  #sinceStartMs(): number {
    return this.#options.clock.monotonicMs() - this.#startedMs;
  }
}

const LINE_LENGTH_MAX = 200;

function firstLine(text: string): string {
  return (text.split("\n", 1)[0] ?? "").slice(0, LINE_LENGTH_MAX);
}
