// How the restart delay grows while a task fails soon after each start, and falls back.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { RestartPolicy } from "../../../proto/gen/specs.ts";
import { Task } from "../../../proto/gen/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { type WholeTask, wholeTask } from "../../../proto/model/objects.ts";
import { afterRestart, restartDelayMaxMs, restartDelayMs } from "../../../manager/orchestrator/restart-policy.ts";

const DOCKERS = RestartPolicy.create({});

function ended(
  ranMs: number | null,
  options: { readonly quickFailures: number; readonly state?: TaskState },
): WholeTask {
  const { quickFailures, state = TaskState.FAILED } = options;
  const runningAtMs = ranMs === null ? 0 : 1_000_000;
  const endedAtMs = 1_000_000 + (ranMs ?? 0);
  const whole = Task.create({ id: "t", spec: {}, status: { state }, quickFailures, runningAtMs, endedAtMs });
  return wholeTask(whole);
}

function countAfter(task: WholeTask): number {
  return afterRestart(task, { policy: DOCKERS, now: task.endedAtMs }).quickFailures;
}

test("the first restart waits for Docker's five seconds, whatever is drawn", () => {
  assert.equal(restartDelayMs(DOCKERS, { quickFailures: 1, draw: 0.99 }), 5_000);
  assert.equal(restartDelayMs(DOCKERS, { quickFailures: 0, draw: 0.99 }), 5_000);
});

test("each further quick failure doubles the delay up to five minutes", () => {
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 4_000_000].map((quickFailures) =>
    restartDelayMs(DOCKERS, { quickFailures, draw: 0 }),
  );
  assert.deepEqual(delays, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
});

test("no delay is shorter than the first, longer than the longest, or moved by jitter by more than a quarter", () => {
  const policies = fc.record({ delayMs: fc.nat(600_000), maxDelayMs: fc.nat(600_000) });
  const draws = fc.double({ min: 0, max: 0.999_999, noNaN: true });
  fc.assert(
    fc.property(policies, fc.nat(100), draws, (delays, quickFailures, draw) => {
      const policy = RestartPolicy.create(delays);
      const plain = restartDelayMs(policy, { quickFailures, draw: 0 });
      const drawn = restartDelayMs(policy, { quickFailures, draw });
      assert.ok(plain >= delays.delayMs && plain <= restartDelayMaxMs(policy));
      assert.ok(drawn <= plain && drawn >= Math.max(delays.delayMs, Math.floor(plain * 0.75)));
      assert.ok(plain <= restartDelayMs(policy, { quickFailures: quickFailures + 1, draw: 0 }));
    }),
  );
});

test("a task that never ran or failed soon counts as one more quick failure", () => {
  assert.equal(countAfter(ended(null, { quickFailures: 0 })), 1);
  assert.equal(countAfter(ended(200, { quickFailures: 3 })), 4);
});

test("a task that ran for as long as it had waited, and ten seconds at least, makes the count begin anew", () => {
  assert.equal(countAfter(ended(9_999, { quickFailures: 1 })), 2);
  assert.equal(countAfter(ended(10_000, { quickFailures: 1 })), 1);
  assert.equal(countAfter(ended(159_999, { quickFailures: 6 })), 7);
  assert.equal(countAfter(ended(160_000, { quickFailures: 6 })), 1);
});

test("a task that completed leaves no failures to count", () => {
  assert.equal(countAfter(ended(100, { quickFailures: 5, state: TaskState.COMPLETE })), 0);
});
