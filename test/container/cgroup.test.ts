// Control groups of the real kernel. Every test makes a parent of its own and removes it with all that is in it, also when it
// fails. On a hybrid machine both drivers are tested: v1 with its controllers, v2 with what its empty hierarchy can do.

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Cgroup, type CgroupDriver, openCgroups } from "../../native/cgroup.ts";
import { detectCgroups } from "../../native/cgroup-layout.ts";
import type { SpecDeviceRule } from "../../native/runtime-spec.ts";
import { isSwarmError } from "../../proto/base/errors.ts";

const layout = detectCgroups();
const v2Only = layout.v2 === undefined ? undefined : ({ version: "v2", v1: new Map(), v2: layout.v2 } as const);
const withoutV1 = layout.version === "v2" ? "this machine has no v1 controllers" : false;
const withoutV2 = v2Only === undefined ? "this machine does not mount cgroup2" : false;
const BOUND = { timeout: 30_000 };

const DEVICES: readonly SpecDeviceRule[] = [
  { allow: false, access: "rwm" },
  { allow: true, type: "c", major: 1, minor: 3, access: "rwm" },
  { allow: true, type: "c", major: 1, minor: 5, access: "r" },
];

/** A driver and a parent path that is gone, with all in it, when the test ends. */
function parent(t: TestContext, given = layout): { readonly driver: CgroupDriver; readonly path: string } {
  const driver = openCgroups({ layout: given });
  const path = `/tsswarm-test-${process.pid}-${t.name.replace(/[^a-z0-9]+/gi, "-").slice(0, 40)}`;
  t.after(() => driver.removeTree(path, AbortSignal.timeout(20_000)));
  return { driver, path };
}

function procsFiles(cgroup: Cgroup): readonly string[] {
  return [...cgroup.joinPaths, ...(cgroup.v2Dir === undefined ? [] : [join(cgroup.v2Dir, "cgroup.procs")])];
}

const ENTER = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 99; shift; done; shift; exec "$@"';

/** Runs a shell command inside the group, to its end. */
function runInside(cgroup: Cgroup, command: string): { readonly status: number | null; readonly output: string } {
  const args = ["-c", ENTER, "enter", ...procsFiles(cgroup), "--", "sh", "-c", command];
  const run = spawnSync("sh", args, { encoding: "utf8", timeout: 20_000 });
  return { status: run.status, output: run.stdout + run.stderr };
}

/** Starts a shell command inside the group; settles once it has printed a line. */
async function startInside(t: TestContext, cgroup: Cgroup, command: string): Promise<ChildProcess> {
  const args = ["-c", ENTER, "enter", ...procsFiles(cgroup), "--", "sh", "-c", `echo ready; ${command}`];
  const child = spawn("sh", args, { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data", { signal: AbortSignal.timeout(10_000) });
  return child;
}

test("v1 limits reach the kernel's files", { skip: withoutV1, ...BOUND }, async (t) => {
  const { driver, path } = parent(t);
  const cgroup = driver.create(`${path}/a`, {
    cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0" },
    memory: { limit: 64 * 2 ** 20, swap: 128 * 2 ** 20 },
    pids: { limit: 20 },
    devices: DEVICES,
  });
  const value = (controller: string, file: string): string =>
    readFileSync(join(layout.v1.get(controller) ?? "", path, "a", file), "utf8").trim();
  assert.equal(value("cpu", "cpu.shares"), "512");
  assert.equal(value("cpu", "cpu.cfs_quota_us"), "50000");
  assert.equal(value("cpuset", "cpuset.cpus"), "0");
  assert.equal(value("memory", "memory.limit_in_bytes"), String(64 * 2 ** 20));
  assert.equal(value("pids", "pids.max"), "20");
  assert.equal(value("devices", "devices.list").split("\n").length, 2);
  cgroup.update({ memory: { limit: 256 * 2 ** 20, swap: 512 * 2 ** 20 } });
  assert.equal(value("memory", "memory.limit_in_bytes"), String(256 * 2 ** 20));
  cgroup.update({ memory: { limit: 32 * 2 ** 20, swap: 64 * 2 ** 20 } });
  assert.equal(value("memory", "memory.limit_in_bytes"), String(32 * 2 ** 20));
  assert.equal(cgroup.stats().memoryLimitBytes, 32 * 2 ** 20);
  await cgroup.remove(AbortSignal.timeout(10_000));
  assert.equal(driver.find(`${path}/a`), undefined);
});

test("a v1 group holds its processes to their number and devices", { skip: withoutV1, ...BOUND }, (t) => {
  const { driver, path } = parent(t);
  const cgroup = driver.create(`${path}/a`, { pids: { limit: 5 }, devices: DEVICES });
  assert.deepEqual(runInside(cgroup, "echo x > /dev/null; head -c1 /dev/zero | wc -c"), { status: 0, output: "1\n" });
  assert.match(runInside(cgroup, "head -c1 /dev/urandom").output, /not permitted/i);
  assert.match(runInside(cgroup, "echo x > /dev/zero").output, /not permitted/i);
  assert.notEqual(runInside(cgroup, "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait").status, 0);
});

test("a v1 group that outgrows its memory is killed and counted", { skip: withoutV1, ...BOUND }, (t) => {
  const { driver, path } = parent(t);
  const cgroup = driver.create(`${path}/a`, { memory: { limit: 16 * 2 ** 20, swap: 16 * 2 ** 20 } });
  const run = runInside(cgroup, "tail /dev/zero; echo ended $?");
  assert.match(run.output, /ended 137/);
  assert.ok(cgroup.oom?.kind === "v1");
  assert.match(readFileSync(cgroup.oom.controlPath, "utf8"), /oom_kill 1/);
  assert.ok(existsSync(cgroup.oom.eventControlPath));
  assert.ok(cgroup.stats().cpuNs > 0);
});

test("a frozen group stands still, goes on when thawed and dies when killed frozen", BOUND, async (t) => {
  const { driver, path } = parent(t);
  const cgroup = driver.create(`${path}/a`, {});
  const child = await startInside(t, cgroup, "sleep 100 & exec sleep 100");
  await cgroup.freeze(AbortSignal.timeout(10_000));
  assert.ok(cgroup.procs().includes(child.pid ?? -1));
  assert.equal(cgroup.stats().pids, cgroup.procs().length);
  cgroup.thaw();
  await cgroup.freeze(AbortSignal.timeout(10_000));
  const ended = once(child, "exit", { signal: AbortSignal.timeout(10_000) });
  cgroup.kill();
  assert.deepEqual(await ended, [null, "SIGKILL"]);
  await cgroup.remove(AbortSignal.timeout(10_000));
  await cgroup.remove(AbortSignal.timeout(10_000));
  assert.equal(driver.find(`${path}/a`), undefined);
});

test("a tree is removed with everything that runs in it, groups made inside included", BOUND, async (t) => {
  const { driver, path } = parent(t);
  const cgroups = ["a", "b"].map((name) => driver.create(`${path}/${name}`, {}));
  const children = await Promise.all(cgroups.map((cgroup) => startInside(t, cgroup, "sleep 100 & sleep 100 & wait")));
  driver.create(`${path}/a/inner`, {});
  assert.deepEqual(driver.children(path), ["a", "b"]);
  const ended = children.map((child) => once(child, "exit", { signal: AbortSignal.timeout(10_000) }));
  await driver.removeTree(path, AbortSignal.timeout(20_000));
  await Promise.all(ended);
  assert.equal(driver.find(path), undefined);
  await driver.removeTree(path, AbortSignal.timeout(1_000));
});

test("a group that exists is not made twice", BOUND, (t) => {
  const { driver, path } = parent(t);
  const first = driver.create(`${path}/a`, {});
  assert.throws(
    () => driver.create(`${path}/a`, {}),
    (error) => isSwarmError(error, "AlreadyExists"),
  );
  assert.deepEqual(driver.find(`${path}/a`)?.joinPaths, first.joinPaths);
});

test("a v1 group that is refused a limit is gone from every hierarchy", { skip: withoutV1, ...BOUND }, (t) => {
  const { driver, path } = parent(t);
  assert.throws(
    () => driver.create(`${path}/a`, { cpu: { cpus: "4000" } }),
    (error) => isSwarmError(error, "FailedPrecondition") && error.message.includes("cpuset.cpus"),
  );
  assert.equal(driver.find(`${path}/a`), undefined);
});

test("a tree that holds the one who asks is refused", BOUND, async (t) => {
  const { driver, path } = parent(t);
  const cgroup = driver.create(`${path}/a`, {});
  const script = `
    import { openCgroups } from ${JSON.stringify(new URL("../../native/cgroup.ts", import.meta.url).href)};
    await openCgroups().removeTree(${JSON.stringify(path)}, AbortSignal.timeout(1000)).catch((e) => console.log(e.message));`;
  const args = [
    "-c",
    ENTER,
    "enter",
    ...procsFiles(cgroup),
    "--",
    process.execPath,
    "--input-type=module",
    "-e",
    script,
  ];
  const child = spawn("sh", args, { stdio: ["ignore", "pipe", "inherit"] });
  const output: string[] = [];
  child.stdout.on("data", (data: Buffer) => output.push(data.toString()));
  await once(child, "close", { signal: AbortSignal.timeout(20_000) });
  assert.match(output.join(""), /holds this process itself/);
});

test("v2 device rules are held by the kernel and can be replaced", { skip: withoutV2, ...BOUND }, (t) => {
  assert.ok(v2Only !== undefined);
  const { driver, path } = parent(t, v2Only);
  const cgroup = driver.create(`${path}/a`, { devices: DEVICES });
  assert.deepEqual(runInside(cgroup, "echo x > /dev/null; head -c1 /dev/zero | wc -c"), { status: 0, output: "1\n" });
  assert.match(runInside(cgroup, "head -c1 /dev/urandom").output, /not permitted/i);
  assert.match(runInside(cgroup, "echo x > /dev/zero").output, /not permitted/i);
  cgroup.update({ devices: [...DEVICES, { allow: true, type: "c", major: 1, minor: 9, access: "r" }] });
  assert.equal(runInside(cgroup, "head -c1 /dev/urandom | wc -c").output, "1\n");
});

test("a v2 group is frozen, and killed in one stroke while frozen", { skip: withoutV2, ...BOUND }, async (t) => {
  assert.ok(v2Only !== undefined);
  const { driver, path } = parent(t, v2Only);
  const cgroup = driver.create(`${path}/a`, {});
  const child = await startInside(t, cgroup, "sleep 100 & exec sleep 100");
  await cgroup.freeze(AbortSignal.timeout(10_000));
  assert.match(readFileSync(join(cgroup.v2Dir ?? "", "cgroup.events"), "utf8"), /frozen 1/);
  const ended = once(child, "exit", { signal: AbortSignal.timeout(10_000) });
  cgroup.kill();
  assert.deepEqual(await ended, [null, "SIGKILL"]);
  await cgroup.remove(AbortSignal.timeout(10_000));
  assert.equal(existsSync(cgroup.v2Dir ?? ""), false);
});
