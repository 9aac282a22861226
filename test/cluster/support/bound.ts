// How long anything in a test of a cluster may take, and waiting for what no watch stream tells.

import { systemClock } from "../../../proto/base/clock.ts";

export const BOUND_MS = 40_000;
const STEP_MS = 20;

export function bound(): AbortSignal {
  return AbortSignal.timeout(BOUND_MS);
}

/** Asks again and again until the answer is not undefined. Fails with `describe()` when that takes too long. */
export async function eventually<T>(
  ask: () => Promise<T | undefined> | T | undefined,
  describe: () => string = () => String(ask),
): Promise<T> {
  const endMs = systemClock.monotonicMs() + BOUND_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (systemClock.monotonicMs() > endMs) throw new Error(`not reached in ${BOUND_MS / 1000} s: ${describe()}`);
    await systemClock.sleep(STEP_MS, bound());
  }
}
