// What a container's program may see and do.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { compileSeccomp, defaultSeccomp } from "../../native/seccomp.ts";
import { Harness, bound, execIn } from "./support/harness.ts";

const harness = new Harness();
after(() => harness.close());

const sh = (script: string): readonly string[] => ["sh", "-c", script];

test("a container has its own processes, host name, network and mounts", async () => {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  const { stdout } = await harness.run({
    args: sh(
      "echo $$; hostname; ls /proc | grep -c '^[0-9]'; cat /proc/net/dev | grep -c :; ip link show lo | grep -c UP; ls /",
    ),
  });
  const lines = stdout.split("\n");
  assert.equal(lines[0], "1");
  assert.equal(lines[1], "tiny");
  assert.ok(Number(lines[2]) <= 4);
  assert.equal(lines[3], "1");
  assert.equal(lines[4], "1");
  assert.equal(stdout.includes("work"), false);
  assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), mounts);
});

test("masked paths hold nothing and read-only ones cannot be written", async () => {
  const { stdout } = await harness.run({
    args: sh(
      "wc -c < /proc/keys; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/shmmax || echo refused; touch /sys/x || echo refused",
    ),
  });
  assert.equal(stdout, "0\n0\nrefused\nrefused\n");
});

test("a read-only root refuses writes, and volumes on it do not", async () => {
  const { stdout } = await harness.run({
    args: sh("touch /x || echo no; touch /data/y && echo yes; touch /cfg/z || echo no; cat /cfg/f"),
    readonlyRoot: true,
    mounts: [
      { destination: "/data", type: "tmpfs", source: "tmpfs", options: ["nosuid", "size=1m"] },
      { destination: "/cfg", type: "bind", source: folderWith("f", "text"), options: ["rbind", "ro"] },
    ],
  });
  assert.equal(stdout, "no\nyes\nno\ntext");
});

test("a file can be bound over one that is missing, and over one that is there", async () => {
  const source = join(folderWith("f", "bound"), "f");
  const { stdout } = await harness.run({
    args: sh("cat /etc/hosts /etc/passwd"),
    mounts: [
      { destination: "/etc/hosts", type: "bind", source, options: ["rbind"] },
      { destination: "/etc/passwd", type: "bind", source, options: ["rbind"] },
    ],
  });
  assert.equal(stdout, "boundbound");
});

test("rights are those asked for and no more", async () => {
  const set = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"];
  const status = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\\t' ' '";
  const root = await harness.run({
    args: sh(status),
    process: { capabilities: { bounding: set, effective: set, permitted: set }, noNewPrivileges: true },
    linux: { seccomp: defaultSeccomp({ capabilities: set }) },
  });
  const bits = ((1n << 0n) | (1n << 10n)).toString(16).padStart(16, "0");
  assert.equal(
    root.stdout,
    `CapInh: ${"0".repeat(16)}\nCapPrm: ${bits}\nCapEff: ${bits}\nCapBnd: ${bits}\nCapAmb: ${"0".repeat(16)}\nNoNewPrivs: 1\nSeccomp: 2\n`,
  );
  const bob = await harness.run({
    args: sh(`${status}; id -u`),
    process: {
      capabilities: { bounding: set, effective: set, permitted: set },
      user: { uid: 0, gid: 0, username: "bob" },
    },
    linux: { seccomp: defaultSeccomp({ capabilities: set }) },
  });
  assert.match(
    bob.stdout,
    new RegExp(`CapPrm: 0{16}\nCapEff: 0{16}\nCapBnd: ${bits}\nCapAmb: 0{16}\nNoNewPrivs: 0\nSeccomp: 2\n1000\n`),
  );
  const ambient = await harness.run({
    args: sh(status),
    process: {
      capabilities: { bounding: set, effective: set, permitted: set, inheritable: set, ambient: set },
      user: { uid: 1000, gid: 1001 },
    },
  });
  assert.match(ambient.stdout, new RegExp(`CapEff: ${bits}\nCapBnd: ${bits}\nCapAmb: ${bits}\n`));
});

test("the seccomp filter is in force, in commands run later too", async () => {
  assert.ok(compileSeccomp(defaultSeccomp({ capabilities: [] })).length > 0);
  const made = await harness.start({
    args: ["sleep", "1000"],
    linux: {
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }],
      },
    },
  });
  const { code, stderr } = await execIn(made.container, ["mkdir", "/x"]);
  assert.equal(code, 1);
  assert.match(stderr, /Operation not permitted/);
  await harness.remove(made);
});

test("limits, umask, folder, groups and settings of the kernel are as the specification says", async () => {
  const { stdout } = await harness.run({
    args: sh(
      "ulimit -n; umask; pwd; id -G; cat /proc/sys/net/ipv4/ip_forward; cat /proc/self/oom_score_adj; stat -c %a:%u /made/here",
    ),
    process: {
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 200, hard: 300 }],
      user: { uid: 0, gid: 0, umask: 0o027, additionalGids: [7, 8] },
      cwd: "/made/here",
      oomScoreAdj: 250,
    },
    linux: { sysctl: { "net.ipv4.ip_forward": "1" } },
  });
  assert.equal(stdout, "200\n0027\n/made/here\n0 7 8\n1\n250\n755:0\n");
});

test("devices are those of every container and those asked for", async () => {
  const { stdout } = await harness.run({
    args: sh("ls /dev | tr '\\n' ' '; echo; stat -c %t:%T:%a /dev/null /dev/net/mine; echo x > /dev/full || echo full"),
    linux: { devices: [{ path: "/dev/net/mine", type: "c", major: 1, minor: 5, fileMode: 0o640 }] },
  });
  assert.equal(
    stdout,
    "core fd full mqueue net null ptmx pts random shm stderr stdin stdout tty urandom zero \n1:3:666\n1:5:640\nfull\n",
  );
});

test("a container that takes more memory than it may is killed and the record says so", async () => {
  const made = await harness.start({
    args: sh("tail /dev/zero"),
    linux: { resources: { memory: { limit: 16 * 1024 * 1024, swap: 16 * 1024 * 1024 } } },
  });
  const exit = await made.container.wait(bound());
  assert.equal(exit.code, 137);
  assert.equal(exit.oomKilled, true);
  await harness.remove(made);
});

test("a container cannot have more processes than its limit", async () => {
  const { stderr } = await harness.run({
    args: sh("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo unreachable"),
    linux: { resources: { pids: { limit: 4 } } },
  });
  assert.match(stderr, /can't fork/);
});

test("a joined network namespace is that of the other container", async () => {
  const first = await harness.start({ args: ["sleep", "1000"] });
  const { stdout } = await harness.run({
    args: ["readlink", "/proc/self/ns/net"],
    linux: {
      namespaces: [
        { type: "pid" },
        { type: "mount" },
        { type: "network", path: `/proc/${first.container.pid}/ns/net` },
      ],
    },
  });
  assert.equal(stdout, (await execIn(first.container, ["readlink", "/proc/self/ns/net"])).stdout);
  await harness.remove(first);
});

test("the control groups are mounted where the specification asks for them", async () => {
  const { stdout } = await harness.run({
    args: sh("cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max"),
    mounts: [
      { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "ro"] },
    ],
    linux: { resources: { pids: { limit: 77 } } },
  });
  assert.equal(stdout, "77\n");
});

function folderWith(name: string, text: string): string {
  const dir = join(harness.bed.base, `folder-${name}-${text}`);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, name), text);
  return dir;
}
