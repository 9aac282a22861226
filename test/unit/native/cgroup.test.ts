// Control groups without a kernel: layouts read from mountinfo, and both drivers writing into folders that look like cgroupfs.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openCgroups } from "../../../native/cgroup.ts";
import { parseCgroupMounts } from "../../../native/cgroup-layout.ts";
import type { CgroupLayout } from "../../../native/cgroup-types.ts";
import { weightOfShares } from "../../../native/cgroup-v2-limits.ts";
import type { SpecDeviceRule } from "../../../native/runtime-spec.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { ManualClock } from "../../support/manual-clock.ts";

function line(point: string, type: string, options: string): string {
  return `30 24 0:26 / ${point} rw,relatime shared:9 - ${type} ${type} rw,${options}\n`;
}

test("a machine with v1 controllers and an empty v2 hierarchy is hybrid", () => {
  const layout = parseCgroupMounts(
    line("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct") +
      line("/sys/fs/cgroup/memory", "cgroup", "memory") +
      line("/sys/fs/cgroup/systemd", "cgroup", "xattr,name=systemd") +
      line("/sys/fs/cgroup/unified", "cgroup2", "nsdelegate") +
      line("/other/memory", "cgroup", "memory"),
  );
  assert.equal(layout.version, "hybrid");
  assert.deepEqual(Object.fromEntries(layout.v1), {
    cpu: "/sys/fs/cgroup/cpu,cpuacct",
    cpuacct: "/sys/fs/cgroup/cpu,cpuacct",
    memory: "/sys/fs/cgroup/memory",
    "name=systemd": "/sys/fs/cgroup/systemd",
  });
  assert.equal(layout.v2, "/sys/fs/cgroup/unified");
});

test("a machine with one of the two has that version, and one with none is told so", () => {
  assert.equal(parseCgroupMounts(line("/sys/fs/cgroup", "cgroup2", "nsdelegate")).version, "v2");
  assert.equal(parseCgroupMounts(line("/a\\040b/pids", "cgroup", "pids")).version, "v1");
  assert.equal(parseCgroupMounts(line("/a\\040b/pids", "cgroup", "pids")).v1.get("pids"), "/a b/pids");
  assert.throws(
    () => parseCgroupMounts(line("/proc", "proc", "")),
    (error) => isSwarmError(error, "FailedPrecondition") && error.message.includes("mount -t cgroup2"),
  );
});

test("cpu shares become weights that keep the usual value and both ends", () => {
  const cases: readonly (readonly [number, number])[] = [
    [2, 1],
    [512, 59],
    [1024, 100],
    [262_144, 10_000],
  ];
  for (const [shares, weight] of cases) assert.equal(weightOfShares(shares), weight);
});

interface FakeV2 {
  readonly layout: CgroupLayout;
  read(path: string): string;
  /** Makes a group folder holding the files that the kernel would put there. */
  group(path: string, files?: Readonly<Record<string, string>>): void;
}

function fakeV2(t: TestContext, controllers = "cpu io memory pids cpuset"): FakeV2 {
  const root = mkdtempSync(join(tmpdir(), "tsswarm-cgroup-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const group: FakeV2["group"] = (path, files = {}) => {
    mkdirSync(join(root, path), { recursive: true });
    const all = { "cgroup.controllers": controllers, "cgroup.subtree_control": "", "cgroup.procs": "", ...files };
    for (const [name, text] of Object.entries(all)) writeFileSync(join(root, path, name), text);
  };
  group("/");
  return {
    layout: { version: "v2", v1: new Map(), v2: root },
    read: (path) => readFileSync(join(root, path), "utf8"),
    group,
  };
}

const LEAF_FILES = {
  "cpu.weight": "100",
  "cpu.max": "max 100000",
  "memory.low": "0",
  "memory.max": "max",
  "memory.swap.max": "max",
  "memory.events": "oom_kill 0",
  "pids.max": "max",
  "cpuset.cpus": "",
  "cgroup.events": "populated 1\nfrozen 0",
  "cgroup.freeze": "0",
};

test("v2 limits are written as the kernel reads them, with swap counted alone", (t) => {
  const fake = fakeV2(t);
  const rules: (readonly SpecDeviceRule[])[] = [];
  const driver = openCgroups({
    layout: fake.layout,
    deviceFilter: (dir, given) => {
      assert.equal(dir, join(fake.layout.v2 ?? "", "/tsswarm/a"));
      rules.push(given);
    },
  });
  fake.group("/tsswarm/a", LEAF_FILES);
  const cgroup = driver.find("/tsswarm/a");
  assert.ok(cgroup !== undefined);
  cgroup.update({
    cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0-1" },
    memory: { limit: 64 * 2 ** 20, swap: 128 * 2 ** 20, reservation: 2 ** 20 },
    pids: { limit: 20 },
    devices: [{ allow: false }],
  });
  const expected: Readonly<Record<string, string>> = {
    "cpu.weight": "59",
    "cpu.max": "50000 100000",
    "cpuset.cpus": "0-1",
    "memory.max": "67108864",
    "memory.swap.max": "67108864",
    "memory.low": "1048576",
    "pids.max": "20",
  };
  for (const [file, value] of Object.entries(expected)) {
    assert.ok(fake.read(`/tsswarm/a/${file}`).startsWith(value), `${file} is ${fake.read(`/tsswarm/a/${file}`)}`);
  }
  assert.deepEqual(rules, [[{ allow: false }]]);
  assert.deepEqual(cgroup.joinPaths, []);
  assert.equal(cgroup.oom?.kind, "v2");
});

test("a v2 group is made with its parents, which hand controllers down", (t) => {
  const fake = fakeV2(t);
  fake.group("/tsswarm");
  const driver = openCgroups({ layout: fake.layout });
  const cgroup = driver.create("/tsswarm/b", {});
  assert.equal(cgroup.v2Dir, join(fake.layout.v2 ?? "", "/tsswarm/b"));
  for (const dir of ["", "/tsswarm"])
    assert.match(fake.read(`${dir}/cgroup.subtree_control`), /^\+(cpu|io|memory|pids)/);
  assert.throws(
    () => driver.create("/tsswarm/b", {}),
    (error) => isSwarmError(error, "AlreadyExists"),
  );
  assert.deepEqual(driver.children("/tsswarm"), ["b"]);
});

test("a limit whose controller is missing is refused, and nothing is left", (t) => {
  const fake = fakeV2(t, "cpu pids");
  const driver = openCgroups({ layout: fake.layout });
  assert.throws(
    () => driver.create("/tsswarm/c", { memory: { limit: 2 ** 26 } }),
    (error) => isSwarmError(error, "FailedPrecondition") && error.message.includes("controller memory"),
  );
  assert.equal(driver.find("/tsswarm/c"), undefined);
});

test("a v2 group that fails to take a limit is removed again", (t) => {
  const fake = fakeV2(t);
  fake.group("/tsswarm");
  const driver = openCgroups({ layout: fake.layout });
  // A folder made here has no pids.max, as if the kernel had refused it.
  assert.throws(
    () => driver.create("/tsswarm/d", { pids: { limit: 5 } }),
    (error) => isSwarmError(error, "FailedPrecondition") && error.message.includes("pids.max"),
  );
  assert.equal(driver.find("/tsswarm/d"), undefined);
});

test("v2 statistics leave out page cache that can be dropped", (t) => {
  const fake = fakeV2(t);
  fake.group("/tsswarm/e", {
    "memory.current": "5000",
    "memory.stat": "anon 1\ninactive_file 2000\nactive_file 1",
    "memory.max": "max",
    "cpu.stat": "usage_usec 1234\nuser_usec 1",
    "pids.current": "3",
  });
  const driver = openCgroups({ layout: fake.layout });
  assert.deepEqual(driver.find("/tsswarm/e")?.stats(), {
    memoryBytes: 3000,
    memoryLimitBytes: 0,
    cpuNs: 1_234_000,
    pids: 3,
  });
});

test("a group that cannot be frozen within the bound is thawed and the caller told", async (t) => {
  const fake = fakeV2(t);
  fake.group("/tsswarm/f", LEAF_FILES);
  const clock = new ManualClock();
  const cgroup = openCgroups({ layout: fake.layout, clock }).find("/tsswarm/f");
  assert.ok(cgroup !== undefined);
  const frozen = cgroup.freeze(AbortSignal.timeout(60_000));
  const failed = assert.rejects(frozen, (error) => isSwarmError(error, "DeadlineExceeded"));
  assert.equal(fake.read("/tsswarm/f/cgroup.freeze"), "1");
  for (let round = 0; round < 40; round += 1) await clock.advance(500);
  await failed;
  assert.equal(fake.read("/tsswarm/f/cgroup.freeze"), "0");
  assert.equal(clock.pending, 0);
});

test("freezing settles as soon as the kernel reports it, and stops when it is aborted", async (t) => {
  const fake = fakeV2(t);
  fake.group("/tsswarm/g", { ...LEAF_FILES, "cgroup.events": "populated 1\nfrozen 1" });
  const clock = new ManualClock();
  const driver = openCgroups({ layout: fake.layout, clock });
  await driver.find("/tsswarm/g")?.freeze(new AbortController().signal);
  fake.group("/tsswarm/h", LEAF_FILES);
  const stop = new AbortController();
  const waiting = driver.find("/tsswarm/h")?.freeze(stop.signal);
  stop.abort(new Error("given up"));
  await assert.rejects(async () => waiting, /given up/);
  assert.equal(fake.read("/tsswarm/h/cgroup.freeze"), "0");
});

test("paths that leave the hierarchy or mean its root are refused", (t) => {
  const driver = openCgroups({ layout: fakeV2(t).layout });
  for (const path of ["/", "", "tsswarm", "/tsswarm/..", "/a//b", "/a/", "/./a", "/a\0b"]) {
    assert.throws(
      () => driver.find(path),
      (error) => isSwarmError(error, "InvalidArgument"),
      path,
    );
  }
});
