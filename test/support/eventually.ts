// Waiting for what happens soon and gives no sign: turns of the event loop until it is so, with a bound in time.

import assert from "node:assert/strict";

const BOUND_MS = 10_000;

/** Settles when `condition` holds; fails with `describe()` when it does not within ten seconds. */
export async function eventually(condition: () => boolean, describe: () => string = () => ""): Promise<void> {
  const endMs = performance.now() + BOUND_MS;
  while (!condition()) {
    assert.ok(performance.now() < endMs, `not reached: ${String(condition)} ${describe()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
