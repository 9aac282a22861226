// Statuses on their way: newest per task, what matters at once, then windows, nothing lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Reporter } from "../../../agent/reporter.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import type { TaskStatusUpdate } from "../../../proto/gen/dispatcher.ts";
import { TaskStatus } from "../../../proto/gen/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

const running = TaskStatus.create({ state: TaskState.RUNNING });
const failed = TaskStatus.create({ state: TaskState.FAILED });
const ready = TaskStatus.create({ state: TaskState.READY });

function begin(
  reporter: Reporter,
  failure?: SwarmError,
): {
  readonly batches: (readonly TaskStatusUpdate[])[];
  readonly stop: () => Promise<void>;
  readonly over: Promise<unknown>;
} {
  const batches: (readonly TaskStatusUpdate[])[] = [];
  const abort = new AbortController();
  const send = (updates: readonly TaskStatusUpdate[]): Promise<void> => {
    if (failure !== undefined) return Promise.reject(failure);
    batches.push(updates);
    return Promise.resolve();
  };
  const over = reporter.run(send, abort.signal).catch((error: unknown) => error);
  return {
    batches,
    over,
    stop: async () => {
      abort.abort(new SwarmError("Cancelled", "over"));
      await over;
    },
  };
}

test("a task that runs is told at once and the next statuses gather for a window", async () => {
  const clock = new ManualClock();
  const reporter = new Reporter({ clock });
  const run = begin(reporter);
  reporter.report("a", running);
  await settled();
  assert.equal(run.batches.length, 1);
  reporter.report("a", failed);
  reporter.report("b", running);
  await clock.advance(99);
  assert.equal(run.batches.length, 1);
  await clock.advance(1);
  assert.deepEqual(run.batches[1], [
    { taskId: "a", status: failed },
    { taskId: "b", status: running },
  ]);
  await clock.advance(1_000);
  reporter.report("c", running);
  await settled();
  assert.equal(run.batches.length, 3);
  await run.stop();
  assert.equal(clock.pending, 0);
});

test("a step on the way up waits a window for what follows, and goes with it or alone", async () => {
  const clock = new ManualClock();
  const reporter = new Reporter({ clock });
  const run = begin(reporter);
  reporter.report("a", ready);
  await clock.advance(30);
  reporter.report("a", running);
  await settled();
  assert.deepEqual(run.batches, [[{ taskId: "a", status: running }]]);
  await clock.advance(1_000);
  reporter.report("b", ready);
  await clock.advance(99);
  assert.equal(run.batches.length, 1);
  await clock.advance(1);
  assert.deepEqual(run.batches[1], [{ taskId: "b", status: ready }]);
  await run.stop();
  assert.equal(clock.pending, 0);
});

test("a step that fails and is tried again is told at once", async () => {
  const reporter = new Reporter({ clock: new ManualClock() });
  const run = begin(reporter);
  const retried = TaskStatus.create({ state: TaskState.PREPARING, error: "no such image" });
  reporter.report("a", retried);
  await settled();
  assert.deepEqual(run.batches, [[{ taskId: "a", status: retried }]]);
  await run.stop();
});

test("only the newest status of a task is kept while no manager is there", async () => {
  const reporter = new Reporter({ clock: new ManualClock() });
  for (let round = 0; round < 1_000; round += 1) reporter.report("a", round % 2 === 0 ? ready : running);
  assert.equal(reporter.pending, 1);
  const run = begin(reporter);
  await settled();
  assert.deepEqual(run.batches, [[{ taskId: "a", status: running }]]);
  await run.stop();
});

test("a batch that fails is sent again by the next session, unless a newer status took its place or the task is gone", async () => {
  const clock = new ManualClock();
  const reporter = new Reporter({ clock });
  for (const id of ["a", "b", "c"]) reporter.report(id, ready);
  const first = begin(reporter, new SwarmError("Unavailable", "gone"));
  await clock.advance(100);
  assert.ok((await first.over) instanceof SwarmError);
  reporter.report("a", running);
  reporter.forget("c");
  const second = begin(reporter);
  await settled();
  assert.deepEqual(
    second.batches.flat().sort((x, y) => x.taskId.localeCompare(y.taskId)),
    [
      { taskId: "a", status: running },
      { taskId: "b", status: ready },
    ],
  );
  await second.stop();
});

test("a manager that is met anew is told of every task", async () => {
  const clock = new ManualClock();
  const reporter = new Reporter({ clock });
  reporter.report("a", running);
  const first = begin(reporter);
  await settled();
  await first.stop();
  assert.equal(reporter.pending, 0);
  reporter.repeatAll();
  const second = begin(reporter);
  await settled();
  assert.deepEqual(second.batches, [[{ taskId: "a", status: running }]]);
  await second.stop();
});

test("a batch stays below the size that a manager takes", async () => {
  const clock = new ManualClock();
  const reporter = new Reporter({ clock });
  const long = TaskStatus.create({ state: TaskState.REJECTED, error: "x".repeat(1_000) });
  for (let index = 0; index < 3_000; index += 1) reporter.report(`task-${index}`, long);
  const run = begin(reporter);
  await clock.advance(1_000);
  assert.ok(run.batches.length > 2);
  assert.equal(run.batches.flat().length, 3_000);
  await run.stop();
});
