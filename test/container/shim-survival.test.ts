// What outlives what: containers their agent, records their container, nothing a removal.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants, existsSync, openSync, readFileSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { openCgroups } from "../../native/cgroup.ts";
import type { Adopted, Container } from "../../native/index.ts";
import { Harness, type Made, bound, execIn, logOf, textOf } from "./support/harness.ts";
import { newId } from "./support/tiny-root.ts";

const harness = new Harness();
after(() => harness.close());

function adopt(made: Pick<Made, "id" | "dir">): Promise<Adopted> {
  const { runDir, cgroupParent } = harness.bed;
  return harness.runtime.adopt({ id: made.id, dir: made.dir, runDir, cgroupParent }, bound());
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

async function until(condition: () => boolean): Promise<void> {
  const signal = bound();
  while (!condition()) {
    signal.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Neither running nor waiting to be reaped by whoever adopts orphans here. */
function isGone(pid: number): boolean {
  return !existsSync(`/proc/${pid}`) || /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

test("a container goes on when its agent is killed, and the next agent adopts it with its log whole", async () => {
  const id = newId();
  const dir = harness.bed.dirOf(id);
  const { layer, runDir, cgroupParent } = harness.bed;
  const script = "i=0; while [ ! -e /stop ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo bye; exit 6";
  const agent = spawn(
    process.execPath,
    [
      fileURLToPath(new URL("./support/maker.ts", import.meta.url)),
      id,
      dir,
      layer,
      runDir,
      cgroupParent,
      "sh",
      "-c",
      script,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [said] = (await once(agent.stdout, "data")) as [Buffer];
  assert.match(said.toString(), /^started \d+\n$/);
  agent.kill("SIGKILL");
  await once(agent, "close");
  const made = { id, dir, logPath: join(dir, "log") };
  const before = (await logOf(made)).length;
  const signal = bound();
  while ((await logOf(made)).length < before + 10) signal.throwIfAborted();
  const adopted = await adopt(made);
  assert.equal(adopted.kind, "running");
  const { container } = adopted as { container: Container };
  assert.equal(`started ${container.pid}\n`, said.toString());
  assert.equal((await execIn(container, ["touch", "/stop"])).code, 0);
  assert.equal((await container.wait(bound())).code, 6);
  const lines = textOf(await logOf(made), false)
    .trim()
    .split("\n");
  assert.equal(lines.pop(), "bye");
  assert.deepEqual(
    lines.map(Number),
    lines.map((_, index) => index + 1),
  );
  await container.remove(bound());
});

test("a container that ended while nobody held it is found with its exit", async () => {
  const made = await harness.start({ args: ["sh", "-c", "exit 11"] });
  made.container.close();
  await until(() => existsSync(join(made.dir, "exit.json")));
  const adopted = await adopt(made);
  assert.equal(adopted.kind === "exited" && adopted.exit.code, 11);
  assert.equal(openCgroups().find(`${harness.bed.cgroupParent}/${made.id}`), undefined);
});

test("a container that waits at its barrier is found as made, and can be started", async () => {
  const made = await harness.make({ args: ["sh", "-c", "exit 12"] });
  made.container.close();
  const adopted = await adopt(made);
  assert.equal(adopted.kind, "created");
  const { container } = adopted as { container: Container };
  await container.start(bound());
  assert.equal((await container.wait(bound())).code, 12);
  await container.remove(bound());
});

test("a container whose shim is killed dies with it and is told as lost", async () => {
  const made = await harness.start({ args: ["sh", "-c", "trap '' HUP TERM; sleep 1000 & wait"] });
  const { pid } = made.container;
  const shim = parentOf(pid);
  assert.equal(readFileSync(`/proc/${shim}/comm`, "utf8"), "tsswarm-shim\n");
  const waiting = made.container.wait(bound());
  process.kill(shim, "SIGKILL");
  await assert.rejects(waiting, { code: "Unavailable" });
  await until(() => isGone(pid));
  assert.equal((await adopt(made)).kind, "lost");
  assert.equal(openCgroups().find(`${harness.bed.cgroupParent}/${made.id}`), undefined);
  await harness.remove(made);
});

test("a user's program dies with its shim though it gave up its rights", async () => {
  const made = await harness.start({ args: ["sleep", "1000"], process: { user: { uid: 1000, gid: 1001 } } });
  const { pid } = made.container;
  process.kill(parentOf(pid), "SIGKILL");
  await until(() => isGone(pid));
  await harness.remove(made);
});

test("a shim takes less than 1 MB of memory and cannot be looked into", async () => {
  const made = await harness.start({ args: ["sleep", "1000"] });
  const shim = parentOf(made.container.pid);
  const rssKb = Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${shim}/status`, "utf8"))?.[1]);
  assert.ok(rssKb > 0 && rssKb < 1000, `${rssKb} kB`);
  // The binary runs from a mount of its own, which is read-only (its path there is "/").
  assert.equal(readlinkSync(`/proc/${shim}/exe`), "/");
  assert.throws(() => openSync(`/proc/${shim}/exe`, constants.O_WRONLY | constants.O_TRUNC), { code: "EROFS" });
  await harness.remove(made);
});

test("an aborted creation leaves nothing", async () => {
  const abort = new AbortController();
  const id = newId();
  const dir = harness.bed.dirOf(id);
  const { runDir, layer, cgroupParent } = harness.bed;
  const { tinySpec } = await import("./support/tiny-root.ts");
  const creating = harness.runtime.create(
    {
      id,
      dir,
      runDir,
      spec: tinySpec({ id, dir, cgroupParent }, { args: ["true"] }),
      layers: [layer],
      log: { path: join(dir, "log"), maxBytes: 1000, maxFiles: 1 },
    },
    abort.signal,
  );
  abort.abort(new Error("not any more"));
  await assert.rejects(creating, /not any more/);
  await until(() => openCgroups().find(`${cgroupParent}/${id}`) === undefined);
  await until(() => !existsSync(join(runDir, id.slice(0, 12))));
});

interface Machine {
  readonly mounts: number;
  readonly cgroups: number;
  readonly shims: number;
  readonly descriptors: number;
  readonly sockets: number;
}

function machine(): Machine {
  const shims = readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name) || isGone(Number(name))) return false;
    try {
      return (
        readFileSync(`/proc/${name}/comm`, "utf8") === "tsswarm-shim\n" &&
        parentOf(Number(name)) === parentOf(process.pid)
      );
    } catch (error) {
      assert.ok(error instanceof Error);
      return false;
    }
  });
  return {
    mounts: readFileSync("/proc/self/mountinfo", "utf8").split("\n").length,
    cgroups: openCgroups().children(harness.bed.cgroupParent).length,
    shims: shims.length,
    descriptors: readdirSync("/proc/self/fd").length,
    sockets: readdirSync(harness.bed.runDir).length,
  };
}

test("200 containers in a row leave the machine as it was", async () => {
  await harness.run({ args: ["true"] });
  const before = machine();
  for (let index = 0; index < 200; index++) {
    const { exit } = await harness.run({ args: ["true"] });
    assert.equal(exit.code, 0);
  }
  assert.deepEqual(machine(), before);
});

test("20 containers at once are all what they should be", async () => {
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, index) => harness.run({ args: ["sh", "-c", `echo ${index}; exit ${index}`] })),
  );
  assert.deepEqual(
    results.map(({ exit, stdout }) => [exit.code, stdout]),
    results.map((_, index) => [index, `${index}\n`]),
  );
});
