// One task's life over a scripted executor and a clock that the test moves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TaskManager } from "../../../agent/task.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import type { WholeTask } from "../../../proto/model/objects.ts";
import { TaskState, taskStateName } from "../../../proto/model/task-state.ts";
import { FakeExecutor, FakeMachine } from "../../support/fake-executor.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";
import { makeTask, taskId } from "../../support/tasks.ts";

const id = taskId("t1");

interface Run {
  readonly manager: TaskManager;
  readonly machine: FakeMachine;
  readonly clock: ManualClock;
  /** Names of the states, in order. */
  readonly states: string[];
  readonly last: () => WholeTask["status"];
  readonly desire: (desired: TaskState) => void;
  /** Settled when `run` has: "removed", or the reason. */
  readonly over: Promise<unknown>;
  readonly stop: () => Promise<void>;
}

function begin(task: WholeTask, machine = new FakeMachine()): Run {
  const clock = new ManualClock();
  const states: string[] = [];
  const abort = new AbortController();
  const manager = new TaskManager({
    task,
    executor: new FakeExecutor(machine),
    clock,
    random: seededRandom(1),
    logger: silentLogger,
    onStatus: (newer) => states.push(taskStateName(newer.status.state)),
  });
  const over = manager.run(abort.signal).then(
    () => "removed",
    (error: unknown) => error,
  );
  return {
    manager,
    machine,
    clock,
    states,
    over,
    last: () => manager.task.status,
    desire: (desired) => manager.update({ ...task, desiredState: desired }),
    stop: async () => {
      abort.abort(new SwarmError("Cancelled", "the agent stops"));
      await over;
    },
  };
}

test("a task goes through every state to running, and to complete when it ends well", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  assert.deepEqual(run.states, ["accepted", "preparing", "ready", "starting", "running"]);
  assert.equal(run.last().container?.pid, 100);
  run.machine.exit(id, { code: 0 });
  await settled();
  assert.equal(run.last().state, TaskState.COMPLETE);
  assert.equal(run.last().message, "finished");
  assert.equal(run.last().container?.exitCode, 0);
  await run.stop();
});

test("a container that ends badly fails its task with the exit code", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  run.machine.exit(id, { code: 137, signal: 9, oomKilled: true });
  await settled();
  assert.equal(run.last().state, TaskState.FAILED);
  assert.match(run.last().error, /non-zero exit \(137\): out of memory/);
  await run.stop();
});

test("a task wanted ready waits there until it is wanted running", async () => {
  const run = begin(makeTask("t1", { desired: TaskState.READY }));
  await settled();
  assert.equal(run.last().state, TaskState.READY);
  run.desire(TaskState.RUNNING);
  await settled();
  assert.equal(run.last().state, TaskState.RUNNING);
  await run.stop();
});

test("being wanted running does not disturb the preparing", async () => {
  const machine = new FakeMachine();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  machine.script("prepare", id, promise.then());
  const run = begin(makeTask("t1", { desired: TaskState.READY }), machine);
  await settled();
  run.desire(TaskState.RUNNING);
  await settled();
  assert.deepEqual(machine.callsOf(id), ["controller", "prepare", "update"]);
  resolve(undefined);
  await settled();
  assert.equal(run.last().state, TaskState.RUNNING);
  await run.stop();
});

test("the restart delay is kept at ready, and a manager's clock that is ahead cannot hold a task longer than the delay", async () => {
  const start = new ManualClock().now();
  for (const [aheadMs, delayMs] of [
    [2_000, 2_000],
    [3_600_000, 5_000],
  ] as const) {
    const run = begin(makeTask("t1", { notBeforeMs: start + aheadMs }));
    await run.clock.advance(delayMs - 1);
    assert.equal(run.last().state, TaskState.READY);
    await run.clock.advance(1);
    assert.equal(run.last().state, TaskState.RUNNING);
    await run.stop();
  }
});

for (const state of ["accepted", "preparing", "ready", "starting", "running"] as const) {
  test(`a task that is to stop while ${state} is shut down at once`, async () => {
    const machine = new FakeMachine();
    const forever = new Promise<void>(() => undefined);
    if (state === "preparing") machine.script("prepare", id, forever);
    if (state === "starting") machine.script("start", id, forever);
    const desired = { accepted: TaskState.ACCEPTED, ready: TaskState.READY } as Partial<Record<string, TaskState>>;
    const run = begin(makeTask("t1", { desired: desired[state] ?? TaskState.RUNNING }), machine);
    await settled();
    assert.equal(run.states.at(-1), state);
    run.desire(TaskState.SHUTDOWN);
    await settled();
    assert.equal(run.last().state, TaskState.SHUTDOWN);
    assert.equal(run.last().message, "shutdown");
    assert.equal(machine.containers.get(id)?.state === "running", false);
    await run.stop();
  });
}

test("a stop that fails is tried again, later and later, until it works", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  const trouble = new SwarmError("Internal", "cgroup is busy");
  run.machine.script("shutdown", id, ...Array.from({ length: 20 }, () => trouble));
  run.desire(TaskState.SHUTDOWN);
  await settled();
  assert.equal(run.last().state, TaskState.RUNNING);
  assert.equal(run.last().error, "cgroup is busy");
  await run.clock.advance(200_000);
  assert.equal(run.last().state, TaskState.SHUTDOWN);
  assert.equal(run.last().error, "");
  await run.stop();
});

test("temporary trouble while preparing is tried again", async () => {
  const machine = new FakeMachine();
  machine.script("prepare", id, new SwarmError("Unavailable", "registry is away"));
  const run = begin(makeTask("t1"), machine);
  await settled();
  assert.equal(run.last().state, TaskState.PREPARING);
  assert.equal(run.last().error, "registry is away");
  await run.clock.advance(100);
  assert.equal(run.last().state, TaskState.RUNNING);
  assert.equal(run.last().error, "");
  await run.stop();
});

test("temporary trouble that stays rejects the task in the end", async () => {
  const machine = new FakeMachine();
  machine.script(
    "prepare",
    id,
    ...Array.from({ length: 100 }, () => new SwarmError("Unavailable", "registry is away")),
  );
  const run = begin(makeTask("t1"), machine);
  await run.clock.advance(120_000);
  assert.equal(run.last().state, TaskState.REJECTED);
  assert.equal(run.last().error, "registry is away");
  assert.ok(machine.callsOf(id).length < 12);
  await run.stop();
});

test("a container that was lost fails its task and says so", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  run.machine.lose(id);
  await settled();
  assert.equal(run.last().state, TaskState.FAILED);
  assert.equal(run.last().error, "the container was lost: its shim is gone and left no exit record");
  await run.stop();
});

test("a removed task is stopped, taken away and done with", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  run.manager.remove();
  assert.equal(await run.over, "removed");
  assert.equal(run.machine.containers.has(id), false);
  assert.deepEqual(run.machine.callsOf(id).slice(-3), ["shutdown", "remove", "close"]);
});

test("removing an ended task does not stop it again", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  run.machine.exit(id, { code: 0 });
  await settled();
  run.manager.remove();
  assert.equal(await run.over, "removed");
  assert.equal(run.machine.callsOf(id).includes("shutdown"), false);
});

test("a removal in the middle of a stop lets the stop go on", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  run.machine.script("shutdown", id, promise.then());
  run.desire(TaskState.SHUTDOWN);
  await settled();
  run.manager.remove();
  await settled();
  resolve(undefined);
  assert.equal(await run.over, "removed");
  assert.deepEqual(
    run.machine.callsOf(id).filter((call) => call === "shutdown"),
    ["shutdown"],
  );
});

test("a removal that fails is tried again", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  run.machine.script("remove", id, new SwarmError("Internal", "folder is busy"));
  run.manager.remove();
  await run.clock.advance(200);
  assert.equal(await run.over, "removed");
  assert.equal(run.machine.containers.has(id), false);
});

test("when the agent stops, the container runs on", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  await run.stop();
  assert.equal(run.machine.containers.get(id)?.state, "running");
  assert.equal(run.clock.pending, 0);
});

test("an older update does not lower what is desired", async () => {
  const run = begin(makeTask("t1"));
  await settled();
  run.desire(TaskState.READY);
  assert.equal(run.manager.task.desiredState, TaskState.RUNNING);
  await run.stop();
});
