// Whether a health check may be what the spec asks.

import type { HealthConfig } from "../../proto/gen/specs.ts";
import { type Field, checkNumber, invalid } from "./validate.ts";
import { checkArguments } from "./validate-container.ts";

const DURATION_MS_MAX = 7 * 86_400_000;
const RETRIES_MAX = 1_000_000;

export function checkHealth({ path, value }: Field<HealthConfig>): void {
  checkTest({ path: `${path}.test`, value: value.test });
  const durations = [
    ["interval_ms", value.intervalMs],
    ["timeout_ms", value.timeoutMs],
    ["start_period_ms", value.startPeriodMs],
    ["start_interval_ms", value.startIntervalMs],
  ] as const;
  for (const [name, ms] of durations)
    checkNumber({ path: `${path}.${name}`, value: ms ?? 0 }, { min: 0, max: DURATION_MS_MAX });
  checkNumber({ path: `${path}.retries`, value: value.retries ?? 0 }, { min: 0, max: RETRIES_MAX });
}

function checkTest(field: Field<readonly string[]>): void {
  const [kind, ...words] = field.value;
  if (kind === undefined) return;
  checkArguments(field);
  const ok = kind === "NONE" ? words.length === 0 : kind === "CMD-SHELL" ? words.length === 1 : kind === "CMD";
  if (!ok || (kind === "CMD" && (words[0] ?? "") === "") || (kind === "CMD-SHELL" && words[0] === ""))
    throw invalid(field, 'a check is ["NONE"], ["CMD", PROGRAM, WORD...] or ["CMD-SHELL", LINE]');
}
