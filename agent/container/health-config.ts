// What a container's health check is: the service's words merged field by field over the image's, then the defaults. Pure.

import { type HealthConfig } from "../../proto/gen/specs.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";

/** A check as images name it. Times in nanoseconds; absent, null and 0 alike mean the default. */
export interface ImageHealthcheck {
  /** ["NONE"], ["CMD", word ...] or ["CMD-SHELL", line]. */
  readonly Test?: readonly string[] | null | undefined;
  readonly Interval?: number | undefined;
  readonly Timeout?: number | undefined;
  readonly StartPeriod?: number | undefined;
  readonly StartInterval?: number | undefined;
  readonly Retries?: number | undefined;
}

export interface HealthCheck {
  /** The command, run in the container as its own program is. */
  readonly args: readonly string[];
  /** From the end of one check to the next. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row that make it unhealthy. */
  readonly retries: number;
  /** So long after the start failures do not count, until a first success. Never shorter than the interval: see below. */
  readonly startPeriodMs: number;
  /** Instead of the interval within the start period. */
  readonly startIntervalMs: number;
}

const NS_PER_MS = 1_000_000;

/**
 * The check, or undefined for none. Docker looks for the first time after one interval, so that no failure counts before that.
 * Here the time until then belongs to the start period: what serves sooner is found healthy sooner, and nothing counts sooner.
 */
export function healthCheckOf(
  image: ImageHealthcheck | null | undefined,
  spec: HealthConfig | undefined,
): HealthCheck | undefined {
  const test = spec !== undefined && spec.test.length > 0 ? spec.test : (image?.Test ?? []);
  const args = commandOf(test);
  if (args === undefined) return undefined;
  const intervalMs = first(spec?.intervalMs, inMs(image?.Interval)) ?? DEFAULTS.healthIntervalMs;
  const startPeriodMs = first(spec?.startPeriodMs, inMs(image?.StartPeriod)) ?? 0;
  const startIntervalMs = first(spec?.startIntervalMs, inMs(image?.StartInterval));
  return {
    args,
    intervalMs,
    timeoutMs: first(spec?.timeoutMs, inMs(image?.Timeout)) ?? DEFAULTS.healthTimeoutMs,
    retries: first(spec?.retries, image?.Retries) ?? DEFAULTS.healthRetries,
    startPeriodMs: Math.max(startPeriodMs, intervalMs),
    startIntervalMs:
      startPeriodMs > 0 && startIntervalMs !== undefined
        ? startIntervalMs
        : Math.min(startIntervalMs ?? DEFAULTS.healthStartIntervalMs, intervalMs),
  };
}

function commandOf(test: readonly string[]): readonly string[] | undefined {
  const [kind, ...words] = test;
  if (words.length === 0) return undefined;
  if (kind === "CMD") return words;
  return kind === "CMD-SHELL" ? ["/bin/sh", "-c", words.join(" ")] : undefined;
}

/** The first that is set to something. */
function first(...values: readonly (number | undefined)[]): number | undefined {
  return values.find((value) => value !== undefined && value > 0);
}

/** Whole milliseconds, at least one of what is set. */
function inMs(ns: number | undefined): number | undefined {
  return ns === undefined || ns <= 0 ? undefined : Math.max(1, Math.round(ns / NS_PER_MS));
}
