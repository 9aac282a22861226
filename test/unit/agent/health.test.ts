// Health checks: what a check is, when a container counts as healthy, and a task's way through its states with one.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import fc from "fast-check";
import { ContainerController } from "../../../agent/container/controller.ts";
import { ContainerExecutor } from "../../../agent/container/executor.ts";
import { type HealthCheck, healthCheckOf } from "../../../agent/container/health-config.ts";
import { HEALTH_OUTPUT_BYTES_MAX, HealthLog } from "../../../agent/container/health-log.ts";
import { probe } from "../../../agent/container/health-probe.ts";
import { HEALTHY, STARTING, afterCheck, untilNextMs } from "../../../agent/container/health-state.ts";
import { containerIdOf } from "../../../agent/container/record.ts";
import type { Executor } from "../../../agent/exec/executor.ts";
import { TaskManager } from "../../../agent/task.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { systemRandom } from "../../../proto/base/random.ts";
import { ContainerStatus_Health as Health, NodeDescription } from "../../../proto/gen/objects.ts";
import type { HealthConfig } from "../../../proto/gen/specs.ts";
import type { WholeTask } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeGround } from "../../support/fake-runtime.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";
import { makeTask, taskId } from "../../support/tasks.ts";

const NS = 1_000_000;
const id = containerIdOf(taskId("t1"));

test("a check is the service's words over the image's over the defaults, and NONE takes it away", () => {
  const image = { Test: ["CMD-SHELL", "wget -q localhost"], Interval: 2_000 * NS, Retries: 5 };
  assert.deepEqual(healthCheckOf(image, undefined), {
    args: ["/bin/sh", "-c", "wget -q localhost"],
    intervalMs: 2_000,
    timeoutMs: 30_000,
    retries: 5,
    startPeriodMs: 2_000,
    startIntervalMs: 2_000,
  });
  const own: HealthConfig = { test: ["CMD", "true", "x"], intervalMs: 0, timeoutMs: 7, startPeriodMs: 60_000 };
  assert.deepEqual(healthCheckOf(image, own), {
    args: ["true", "x"],
    intervalMs: 2_000,
    timeoutMs: 7,
    retries: 5,
    startPeriodMs: 60_000,
    startIntervalMs: 2_000,
  });
  assert.equal(healthCheckOf(image, { test: ["NONE"] }), undefined);
  assert.equal(healthCheckOf({ Test: ["NONE"] }, { test: [], intervalMs: 5 }), undefined);
  assert.equal(healthCheckOf(undefined, undefined), undefined);
  assert.equal(healthCheckOf(null, own)?.intervalMs, 30_000);
});

const outcomes = fc.array(fc.record({ ok: fc.boolean(), afterMs: fc.integer({ min: 1, max: 400 }) }), {
  maxLength: 40,
});
const checks: fc.Arbitrary<HealthCheck> = fc.record({
  args: fc.constant(["true"]),
  intervalMs: fc.integer({ min: 1, max: 300 }),
  timeoutMs: fc.integer({ min: 1, max: 300 }),
  retries: fc.integer({ min: 1, max: 5 }),
  startPeriodMs: fc.integer({ min: 1, max: 2_000 }),
  startIntervalMs: fc.integer({ min: 1, max: 300 }),
});

test("unhealthy is exactly so many failures in a row that count: none before a success within the start period", () => {
  fc.assert(
    fc.property(checks, outcomes, (check, seen) => {
      let state = STARTING;
      let sinceStartMs = 0;
      let everOk = false;
      let row = 0;
      for (const { ok, afterMs } of seen) {
        sinceStartMs += afterMs;
        state = afterCheck(state, check, { ok, sinceStartMs });
        everOk ||= ok;
        if (ok) row = 0;
        else if (everOk || sinceStartMs >= check.startPeriodMs) row += 1;
        const expected: Health = row >= check.retries ? Health.UNHEALTHY : everOk ? Health.HEALTHY : Health.STARTING;
        assert.equal(state.health, expected);
        if (state.health === Health.UNHEALTHY) break;
      }
    }),
  );
});

test("the next check comes by the start interval within the start period, else by the interval, and never at once", () => {
  fc.assert(
    fc.property(checks, fc.nat(4_000), (check, sinceStartMs) => {
      assert.equal(untilNextMs(HEALTHY, check, sinceStartMs), check.intervalMs);
      const starting = untilNextMs(STARTING, check, sinceStartMs);
      assert.ok(starting >= 1);
      if (sinceStartMs >= check.startPeriodMs) assert.equal(starting, check.intervalMs);
      else assert.ok(starting <= check.startIntervalMs && sinceStartMs + starting <= check.startPeriodMs + 1);
    }),
  );
});

test("the log of checks keeps the last five", () => {
  const log = new HealthLog();
  for (let code = 0; code < 9; code += 1) log.add({ startedAtMs: 1, endedAtMs: 2, exitCode: code, output: "" });
  assert.deepEqual(
    log.results.map(({ exitCode }) => exitCode),
    [4, 5, 6, 7, 8],
  );
});

interface Bench {
  readonly clock: ManualClock;
  readonly ground: FakeGround;
  readonly statuses: WholeTask[];
  /** The daemon ends and begins anew, with what its journal holds. */
  readonly restart: () => Promise<void>;
  readonly last: () => WholeTask;
  readonly stop: () => void;
  readonly controller: () => ContainerController | undefined;
}

const CHECK = { Test: ["CMD", "ask"], Interval: 1_000 * NS, Timeout: 500 * NS, Retries: 3, StartPeriod: 10_000 * NS };

async function withTask(body: (bench: Bench) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-health-"));
  const clock = new ManualClock();
  const ground = new FakeGround(clock);
  ground.healthcheck = { ...CHECK, StartInterval: 1_000 * NS };
  const statuses: WholeTask[] = [];
  let newest = makeTask("t1", { state: TaskState.ASSIGNED });
  let abort = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  let manager: TaskManager | undefined;
  let controller: ContainerController | undefined;
  const begin = (): void => {
    const real = new ContainerExecutor({
      ...ground.parts(dir),
      describe: () => Promise.resolve(NodeDescription.create()),
    });
    const executor: Executor = {
      describe: () => real.describe(),
      sweep: () => Promise.resolve(),
      controller: async (task, signal) => {
        const made = await real.controller(task, signal);
        if (made instanceof ContainerController) controller = made;
        return made;
      },
    };
    abort = new AbortController();
    const onStatus = (task: WholeTask): void => {
      newest = task;
      statuses.push(task);
    };
    manager = new TaskManager({ task: newest, executor, clock, random: systemRandom, logger: silentLogger, onStatus });
    running = manager.run(abort.signal).catch(() => undefined);
  };
  const end = async (): Promise<void> => {
    abort.abort();
    await running;
  };
  begin();
  try {
    await body({
      clock,
      ground,
      statuses,
      restart: async () => {
        await end();
        begin();
        await eventually(() => clock.pending > 0);
      },
      last: () => newest,
      stop: () => void manager?.update({ ...newest, desiredState: TaskState.SHUTDOWN }),
      controller: () => controller,
    });
  } finally {
    await end();
    await rm(dir, { recursive: true, force: true });
  }
}

async function until(bench: Bench, what: (task: WholeTask) => boolean): Promise<void> {
  await eventually(
    () => what(bench.last()),
    () => JSON.stringify(bench.last().status),
  );
}

/** The container runs, and its next check is waited for. */
async function begun(bench: Bench): Promise<void> {
  await until(bench, ({ status }) => status.state >= TaskState.STARTING);
  await eventually(() => bench.ground.processes.get(id)?.state === "running" && bench.clock.pending > 0);
}

const healthOf = (task: WholeTask): Health | undefined => task.status.container?.health;
const states = (bench: Bench): TaskState[] => bench.statuses.map(({ status }) => status.state);

test("a task runs only once it is healthy, and until then it says starting", async () => {
  await withTask(async (bench) => {
    let code = 1;
    bench.ground.check = () => code;
    await begun(bench);
    await bench.clock.advance(5_000);
    assert.equal(bench.last().status.state, TaskState.STARTING);
    assert.equal(healthOf(bench.last()), Health.STARTING);
    code = 0;
    await bench.clock.advance(1_100);
    await until(bench, ({ status }) => status.state === TaskState.RUNNING);
    assert.equal(healthOf(bench.last()), Health.HEALTHY);
  });
});

test("without a check a task runs at once", async () => {
  await withTask(async (bench) => {
    bench.ground.healthcheck = undefined;
    await until(bench, ({ status }) => status.state === TaskState.RUNNING);
    assert.equal(healthOf(bench.last()), Health.NONE);
  });
});

test("failures in the start period do not count, those after it stop the task with the reason", async () => {
  await withTask(async (bench) => {
    bench.ground.check = () => 7;
    await begun(bench);
    await bench.clock.advance(11_900);
    assert.equal(bench.last().status.state, TaskState.STARTING);
    await bench.clock.advance(4_000);
    await until(bench, ({ status }) => status.state === TaskState.FAILED);
    assert.equal(
      bench.last().status.error,
      "task: unhealthy container: its health check failed 3 times in a row, at last with exit code 7: code 7",
    );
    assert.equal(healthOf(bench.last()), Health.UNHEALTHY);
    assert.deepEqual(bench.ground.process(id).signals, [3], "stopped by its own stop signal");
    assert.ok(bench.ground.calls.includes("withdraw"), "out of load balancing before the stop");
    assert.equal(bench.controller()?.healthLog.results.length, 5);
    assert.ok(!states(bench).includes(TaskState.RUNNING));
  });
});

test("a check that takes too long is a failure, and a success between failures begins the count anew", async () => {
  await withTask(async (bench) => {
    const codes: (number | Promise<number>)[] = [0, 1, new Promise(() => undefined), 0, 1, 1];
    bench.ground.check = () => codes.shift() ?? 0;
    await begun(bench);
    await bench.clock.advance(20_000);
    assert.equal(bench.last().status.state, TaskState.RUNNING);
    assert.equal(healthOf(bench.last()), Health.HEALTHY);
    assert.equal(codes.length, 0);
  });
});

test("a task that ends before it is healthy has ended by its exit code and never ran", async () => {
  await withTask(async (bench) => {
    bench.ground.check = () => 1;
    await begun(bench);
    bench.ground.exit(id, 5);
    await until(bench, ({ status }) => status.state === TaskState.FAILED);
    assert.equal(bench.last().status.error, "task: non-zero exit (5)");
    assert.ok(!states(bench).includes(TaskState.RUNNING));
  });
});

test("a task that is told to stop while it is being checked stops", async () => {
  await withTask(async (bench) => {
    bench.ground.check = () => new Promise(() => undefined);
    await begun(bench);
    await bench.clock.advance(1_100);
    bench.stop();
    await until(bench, ({ status }) => status.state === TaskState.SHUTDOWN);
    assert.equal(bench.clock.pending, 0, "no check goes on");
  });
});

test("a restarted daemon waits on for a starting task and goes on checking a healthy one", async () => {
  await withTask(async (bench) => {
    let code = 1;
    bench.ground.check = () => code;
    await begun(bench);
    await bench.clock.advance(2_000);
    await bench.restart();
    await bench.clock.advance(2_000);
    assert.equal(bench.last().status.state, TaskState.STARTING);
    code = 0;
    await bench.clock.advance(1_100);
    await until(bench, ({ status }) => status.state === TaskState.RUNNING);
    await bench.restart();
    assert.equal(bench.last().status.state, TaskState.RUNNING);
    code = 1;
    await bench.clock.advance(5_000);
    await until(bench, ({ status }) => status.state === TaskState.FAILED);
    assert.equal(healthOf(bench.last()), Health.UNHEALTHY);
  });
});

test("a start period goes on over a restart of the daemon", async () => {
  await withTask(async (bench) => {
    bench.ground.check = () => 1;
    await begun(bench);
    await bench.clock.advance(9_000);
    await bench.restart();
    await bench.clock.advance(7_000);
    await until(bench, ({ status }) => status.state === TaskState.FAILED);
  });
});

test("of a check's output only the beginning is kept", async () => {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  stdout.end(Buffer.alloc(10 * HEALTH_OUTPUT_BYTES_MAX, "x"));
  stderr.end("never seen");
  const nothing = { resize: () => undefined, kill: () => undefined, close: () => undefined, endInput: () => undefined };
  const wait = async (): Promise<number> => {
    await settled();
    return 0;
  };
  const session = { stdout, stderr, write: () => Promise.resolve(), wait, ...nothing };
  const options = {
    container: { exec: () => Promise.resolve(session) },
    check: { args: ["true"], timeoutMs: 1_000 },
    clock: new ManualClock(),
  };
  const result = await probe(options, new AbortController().signal);
  assert.equal(result.output, "x".repeat(HEALTH_OUTPUT_BYTES_MAX));
});
