// What a specification becomes in a plan, read back the way the shim reads it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import fc from "fast-check";

import { FRAME } from "../../../native/frames.ts";
import { PLAN_OP, PlanWriter } from "../../../native/plan-records.ts";
import { type PlanOptions, compileExecPlan, compilePlan } from "../../../native/plan.ts";
import type { RuntimeSpec } from "../../../native/runtime-spec.ts";

interface PlanRecord {
  readonly op: string;
  readonly fields: readonly string[];
}

const NAMES = new Map<number, string>(Object.entries(PLAN_OP).map(([name, number]) => [number, name]));

/** Reads a plan as the shim does. */
function readPlan(plan: Buffer): PlanRecord[] {
  assert.equal(plan.toString("latin1", 0, 8), "tsswarm1");
  const records: PlanRecord[] = [];
  for (let at = 8; at < plan.length;) {
    const length = plan.readUInt32LE(at + 4);
    const text = plan.toString("utf8", at + 8, at + 8 + length);
    records.push({ op: NAMES.get(plan.readUInt32LE(at)) ?? "?", fields: text.split("\0").slice(0, -1) });
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return records;
}

function enumIn(header: string, prefix: string): Record<string, number> {
  const text = readFileSync(new URL(`../../../native/src/${header}`, import.meta.url), "utf8");
  const entries = [...text.matchAll(new RegExp(`^ +${prefix}([A-Z_0-9]+) = (\\d+),`, "gm"))];
  return Object.fromEntries(entries.map(([, name = "", number]) => [name, Number(number)]));
}

const SPEC: RuntimeSpec = {
  ociVersion: "1.0.2",
  hostname: "web",
  root: { path: "/c/root" },
  process: { args: ["serve", "--all"], env: ["A=1"], cwd: "/", user: { uid: 5, gid: 6 } },
  mounts: [],
  linux: { namespaces: [{ type: "mount" }, { type: "uts" }, { type: "network" }], cgroupsPath: "/t/1" },
};

function options(change: Partial<RuntimeSpec>): PlanOptions {
  return {
    spec: { ...SPEC, ...change },
    layers: ["/l/2", "/l/1"],
    upperDir: "/c/upper",
    workDir: "/c/work",
    log: { path: "/c/log", maxBytes: 10, maxFiles: 2 },
    exitPath: "/c/exit.json",
    socketPath: "/r/s",
    cgroup: { joinPaths: ["/cg/a/cgroup.procs"], v2Dir: "/cg2", oom: { kind: "v2", eventsPath: "/cg2/memory.events" } },
    filter: undefined,
  };
}

function compiled(change: Partial<RuntimeSpec>): PlanRecord[] {
  return readPlan(compilePlan(options(change)));
}

function fieldsOf(records: readonly PlanRecord[], op: string): (readonly string[])[] {
  return records.filter((record) => record.op === op).map((record) => record.fields);
}

test("the numbers of plan records and frames are those of the shim's headers", () => {
  assert.deepEqual(enumIn("plan.h", "PLAN_"), { ...PLAN_OP });
  assert.deepEqual(enumIn("frames.h", "FRAME_"), { ...FRAME });
});

test("records read back as they were written, whatever the fields hold", () => {
  const field = fc.string({ unit: "binary" }).map((text) => text.replaceAll("\0", ""));
  fc.assert(
    fc.property(fc.array(fc.array(field, { minLength: 1, maxLength: 4 }), { maxLength: 10 }), (rows) => {
      const writer = new PlanWriter();
      for (const row of rows) writer.add("ENV", ...row);
      const wellFormed = rows.map((row) => row.map((text) => Buffer.from(text).toString("utf8")));
      assert.deepEqual(
        readPlan(writer.finish()).map(({ fields }) => fields),
        wellFormed,
      );
    }),
    { numRuns: 30 },
  );
});

test("a field with a NUL byte and a plan over 4 MiB are refused", () => {
  assert.throws(() => new PlanWriter().add("ARG", "a\0b"), {
    code: "InvalidArgument",
    message: /arg .* holds a NUL byte/,
  });
  assert.throws(() => new PlanWriter().add("ARG", "x".repeat(5_000_000)).finish(), { code: "ResourceExhausted" });
});

test("a specification becomes surroundings, a root and a process", () => {
  const records = compiled({});
  assert.deepEqual(fieldsOf(records, "NAMESPACES"), [[String(0x00020000 + 0x04000000 + 0x40000000)]]);
  assert.deepEqual(fieldsOf(records, "OVERLAY"), [["/c/root", "/c/upper", "/c/work", "/l/2", "/l/1"]]);
  assert.deepEqual(fieldsOf(records, "CGROUP_DIR"), [["/cg2"]]);
  assert.deepEqual(fieldsOf(records, "CGROUP_PROCS"), [["/cg/a/cgroup.procs"]]);
  assert.deepEqual(fieldsOf(records, "OOM_V2"), [["/cg2/memory.events"]]);
  assert.deepEqual(fieldsOf(records, "USER"), [["5:6"]]);
  assert.deepEqual(fieldsOf(records, "ARG"), [["serve"], ["--all"]]);
  assert.deepEqual(fieldsOf(records, "LOOPBACK"), [[]]);
  assert.deepEqual(fieldsOf(records, "TTY"), []);
});

test("mount options are taken apart into attributes, propagation and data", () => {
  const records = compiled({
    mounts: [
      { destination: "/a", type: "tmpfs", source: "tmpfs", options: ["nosuid", "noexec", "size=64m", "mode=1777"] },
      { destination: "/b", type: "bind", source: "/host", options: ["rbind", "ro", "rslave"] },
      { destination: "/c", source: "/host/f", options: ["bind", "nodev"] },
    ],
  });
  assert.deepEqual(fieldsOf(records, "MOUNT"), [["tmpfs", "tmpfs", "/a", "10", "size=64m", "mode=1777"]]);
  assert.deepEqual(fieldsOf(records, "BIND"), [
    ["/host", "/b", "1", "1", String(1 << 19)],
    ["/host/f", "/c", "4", "0", "0"],
  ]);
});

test("a /dev of the container's own gets its devices and links, another one does not", () => {
  const own = compiled({ mounts: [{ destination: "/dev", type: "tmpfs", source: "tmpfs" }] });
  const paths = fieldsOf(own, "DEVICE").map(([path]) => path);
  assert.deepEqual(paths, ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]);
  assert.equal(fieldsOf(own, "SYMLINK").length, 6);
  const bound = compiled({ mounts: [{ destination: "/dev", type: "bind", source: "/dev" }] });
  assert.deepEqual(fieldsOf(bound, "DEVICE"), []);
});

test("rights, limits and settings are numbers by the time they reach the shim", () => {
  const records = compiled({
    process: {
      ...SPEC.process,
      user: { uid: 0, gid: 0, username: "web", additionalGids: [7], umask: 0o77 },
      capabilities: { bounding: ["CAP_CHOWN", "CAP_KILL"], effective: ["CAP_KILL"], permitted: [] },
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 10, hard: -1 }],
      noNewPrivileges: true,
    },
    linux: { ...SPEC.linux, sysctl: { "net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.5/forwarding": "0" } },
  });
  assert.deepEqual(fieldsOf(records, "CAPABILITIES"), [["33", "32", "0", "0", "0"]]);
  assert.deepEqual(fieldsOf(records, "RLIMIT"), [["7", "10", "18446744073709551615"]]);
  assert.deepEqual(fieldsOf(records, "USER"), [["web", "7"]]);
  assert.deepEqual(fieldsOf(records, "UMASK"), [["63"]]);
  assert.deepEqual(fieldsOf(records, "NO_NEW_PRIVILEGES"), [[]]);
  assert.deepEqual(fieldsOf(records, "SYSCTL"), [
    ["net/ipv4/ip_forward", "1"],
    ["net/ipv4/conf/eth0.5/forwarding", "0"],
  ]);
});

test("what the shim cannot do is refused with a sentence", () => {
  const refused = (change: Partial<RuntimeSpec>, says: RegExp): void =>
    assert.throws(() => compilePlan(options(change)), { code: "InvalidArgument", message: says });
  const namespaces = (...list: RuntimeSpec["linux"]["namespaces"]): Partial<RuntimeSpec> => {
    return { linux: { ...SPEC.linux, namespaces: list } };
  };
  refused(namespaces({ type: "pid" }), /mount namespace of its own/);
  refused(namespaces({ type: "mount" }, { type: "user" }), /user namespaces/);
  refused(namespaces({ type: "mount" }, { type: "pid", path: "/p" }), /cannot join the pid namespace \/p/);
  refused({ mounts: [{ destination: "x", type: "tmpfs" }] }, /"x" is not an absolute path/);
  refused({ mounts: [{ destination: "/x", type: "bind", source: "rel" }] }, /source with an absolute path/);
  refused(
    { mounts: [{ destination: "/x", type: "bind", source: "/s", options: ["zebra"] }] },
    /unknown options: zebra/,
  );
  refused({ linux: { ...SPEC.linux, sysctl: { "../x": "1" } } }, /no name of a sysctl/);
  refused({ process: { ...SPEC.process, rlimits: [{ type: "RLIMIT_X", soft: 1, hard: 1 }] } }, /no resource limit/);
});

test("the plan of an exec says only what differs from the container", () => {
  const size = { columns: 80, rows: 24 };
  const plain = compileExecPlan({
    args: ["ls"],
    env: [],
    cwd: "",
    user: "",
    tty: false,
    stdin: false,
    size: undefined,
  });
  assert.deepEqual(readPlan(plain), [{ op: "ARG", fields: ["ls"] }]);
  const full = compileExecPlan({ args: ["sh"], env: ["A=1"], cwd: "/w", user: "bob", tty: true, stdin: true, size });
  assert.deepEqual(
    readPlan(full).map(({ op, fields }) => [op, ...fields]),
    [["TTY", "24", "80"], ["STDIN"], ["USER", "bob"], ["CWD", "/w"], ["ENV", "A=1"], ["ARG", "sh"]],
  );
});
