// Tasks as real containers: what the controller promises, over the real runtime and a tiny root. The network is left out here
// (its own tests have it); who makes and takes addresses is watched by test/unit/agent/controller.test.ts.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createCompose } from "../../agent/container/compose.ts";
import { ContainerController } from "../../agent/container/controller.ts";
import { ContainerExecutor } from "../../agent/container/executor.ts";
import type { ContainerNetwork } from "../../agent/container/parts.ts";
import { containerIdOf } from "../../agent/container/record.ts";
import type { Controller } from "../../agent/exec/executor.ts";
import { openCgroups, openContainerRuntime } from "../../native/index.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import { silentLogger } from "../../proto/base/log.ts";
import { systemRandom } from "../../proto/base/random.ts";
import { ContainerStatus_Health, NodeDescription } from "../../proto/gen/objects.ts";
import type { ContainerSpec } from "../../proto/gen/specs.ts";
import type { ExecOpen, LogsOpen, StreamFrame } from "../../proto/gen/streams.ts";
import { newId } from "../../proto/model/ids.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { eventually } from "../cluster/support/bound.ts";
import { makeTask } from "../support/tasks.ts";
import { type TestBed, makeTestBed } from "./support/tiny-root.ts";

let bed: TestBed;
let executor: ContainerExecutor;
const live = new AbortController().signal;

const noNetwork: ContainerNetwork = {
  reserve: ({ ports }) => Promise.resolve({ addresses: [], ports }),
  attach: () => Promise.resolve(),
  withdraw: () => Promise.resolve(),
  detach: () => Promise.resolve(),
  reconcile: () => Promise.resolve(),
};

function makeExecutor(): ContainerExecutor {
  return new ContainerExecutor({
    runtime: openContainerRuntime({ clock: systemClock }),
    images: { resolve: () => Promise.resolve({ id: "sha256:tiny", config: {}, layers: [bed.layer] }) },
    network: noNetwork,
    compose: createCompose({ nodeHostname: "w1" }),
    dir: join(bed.base, "containers"),
    runDir: bed.runDir,
    cgroupParent: bed.cgroupParent,
    clock: systemClock,
    logger: silentLogger,
    describe: () => Promise.resolve(NodeDescription.create()),
  });
}

before(() => {
  bed = makeTestBed();
  executor = makeExecutor();
});

after(async () => {
  // Whatever a failed test left: no task is known any more.
  await makeExecutor().sweep(new Set(), live);
  await openCgroups().removeTree(bed.cgroupParent, live);
  bed.remove();
});

function task(script: string, container: Partial<ContainerSpec> = {}, memoryBytes = 0): WholeTask {
  const made = makeTask("t", { image: "tiny" });
  const spec = {
    ...made.spec,
    container: { ...made.spec.container, command: ["/bin/sh", "-c", script], ...container },
    limits: { ...made.spec.limits, memoryBytes },
  };
  return { ...made, id: newId(systemRandom), spec };
}

async function up(of: WholeTask): Promise<Controller> {
  const controller = await executor.controller(of, live);
  await controller.prepare(live);
  await controller.start(live);
  return controller;
}

const folder = (of: WholeTask): string => join(bed.base, "containers", containerIdOf(of.id));

async function logs(controller: Controller, of: WholeTask, open: Partial<LogsOpen> = {}): Promise<string[]> {
  const value = { follow: false, sinceMs: 0, stdout: true, stderr: true, ...open };
  const lines: string[] = [];
  for await (const { frame } of controller.stream({ taskId: of.id, kind: { $case: "logs", value } }, silence(), live)) {
    if (frame?.$case !== "logs") continue;
    lines.push(
      ...frame.value.lines.map((line) => `${line.stderr ? "err" : "out"} ${Buffer.from(line.data).toString()}`),
    );
  }
  return lines;
}

async function* silence(): AsyncGenerator<StreamFrame, void, undefined> {
  yield* await Promise.resolve([]);
}

async function exec(
  controller: Controller,
  of: WholeTask,
  open: Partial<ExecOpen>,
  input: AsyncIterable<StreamFrame> = silence(),
): Promise<{ readonly out: string; readonly err: string; readonly code: number | undefined }> {
  const plain = { env: [], dir: "", user: "", tty: false, stdin: false, size: undefined, privileged: false };
  const value = { args: [], ...plain, ...open };
  const result = { out: "", err: "", code: undefined as number | undefined };
  for await (const { frame } of controller.stream({ taskId: of.id, kind: { $case: "exec", value } }, input, live)) {
    if (frame?.$case === "stdout") result.out += Buffer.from(frame.value).toString();
    if (frame?.$case === "stderr") result.err += Buffer.from(frame.value).toString();
    if (frame?.$case === "exit") result.code = frame.value.code;
  }
  return result;
}

test("a task runs with its environment, hostname and files, its output is kept, and nothing but folder and log stay at its end", async () => {
  const of = task('echo "$TSSWARM_TASK_NAME $(hostname)"; cat /etc/hosts | head -1; echo oops >&2; exit 3');
  const controller = await up(of);
  await controller.wait(live);
  assert.equal(controller.status().container?.exitCode, 3);
  const lines = await logs(controller, of);
  assert.deepEqual([...lines].sort(), [
    "err oops",
    "out 127.0.0.1\tlocalhost",
    `out web.1.${of.id} ${containerIdOf(of.id).slice(0, 12)}`,
  ]);
  assert.equal(readdirSync(folder(of)).includes("upper"), false);
  assert.deepEqual(readdirSync(bed.runDir), []);
  await controller.remove(live);
  assert.equal(readdirSync(join(bed.base, "containers")).includes(containerIdOf(of.id)), false);
});

test("a stop is polite first, and a container that does not listen is killed after its grace", async () => {
  const polite = task("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done");
  const deaf = task("trap '' TERM; echo up; while :; do sleep 0.05; done", { stopGraceMs: 300 });
  for (const [of, code] of [
    [polite, 0],
    [deaf, 137],
  ] as const) {
    const controller = await up(of);
    // The first line says that the trap is set.
    const following = controller.stream(
      { taskId: of.id, kind: { $case: "logs", value: { follow: true, sinceMs: 0, stdout: true, stderr: true } } },
      silence(),
      live,
    );
    for await (const { frame } of following) if (frame?.$case === "logs") break;
    await controller.shutdown(live);
    assert.equal(controller.status().container?.exitCode, code);
    await controller.remove(live);
  }
});

test("a program that does not exist is said to", async () => {
  const of = task("", { command: ["/bin/nope"] });
  const controller = await executor.controller(of, live);
  await controller.prepare(live);
  await assert.rejects(controller.start(live), /nope/);
  assert.deepEqual(readdirSync(bed.runDir), []);
  await controller.remove(live);
});

test("a container that outgrows its memory is said to", async () => {
  const of = task("tail /dev/zero", {}, 16 * 1024 * 1024);
  const controller = await up(of);
  await controller.wait(live);
  const { container } = controller.status();
  assert.equal(container?.oomKilled, true);
  assert.notEqual(container.exitCode, 0);
  await controller.remove(live);
});

test("commands run in a container, with and without a terminal, and their exit codes come back", async () => {
  const of = task("while :; do sleep 0.05; done", { stopGraceMs: 200 });
  const controller = await up(of);
  assert.deepEqual(await exec(controller, of, { args: ["sh", "-c", "echo out; echo err >&2; exit 7"] }), {
    out: "out\n",
    err: "err\n",
    code: 7,
  });
  const enter = (async function* (): AsyncGenerator<StreamFrame> {
    yield await Promise.resolve({ frame: { $case: "stdin" as const, value: Buffer.from("\r") } });
  })();
  const size = { columns: 101, rows: 33 };
  const terminal = await exec(
    controller,
    of,
    { args: ["sh", "-c", "read x; stty size"], tty: true, stdin: true, size },
    enter,
  );
  assert.equal(terminal.out.trim(), "33 101");
  const input = (async function* (): AsyncGenerator<StreamFrame> {
    yield { frame: { $case: "stdin", value: Buffer.from("hello ") } };
    yield await Promise.resolve({ frame: { $case: "stdin" as const, value: Buffer.from("there") } });
    yield { frame: { $case: "stdinClosed", value: {} } };
  })();
  assert.deepEqual(await exec(controller, of, { args: ["cat"], stdin: true }, input), {
    out: "hello there",
    err: "",
    code: 0,
  });
  const big = await exec(controller, of, {
    args: ["sh", "-c", "dd if=/dev/zero bs=65536 count=64 2>/dev/null | tr '\\0' x"],
  });
  assert.equal(big.out.length, 64 * 65_536);
  await assert.rejects(exec(controller, of, { args: ["nope"] }), /nope/);
  await controller.shutdown(AbortSignal.timeout(30_000));
  await assert.rejects(exec(controller, of, { args: ["true"] }), (error) => isSwarmError(error, "FailedPrecondition"));
  await controller.remove(live);
});

test("a log is followed to the end of its container, in whole and by its last lines", async () => {
  const of = task("for i in $(seq 1 2000); do echo line $i; done; sleep 0.2; echo last", {});
  const controller = await up(of);
  const following = logs(controller, of, { follow: true });
  await controller.wait(live);
  const lines = await following;
  assert.equal(lines.length, 2_001);
  assert.equal(lines.at(-1), "out last");
  assert.deepEqual(await logs(controller, of, { tail: 2 }), ["out line 2000", "out last"]);
  await controller.remove(live);
});

test("a restarted agent adopts what runs, hears of its end, and finds what ended and what was lost meanwhile", async () => {
  const running = task("echo one; sleep 0.4; echo two; exit 5");
  const ended = task("exit 6");
  const gone = task("sleep 1000");
  for (const each of [running, ended, gone]) (await up(each)).close();
  killShim(gone);
  executor = makeExecutor();
  const adopted = await executor.controller(running, live);
  await assert.rejects(adopted.start(live), (error) => isSwarmError(error, "AlreadyExists"));
  await adopted.wait(live);
  assert.equal(adopted.status().container?.exitCode, 5);
  assert.deepEqual(await logs(adopted, running), ["out one", "out two"]);
  const past = await executor.controller(ended, live);
  await past.wait(live);
  assert.equal(past.status().container?.exitCode, 6);
  const lost = await executor.controller(gone, live);
  await assert.rejects(lost.wait(live), /the container was lost: its shim is gone and left no exit record/);
  for (const controller of [adopted, past, lost]) await controller.remove(live);
  assert.deepEqual(readdirSync(bed.runDir), []);
});

test("a sweep ends what belongs to no task", async () => {
  const of = task("sleep 1000");
  const controller = await up(of);
  const pid = controller.status().container?.pid ?? 0;
  controller.close();
  executor = makeExecutor();
  await executor.sweep(new Set(), live);
  assert.throws(() => readFileSync(`/proc/${pid}/cmdline`));
  assert.deepEqual(readdirSync(join(bed.base, "containers")), []);
  assert.deepEqual(readdirSync(bed.runDir), []);
  assert.deepEqual(openCgroups().children(bed.cgroupParent), []);
});

/** As a machine's crash does, but for one container: its shim goes without a word, and takes the container with it. */
function killShim(of: WholeTask): void {
  const plan = join(folder(of), "plan");
  const shim = readdirSync("/proc").find((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(plan));
  assert.ok(shim !== undefined, "the container has a shim");
  process.kill(Number(shim), "SIGKILL");
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch (error) {
    // It ended between the two looks.
    assert.ok(error instanceof Error);
    return "";
  }
}

test("an init is process 1: it runs the program, passes signals on, reaps orphans and ends as the program did", async () => {
  const script = 'trap "echo told; exit 9" TERM; (sleep 0.2 &); echo up; while true; do sleep 0.05; done';
  const of = task(script, { init: true });
  const controller = await up(of);
  await eventually(async () => (await logs(controller, of)).includes("out up") || undefined);
  const first = await exec(controller, of, {
    args: ["sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; cat /proc/1/comm"],
  });
  assert.match(first.out, /^\/dev\/init -- \/bin\/sh -c /);
  const changed = await exec(controller, of, { args: ["sh", "-c", "echo x >> /dev/init"] });
  assert.notEqual(changed.code, 0, "no container can change the init of the others");
  const zombies = ["sh", "-c", "sleep 0.4; grep -l 'State:.Z' /proc/[0-9]*/status; true"];
  assert.equal((await exec(controller, of, { args: zombies })).out, "");
  await controller.shutdown(live);
  assert.equal(controller.status().container?.exitCode, 9);
  assert.ok((await logs(controller, of)).includes("out told"));
});

test("a health check runs in the container, and an unhealthy container is stopped", async () => {
  const check = {
    test: ["CMD-SHELL", "read it < /health; echo $it; [ $it = fine ]"],
    intervalMs: 50,
    timeoutMs: 5_000,
    retries: 2,
  };
  const of = task("echo fine > /health; exec sleep 1000", { healthcheck: check, stopGraceMs: 100 });
  const controller = await up(of);
  assert.equal(controller.status().container?.health, ContainerStatus_Health.HEALTHY);
  const waiting = assert.rejects(
    controller.wait(live),
    /task: unhealthy container: its health check failed 2 times in a row, at last with exit code 1: broken$/,
  );
  await exec(controller, of, { args: ["sh", "-c", "echo broken > /health"] });
  await waiting;
  assert.equal(controller.status().container?.health, ContainerStatus_Health.UNHEALTHY);
  assert.notEqual(controller.status().container?.exitCode, undefined);
});

test("a check that takes too long is killed with what it started", async () => {
  const check = { test: ["CMD-SHELL", "sleep 77 & sleep 78"], intervalMs: 20, timeoutMs: 100, retries: 1_000 };
  const of = task("exec sleep 1000", { healthcheck: check, stopGraceMs: 100 });
  const controller = await executor.controller(of, live);
  assert.ok(controller instanceof ContainerController);
  await controller.prepare(live);
  const abort = new AbortController();
  const starting = controller.start(abort.signal).catch(() => undefined);
  await eventually(() => controller.healthLog.results.length >= 3 || undefined);
  abort.abort(new Error("over"));
  await starting;
  assert.match(controller.healthLog.last?.output ?? "", /the health check took longer than 0.1 s/);
  const left = await exec(controller, of, { args: ["sh", "-c", "ps | grep -c 'sleep 7[78]$'; true"] });
  assert.equal(left.out.trim(), "0");
  await controller.shutdown(live);
});
