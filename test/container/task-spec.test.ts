// The document that a task becomes, run for real: what the program in the container sees of it.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { createCompose } from "../../agent/container/compose.ts";
import type { ImageConfig } from "../../agent/container/spec-process.ts";
import { openCgroups } from "../../native/cgroup.ts";
import { type Container, openContainerRuntime } from "../../native/index.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { Task } from "../../proto/gen/objects.ts";
import { ContainerSpec, Mount, Mount_Type, Resources } from "../../proto/gen/specs.ts";
import { wholeTask } from "../../proto/model/objects.ts";
import { bound, logOf, textOf } from "./support/harness.ts";
import { makeTestBed, newId } from "./support/tiny-root.ts";

const bed = makeTestBed();
const runtime = openContainerRuntime({ clock: systemClock });
const compose = createCompose({ nodeHostname: "node-1" });
const made = new Set<Container>();

after(async () => {
  for (const container of made) await container.remove(bound());
  await openCgroups().removeTree(bed.cgroupParent, bound());
  bed.remove();
});

interface Given {
  readonly container?: Partial<ContainerSpec>;
  readonly limits?: Partial<Resources>;
  readonly image?: ImageConfig;
}

interface Ran {
  readonly code: number;
  readonly output: string;
  /** Its control groups, seen from outside. */
  readonly groups: string;
}

/** Runs a shell script as the task's program, to its end. */
async function run(script: string, given: Given = {}): Promise<Ran> {
  const containerId = newId();
  const dir = bed.dirOf(containerId);
  const task = Task.create({ id: "t1", serviceName: "web", slot: 1 });
  const spec = await compose({
    task: wholeTask({
      ...task,
      spec: {
        container: { ...ContainerSpec.create(), image: "tiny:1", args: ["sh", "-c", script], ...given.container },
        limits: { ...Resources.create(), ...given.limits },
        reservations: undefined,
        restart: undefined,
        placement: undefined,
        forceUpdate: 0,
      },
    }),
    image: { id: "sha256:0", config: { config: given.image ?? {} }, layers: [bed.layer] },
    containerId,
    cgroupParent: bed.cgroupParent,
    hostname: "box",
    dir,
    addresses: ["10.9.8.7/24"],
  });
  const logPath = join(dir, "log");
  const log = { path: logPath, maxBytes: 1_000_000, maxFiles: 2 };
  const container = await runtime.create(
    { id: containerId, dir, runDir: bed.runDir, spec, layers: [bed.layer], log },
    bound(),
  );
  made.add(container);
  const groups = readFileSync(`/proc/${container.pid}/cgroup`, "utf8");
  await container.start(bound());
  const { code } = await container.wait(bound());
  const lines = await logOf({ logPath });
  await container.remove(bound());
  made.delete(container);
  return { code, groups, output: textOf(lines, false) + textOf(lines, true) };
}

function mount(fields: Partial<Mount>): Mount {
  return { ...Mount.create(), ...fields };
}

test("a task's program knows its host, its names and itself", async () => {
  const { output } = await run('hostname; cat /etc/hosts /etc/hostname; echo "$A|$HOSTNAME|$TSSWARM_TASK_NAME"; pwd', {
    container: { env: ["A=1"], hosts: ["10.0.0.7 db"], dir: "/made/for/it" },
  });
  assert.match(output, /^box\n/);
  assert.match(output, /\n10\.0\.0\.7\tdb\n10\.9\.8\.7\tbox\nbox\n1\|box\|web\.1\.t1\n\/made\/for\/it\n$/);
});

test("a plain task is held by capabilities, the system call filter and masks", async () => {
  const { output } = await run(
    "grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/timer_list | wc -c; umask",
  );
  assert.match(output, /CapEff:\s+00000000a80425fb/);
  assert.match(output, /NoNewPrivs:\s+0\nSeccomp:\s+2\n0\n0022\n$/);
  const writes = await run(
    "echo 1 > /proc/sys/vm/swappiness; for one in /sys/fs/cgroup/*; do mkdir $one/x; break; done; ls /sys/firmware | wc -l",
  );
  assert.match(writes.output, /^0\n/);
  assert.equal(writes.output.match(/Read-only file system/g)?.length, 2);
});

test("a task is in a control group of its own in every hierarchy, and sees no other", async () => {
  const { groups, output } = await run("cat /proc/self/cgroup");
  const lines = groups.trim().split("\n");
  assert.ok(lines.length > 0);
  for (const line of lines) assert.match(line, /^\d+:[^:]*:\/tsswarm-test-[0-9a-f]+\/[0-9a-f]{64}$/);
  for (const line of output.trim().split("\n")) assert.match(line, /^\d+:[^:]*:\/$/);
});

test("only the devices of every container can be used", async () => {
  const { output } = await run(
    "head -c 2 /dev/urandom | wc -c; echo x > /dev/null && echo null; ls /dev | tr '\\n' ' '; ls -l /dev/fd | wc -l",
  );
  assert.match(output, /^2\nnull\n/);
  for (const name of ["fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero"])
    assert.match(output, new RegExp(`\\b${name}\\b`));
  // As root with CAP_MKNOD a node of the machine's first disk can be made, but not opened.
  const disk = await run("/bin/busybox mknod /tmp/disk b 254 0 && echo made; head -c 1 /tmp/disk");
  assert.match(disk.output, /^made\n/);
  assert.match(disk.output, /not permitted/i);
});

test("limits, ulimits, settings and users are the ones asked for", async () => {
  const { output } = await run(
    "ulimit -n; cat /proc/sys/net/core/somaxconn; id; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    {
      container: {
        ulimits: [{ name: "nofile", soft: 100, hard: 200 }],
        sysctls: { "net.core.somaxconn": "321" },
        user: "bob",
        groups: ["44"],
      },
      limits: { nanoCpus: 500_000_000, memoryBytes: 32 * 2 ** 20, pids: 20 },
    },
  );
  assert.match(output, /^100\n321\nuid=1000\(bob\) gid=1001\(bobs\) groups=.*44.*\n0\n$/);
  assert.match(output, /2000\(wheel\)/);
  const forks = await run("for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait", { limits: { pids: 5 } });
  assert.notEqual(forks.code, 0);
  const eaten = await run("tail /dev/zero; echo ended $?", { limits: { memoryBytes: 16 * 2 ** 20 } });
  assert.match(eaten.output, /ended 137/);
});

test("binds and tmpfs are there as asked, and a read-only root is one", async () => {
  const data = join(bed.base, "data");
  mkdirSync(data);
  writeFileSync(join(data, "in"), "from outside\n");
  const { output } = await run(
    "cat /ro/in; echo x > /ro/out; echo made > /rw/out; echo x > /root-file; echo ok > /scratch/a; cat /scratch/a; stat -c %a /scratch",
    {
      container: {
        readOnly: true,
        mounts: [
          mount({ source: data, target: "/ro", readOnly: true }),
          mount({ source: data, target: "/rw" }),
          mount({ type: Mount_Type.TMPFS, target: "/scratch", tmpfsSizeBytes: 65_536, tmpfsMode: 0o1770 }),
        ],
      },
    },
  );
  assert.match(output, /^from outside\nok\n1770\n/);
  assert.equal(output.match(/Read-only file system/g)?.length, 2);
  assert.equal(readFileSync(join(data, "out"), "utf8"), "made\n");
});
