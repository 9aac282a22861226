// The next step of a task, for every state and desired state.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decide, step } from "../../../agent/exec/step.ts";
import { exitError } from "../../../agent/exec/exit-error.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { ContainerStatus } from "../../../proto/gen/objects.ts";
import { Resources } from "../../../proto/gen/specs.ts";
import { TaskState, isEnded, wantsToRun } from "../../../proto/model/task-state.ts";
import { FakeExecutor, FakeMachine } from "../../support/fake-executor.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { makeTask, taskId } from "../../support/tasks.ts";

const live = new AbortController().signal;
const states = Object.values(TaskState);

test("a task goes up to what is desired of it and waits there", () => {
  const at = (state: TaskState, desired: TaskState): unknown => decide(makeTask("t1", { state, desired }), 0);
  const pause = { kind: "pause", ms: undefined };
  assert.deepEqual(at(TaskState.ASSIGNED, TaskState.READY), {
    kind: "move",
    state: TaskState.ACCEPTED,
    message: "accepted",
  });
  assert.deepEqual(at(TaskState.ACCEPTED, TaskState.READY), {
    kind: "move",
    state: TaskState.PREPARING,
    message: "preparing",
  });
  assert.deepEqual(at(TaskState.PREPARING, TaskState.READY), { kind: "prepare" });
  assert.deepEqual(at(TaskState.READY, TaskState.READY), pause);
  assert.deepEqual(at(TaskState.READY, TaskState.RUNNING), {
    kind: "move",
    state: TaskState.STARTING,
    message: "starting",
  });
  assert.deepEqual(at(TaskState.STARTING, TaskState.RUNNING), { kind: "start" });
  assert.deepEqual(at(TaskState.RUNNING, TaskState.RUNNING), { kind: "wait" });
});

test("a task with a restart delay is held at ready only", () => {
  assert.deepEqual(decide(makeTask("t1", { state: TaskState.READY }), 700), { kind: "pause", ms: 700 });
  assert.deepEqual(decide(makeTask("t1", { state: TaskState.PREPARING }), 700), { kind: "prepare" });
});

test("from any state a task that should not run is shut down once, and an ended one is left alone", () => {
  fc.assert(
    fc.property(fc.constantFrom(...states), fc.constantFrom(...states), fc.nat(), (state, desired, holdMs) => {
      const decision = decide(makeTask("t1", { state, desired }), holdMs);
      if (isEnded(state)) assert.equal(decision.kind, "pause");
      else if (!wantsToRun(desired)) assert.equal(decision.kind, "shutdown");
      if (decision.kind === "move") assert.ok(decision.state > state && decision.state <= TaskState.STARTING);
    }),
  );
});

test("a failure before the start rejects the task, a later one fails it", async () => {
  const machine = new FakeMachine();
  const clock = new ManualClock();
  const controller = await new FakeExecutor(machine).controller(makeTask("t1"), live);
  const options = { holdMs: 0, controller, clock, mayRetry: true, signal: live };
  machine.script("prepare", taskId("t1"), new SwarmError("NotFound", "No such image: web:9"));
  machine.script("start", taskId("t1"), new SwarmError("InvalidArgument", "no such command"));
  const rejected = await step({ ...options, task: makeTask("t1", { state: TaskState.PREPARING }) });
  assert.ok(rejected.kind === "status");
  assert.equal(rejected.status.state, TaskState.REJECTED);
  assert.equal(rejected.status.error, "No such image: web:9");
  const failed = await step({ ...options, task: makeTask("t1", { state: TaskState.STARTING }) });
  assert.ok(failed.kind === "status");
  assert.equal(failed.status.state, TaskState.FAILED);
  assert.equal(failed.status.error, "no such command");
});

test("what cannot be stopped is never said to have ended", async () => {
  const machine = new FakeMachine();
  machine.make(taskId("t1"), "running");
  machine.script("shutdown", taskId("t1"), new SwarmError("Internal", "cgroup is busy"));
  const controller = await new FakeExecutor(machine).controller(makeTask("t1"), live);
  const outcome = await step({
    task: makeTask("t1", { state: TaskState.RUNNING, desired: TaskState.SHUTDOWN }),
    holdMs: 0,
    controller,
    clock: new ManualClock(),
    mayRetry: false,
    signal: live,
  });
  assert.deepEqual(outcome, { kind: "retry", error: "cgroup is busy" });
});

test("the error of an ended container names its exit code, its signal or its memory", () => {
  const none = Resources.create();
  const limits = Resources.create({ memoryBytes: 64 * 1024 * 1024 });
  const status = (fields: Partial<ContainerStatus>): ContainerStatus => ContainerStatus.create(fields);
  assert.equal(exitError(status({ exitCode: 0 }), none), "");
  assert.equal(exitError(status({ exitCode: 1 }), none), "task: non-zero exit (1)");
  assert.equal(
    exitError(status({ exitCode: 139, signal: 11 }), none),
    "task: non-zero exit (139): killed by signal 11 (SIGSEGV)",
  );
  assert.equal(
    exitError(status({ exitCode: 137, signal: 9, oomKilled: true }), limits),
    "task: non-zero exit (137): out of memory (its limit is 64 MiB)",
  );
});
