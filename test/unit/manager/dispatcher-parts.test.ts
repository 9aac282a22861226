// The dispatcher's small machines by themselves: windows, limits, heartbeats and the set of assignments.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AssignmentSet } from "../../../manager/dispatcher/assignment-set.ts";
import { BatchWindow } from "../../../manager/dispatcher/batch-window.ts";
import type { Clock } from "../../../proto/base/clock.ts";
import { Heartbeats } from "../../../manager/dispatcher/heartbeats.ts";
import { RateLimit } from "../../../manager/dispatcher/rate-limit.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { AssignmentChange_Action, AssignmentsMessage_Type } from "../../../proto/gen/dispatcher.ts";
import { Task, TaskStatus } from "../../../proto/gen/objects.ts";
import { type WholeTask, wholeTask } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { ManualClock } from "../../support/manual-clock.ts";

function task(id: string, state: TaskState, change: Partial<Task> = {}): WholeTask {
  return wholeTask(
    Task.create({
      id,
      nodeId: "n1",
      desiredState: TaskState.RUNNING,
      ...change,
      status: TaskStatus.create({ state }),
    } as Parameters<typeof Task.create>[0]),
  );
}

test("the first batches after a quiet time go at once and later ones wait for a window", async () => {
  const clock = new ManualClock();
  const window = new BatchWindow({ clock, windowMs: 100, burst: 2 });
  const { signal } = new AbortController();
  await window.turn(signal);
  await window.turn(signal);
  assert.equal(window.waitMs(), 100);
  let went = false;
  const third = window.turn(signal).then(() => (went = true));
  await clock.advance(99);
  assert.equal(went, false);
  await clock.advance(1);
  await third;
  await clock.advance(1_000);
  assert.equal(window.waitMs(), 0);
});

test("a key may do only so much in one window", async () => {
  const clock = new ManualClock();
  const limit = new RateLimit({ clock, max: 3, windowMs: 8_000 });
  assert.deepEqual(
    [1, 2, 3, 4].map(() => limit.admit("n1")),
    [true, true, true, false],
  );
  assert.equal(limit.admit("n2"), true);
  await clock.advance(8_000);
  assert.equal(limit.admit("n1"), true);
});

test("a node that misses three beats is given up once, and beating keeps it", async () => {
  const clock = new ManualClock();
  const silent: string[] = [];
  const heartbeats = new Heartbeats({
    clock,
    random: seededRandom(7),
    periodMs: () => 5_000,
    onSilence: (id) => silent.push(id),
  });
  const periods = Array.from({ length: 50 }, () => heartbeats.beat("n1"));
  assert.ok(periods.every((ms) => ms >= 4_500 && ms <= 5_500));
  assert.ok(new Set(periods).size > 10);
  await clock.advance(13_000);
  assert.deepEqual(silent, []);
  heartbeats.beat("n1");
  await clock.advance(13_000);
  assert.deepEqual(silent, []);
  await clock.advance(4_000);
  assert.deepEqual(silent, ["n1"]);
  await clock.advance(60_000);
  assert.deepEqual(silent, ["n1"]);
  heartbeats.beat("n1");
  heartbeats.close();
  assert.equal(clock.pending, 0);
});

test("the first set holds the node's assigned tasks, ended ones too, and no others", () => {
  const set = new AssignmentSet("n1");
  const message = set.complete([
    task("pending", TaskState.PENDING),
    task("assigned", TaskState.ASSIGNED),
    task("failed", TaskState.FAILED),
    task("elsewhere", TaskState.RUNNING, { nodeId: "n2" }),
  ]);
  assert.equal(message.type, AssignmentsMessage_Type.COMPLETE);
  assert.deepEqual(
    message.changes.map((change) => change.item?.value.id),
    ["assigned", "failed"],
  );
});

test("a difference says only what managers decided, in sequence", () => {
  const set = new AssignmentSet("n1");
  const first = task("a", TaskState.ASSIGNED);
  const complete = set.complete([first]);
  const tasks = new Map([["a", { ...first, status: TaskStatus.create({ state: TaskState.RUNNING }) }]]);
  assert.equal(
    set.difference(new Set(["a"]), (id) => tasks.get(id)),
    null,
  );
  tasks.set("a", { ...first, desiredState: TaskState.SHUTDOWN });
  tasks.set("b", task("b", TaskState.ASSIGNED));
  const dirty = new Set(["a", "b", "never-seen"]);
  const second = set.difference(dirty, (id) => tasks.get(id));
  assert.equal(dirty.size, 0);
  assert.equal(second?.type, AssignmentsMessage_Type.INCREMENTAL);
  assert.equal(second.appliesTo, complete.resultsIn);
  assert.deepEqual(
    second.changes.map((change) => [change.action, change.item?.value.id]),
    [
      [AssignmentChange_Action.UPDATE, "a"],
      [AssignmentChange_Action.UPDATE, "b"],
    ],
  );
  const third = set.difference(new Set(["a"]), () => undefined);
  assert.equal(third?.appliesTo, second.resultsIn);
  assert.deepEqual(
    third.changes.map((change) => [change.action, change.item?.value.id]),
    [[AssignmentChange_Action.REMOVE, "a"]],
  );
});

test("a difference that grows too large leaves the rest for the next message", () => {
  const set = new AssignmentSet("n1");
  set.complete([]);
  const big = task("x", TaskState.ASSIGNED);
  const heavy = { ...big.spec, container: { ...big.spec.container, env: [`A=${"x".repeat(100_000)}`] } };
  const dirty = new Set(Array.from({ length: 25 }, (_, index) => `t${index}`));
  const find = (id: string): WholeTask => ({ ...big, id, spec: heavy });
  const sizes: number[] = [];
  for (let message = set.difference(dirty, find); message !== null; message = set.difference(dirty, find))
    sizes.push(message.changes.length);
  assert.ok(sizes.length > 1);
  assert.equal(
    sizes.reduce((a, b) => a + b, 0),
    25,
  );
});

test("a manager that was held up itself gives nodes their time again before it counts them as silent", () => {
  let nowMs = 0;
  let timers: { readonly atMs: number; readonly action: () => void }[] = [];
  const clock: Clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: () => Promise.reject(new Error("nothing sleeps here")),
    after: (ms, action) => {
      const timer = { atMs: nowMs + ms, action };
      timers.push(timer);
      return () => {
        timers = timers.filter((each) => each !== timer);
      };
    },
  };
  const fire = (): void => {
    const due = timers.filter((each) => each.atMs <= nowMs);
    timers = timers.filter((each) => each.atMs > nowMs);
    for (const { action } of due) action();
  };
  const silent: string[] = [];
  const heartbeats = new Heartbeats({
    clock,
    random: seededRandom(2),
    periodMs: () => 5_000,
    onSilence: (nodeId) => silent.push(nodeId),
  });
  heartbeats.beat("n1");
  heartbeats.beat("n2");
  nowMs = 60_000;
  fire();
  assert.equal(silent.length, 0, "their beats wait in the sockets");
  heartbeats.beat("n1");
  nowMs = Math.max(...timers.map((each) => each.atMs));
  fire();
  assert.ok(silent.includes("n2"));
  assert.equal(timers.length, 0);
});
