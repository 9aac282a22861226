// The container controller over a runtime, images and a network that the test watches: each step, its failure, adoption.

import assert from "node:assert/strict";
import { access, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ContainerExecutor } from "../../../agent/container/executor.ts";
import { containerIdOf } from "../../../agent/container/record.ts";
import type { Controller } from "../../../agent/exec/executor.ts";
import { SwarmError, isSwarmError } from "../../../proto/base/errors.ts";
import { NodeDescription } from "../../../proto/gen/objects.ts";
import { PortConfig, PortConfig_PublishMode } from "../../../proto/gen/specs.ts";
import type { StreamFrame } from "../../../proto/gen/streams.ts";
import type { WholeTask } from "../../../proto/model/objects.ts";
import { FakeGround, type FakeCall } from "../../support/fake-runtime.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";
import { makeTask, taskId } from "../../support/tasks.ts";

const live = new AbortController().signal;
const id = containerIdOf(taskId("t1"));
const port = PortConfig.create({ targetPort: 80, publishedPort: 8080, publishMode: PortConfig_PublishMode.HOST });
const task: WholeTask = { ...makeTask("t1"), ports: [port] };

interface Bench {
  readonly dir: string;
  readonly clock: ManualClock;
  readonly ground: FakeGround;
  readonly executor: () => ContainerExecutor;
  /** A controller of the task, as a (re)started agent gets it. */
  readonly open: (of?: WholeTask) => Promise<Controller>;
  readonly restart: () => void;
}

async function withBench(body: (bench: Bench) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-controller-"));
  const clock = new ManualClock();
  const ground = new FakeGround(clock);
  const make = (): ContainerExecutor =>
    new ContainerExecutor({ ...ground.parts(dir), describe: () => Promise.resolve(NodeDescription.create()) });
  let executor = make();
  try {
    await body({
      dir,
      clock,
      ground,
      executor: () => executor,
      open: (of = task) => executor.controller(of, live),
      restart: () => {
        executor = make();
      },
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function up(bench: Bench): Promise<Controller> {
  const controller = await bench.open();
  await controller.prepare(live);
  await controller.start(live);
  return controller;
}

const already = (error: unknown): boolean => isSwarmError(error, "AlreadyExists");
const lost = /the container was lost: its shim is gone and left no exit record/;

test("a container is made, runs, ends and gives back what it held before its end is told", async () => {
  await withBench(async (bench) => {
    const controller = await bench.open();
    assert.equal(controller.status().container, undefined);
    await controller.prepare(live);
    assert.deepEqual(bench.ground.calls, ["resolve", "reserve", "compose", "create", "attach"]);
    assert.equal(bench.ground.process(id).options.spec.hostname, id.slice(0, 12));
    await controller.start(live);
    assert.deepEqual(controller.status(), {
      container: { containerId: id, pid: 4_242, signal: 0, oomKilled: false, addresses: ["10.0.0.2/24"], health: 0 },
      ports: [port],
    });
    assert.deepEqual([...bench.executor().imagesInUse()], [["sha256:web:1", 1]]);
    const waiting = controller.wait(live);
    bench.ground.exit(id, 3);
    await waiting;
    assert.equal(controller.status().container?.exitCode, 3);
    assert.equal(bench.ground.reserved.size + bench.ground.wired.size, 0);
    assert.deepEqual(bench.ground.calls.slice(-2), ["remove", "detach"]);
    assert.equal(bench.executor().imagesInUse().size, 0);
    await access(join(bench.dir, id, "task.json"));
    await controller.remove(live);
    assert.deepEqual(await readdir(bench.dir), []);
  });
});

test("a missing image rejects with its name and leaves nothing", async () => {
  await withBench(async (bench) => {
    const controller = await bench.open(makeTask("t1", { image: "web:9" }));
    await assert.rejects(controller.prepare(live), /^SwarmError: No such image: web:9$/);
    assert.deepEqual(await readdir(bench.dir), []);
  });
});

for (const call of ["reserve", "compose", "create", "attach"] as const satisfies FakeCall[]) {
  test(`a making that fails at ${call} leaves nothing and can be tried again`, async () => {
    await withBench(async (bench) => {
      bench.ground.failures.set(call, new SwarmError("FailedPrecondition", "port 8080 is taken"));
      const controller = await bench.open();
      await assert.rejects(controller.prepare(live), /port 8080 is taken/);
      assert.equal(bench.ground.reserved.size + bench.ground.wired.size + bench.ground.processes.size, 0);
      assert.deepEqual(await readdir(bench.dir), []);
      assert.equal(controller.status().container, undefined);
      await controller.prepare(live);
      assert.equal(bench.ground.wired.has(id), true);
    });
  });
}

test("what a part calls existing already is a failure of the step, not the step done before", async () => {
  await withBench(async (bench) => {
    bench.ground.failures.set("create", new SwarmError("AlreadyExists", "the cgroup exists"));
    const controller = await bench.open();
    await assert.rejects(controller.prepare(live), (error) => isSwarmError(error, "FailedPrecondition"));
  });
});

test("a program that cannot start gives its reason and everything back", async () => {
  await withBench(async (bench) => {
    const controller = await bench.open();
    await controller.prepare(live);
    bench.ground.failures.set("start", new SwarmError("InvalidArgument", "no such command: nope"));
    await assert.rejects(controller.start(live), /no such command: nope/);
    assert.equal(bench.ground.reserved.size + bench.ground.wired.size, 0);
  });
});

test("a stop sends the image's stop signal and says how it ended", async () => {
  await withBench(async (bench) => {
    const controller = await up(bench);
    await controller.shutdown(live);
    assert.deepEqual(bench.ground.process(id).signals, [3]);
    assert.equal(controller.status().container?.signal, 3);
    assert.equal(bench.ground.reserved.size, 0);
    assert.equal(bench.clock.pending, 0);
  });
});

test("the service's stop signal wins, and KILL follows when the grace is over", async () => {
  await withBench(async (bench) => {
    const spec = { ...task.spec, container: { ...task.spec.container, stopSignal: "HUP", stopGraceMs: 2_000 } };
    const controller = await bench.open({ ...task, spec });
    await controller.prepare(live);
    await controller.start(live);
    const stopping = controller.shutdown(live);
    await bench.clock.advance(1_999);
    assert.deepEqual(bench.ground.process(id).signals, [1]);
    await bench.clock.advance(1);
    await stopping;
    assert.deepEqual(bench.ground.process(id).signals, [1, 9]);
    assert.equal(controller.status().container?.exitCode, 137);
    assert.equal(bench.clock.pending, 0);
  });
});

test("a container that never started is stopped by taking it away", async () => {
  await withBench(async (bench) => {
    const controller = await bench.open();
    await controller.prepare(live);
    await controller.shutdown(live);
    assert.equal(bench.ground.processes.size + bench.ground.reserved.size, 0);
    assert.equal(controller.status().container?.exitCode, undefined);
    await controller.shutdown(live);
  });
});

test("a restarted agent adopts what was made, what runs and what has ended", async () => {
  await withBench(async (bench) => {
    const first = await bench.open();
    await first.prepare(live);
    bench.restart();
    const second = await bench.open();
    await assert.rejects(second.prepare(live), already);
    await second.start(live);
    bench.restart();
    const third = await bench.open();
    await assert.rejects(third.prepare(live), already);
    await assert.rejects(third.start(live), already);
    assert.deepEqual(third.status().ports, [port]);
    assert.deepEqual([...bench.executor().imagesInUse()], [["sha256:web:1", 1]]);
    bench.ground.exit(id, 5);
    bench.restart();
    const fourth = await bench.open();
    await assert.rejects(fourth.start(live), already);
    assert.equal(bench.ground.reserved.size, 1);
    await fourth.wait(live);
    assert.equal(bench.ground.reserved.size, 0);
    assert.equal(fourth.status().container?.exitCode, 5);
    await fourth.remove(live);
    assert.deepEqual(await readdir(bench.dir), []);
  });
});

test("a container that is gone without a record is lost, and what it held is given back", async () => {
  await withBench(async (bench) => {
    const controller = await up(bench);
    const waiting = controller.wait(live);
    bench.ground.lose(id);
    await assert.rejects(waiting, lost);
    assert.equal(bench.ground.reserved.size, 0);
    bench.restart();
    const again = await bench.open();
    await assert.rejects(again.wait(live), lost);
    await assert.rejects(again.start(live), lost);
    await again.shutdown(live);
  });
});

test("what a crash left half-made is taken away and made anew", async () => {
  await withBench(async (bench) => {
    const first = await bench.open();
    await first.prepare(live);
    await writeFile(join(bench.dir, id, "task.json"), "");
    bench.restart();
    const second = await bench.open();
    await second.prepare(live);
    assert.equal(bench.ground.calls.filter((call) => call === "remove").length, 1);
    assert.equal(bench.ground.process(id).state, "created");
  });
});

test("an agent that stops in the middle of a wait leaves the container alone", async () => {
  await withBench(async (bench) => {
    const controller = await up(bench);
    const abort = new AbortController();
    const waiting = controller.wait(abort.signal);
    abort.abort(new SwarmError("Cancelled", "the agent stops"));
    await assert.rejects(waiting, /the agent stops/);
    controller.close();
    assert.equal(bench.ground.process(id).state, "running");
    assert.equal(bench.ground.reserved.has(id), true);
  });
});

test("a sweep takes away containers of no task and keeps the others", async () => {
  await withBench(async (bench) => {
    await up(bench);
    const other = await bench.open(makeTask("t2"));
    await other.prepare(live);
    await bench.executor().sweep(new Set([taskId("t2")]), live);
    assert.deepEqual([...bench.ground.reserved], [containerIdOf(taskId("t2"))]);
    assert.deepEqual(await readdir(bench.dir), [containerIdOf(taskId("t2"))]);
    assert.equal(bench.ground.processes.has(id), false);
  });
});

async function collect(frames: AsyncIterable<StreamFrame>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { frame } of frames) {
    if (frame?.$case === "stdout" || frame?.$case === "stderr") {
      seen.push(`${frame.$case} ${Buffer.from(frame.value).toString()}`);
    } else if (frame?.$case === "exit") seen.push(`exit ${frame.value.code}`);
    else seen.push(frame?.$case ?? "");
  }
  return seen;
}

test("a command in the container gets input and sizes, and its output and exit code come back", async () => {
  await withBench(async (bench) => {
    const controller = await up(bench);
    const value = {
      args: ["ls", "-l"],
      env: [],
      dir: "",
      user: "",
      tty: false,
      stdin: true,
      size: undefined,
      privileged: false,
    };
    const input = (async function* (): AsyncGenerator<StreamFrame> {
      await settled();
      yield { frame: { $case: "resize", value: { columns: 80, rows: 24 } } };
      yield { frame: { $case: "stdin", value: Buffer.from("hello") } };
      yield { frame: { $case: "stdinClosed", value: {} } };
    })();
    const frames = controller.stream({ taskId: task.id, kind: { $case: "exec", value } }, input, live);
    const seen = await collect(frames);
    assert.equal(seen[0], "started");
    assert.equal(seen.at(-1), "exit 7");
    assert.ok(seen.includes("stdout ls -l"));
    assert.equal(
      seen
        .filter((frame) => frame.startsWith("stderr"))
        .map((frame) => frame.slice(7))
        .join(""),
      "80x24 hello",
    );
  });
});

test("a command in a container that does not run is refused", async () => {
  await withBench(async (bench) => {
    const controller = await bench.open();
    const value = {
      args: ["ls"],
      env: [],
      dir: "",
      user: "",
      tty: false,
      stdin: false,
      size: undefined,
      privileged: false,
    };
    const none = (async function* (): AsyncGenerator<StreamFrame> {
      yield* await Promise.resolve([]);
    })();
    const frames = controller.stream({ taskId: task.id, kind: { $case: "exec", value } }, none, live);
    await assert.rejects(collect(frames), (error) => isSwarmError(error, "FailedPrecondition"));
  });
});
