// What a task and its image become as an OCI document.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ImageConfig } from "../../../agent/container/spec-process.ts";
import { runtimeSpec } from "../../../agent/container/spec.ts";
import type { RuntimeSpec } from "../../../native/index.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { Task } from "../../../proto/gen/objects.ts";
import { ContainerSpec, Mount, Mount_Type, Resources } from "../../../proto/gen/specs.ts";
import { wholeTask } from "../../../proto/model/objects.ts";

const ID = "ab".repeat(32);

interface Given {
  readonly container?: Partial<ContainerSpec>;
  readonly limits?: Partial<Resources>;
  readonly image?: ImageConfig;
}

function specOf({ container = {}, limits = {}, image = { Cmd: ["/bin/sh"] } }: Given = {}): RuntimeSpec {
  const task = Task.create({ id: "t1", serviceName: "web" });
  return runtimeSpec({
    task: wholeTask({
      ...task,
      spec: {
        container: { ...ContainerSpec.create({ image: "web:1" }), ...container },
        limits: { ...Resources.create(), ...limits },
        reservations: undefined,
        restart: undefined,
        placement: undefined,
        forceUpdate: 0,
      },
    }),
    image: { config: { config: image } },
    containerId: ID,
    cgroupParent: "/tsswarm",
    hostname: "host1",
    dir: "/state/containers/x",
  });
}

function refuses(given: Given, words: RegExp): void {
  assert.throws(
    () => specOf(given),
    (error) => isSwarmError(error, "InvalidArgument") && words.test(error.message),
  );
}

test("the command line is the image's, save where the service says otherwise", () => {
  const image = { Entrypoint: ["/entry"], Cmd: ["serve", "--all"] };
  const cases: readonly (readonly [Partial<ContainerSpec>, readonly string[]])[] = [
    [{}, ["/entry", "serve", "--all"]],
    [{ args: ["other"] }, ["/entry", "other"]],
    [{ command: ["/mine"] }, ["/mine"]],
    [{ command: ["/mine"], args: ["x"] }, ["/mine", "x"]],
  ];
  for (const [container, args] of cases) assert.deepEqual(specOf({ container, image }).process.args, args);
  assert.deepEqual(specOf({ image: { Entrypoint: null, Cmd: ["a", "b"] } }).process.args, ["a", "b"]);
  refuses({ image: { Entrypoint: null } }, /No command specified: image web:1/);
  refuses({ image: { Cmd: [""] } }, /No command specified/);
});

test("the environment is the defaults, overridden by the image's and these by the service's", () => {
  const image = { Cmd: ["x"], Env: ["PATH=/opt/bin", "A=image", "B=image", "C=image"] };
  const { process } = specOf({ image, container: { env: ["A=service", "C", "D=a=b"] } });
  assert.deepEqual(process.env, ["PATH=/opt/bin", "HOSTNAME=host1", "A=service", "B=image", "D=a=b"]);
  const plain = specOf({ container: { tty: true } }).process;
  assert.match(plain.env[0] ?? "", /^PATH=\/usr\/local\/sbin:.*:\/bin$/);
  assert.ok(plain.env.includes("TERM=xterm"));
  assert.equal(plain.terminal, true);
});

test("user, folder and groups come from the service, else the image", () => {
  const image = { Cmd: ["x"], User: "app:app", WorkingDir: "srv" };
  const fromImage = specOf({ image }).process;
  assert.equal(fromImage.user.username, "app:app");
  assert.equal(fromImage.user.umask, 0o022);
  assert.equal(fromImage.cwd, "/srv");
  const own = specOf({ image, container: { user: "1000", dir: "/data", groups: ["44", "100"] } }).process;
  assert.equal(own.user.username, "1000");
  assert.equal(own.cwd, "/data");
  assert.deepEqual(own.user.additionalGids, [44, 100]);
  assert.equal(specOf().process.cwd, "/");
  refuses({ container: { groups: ["video"] } }, /"video" must be a number/);
});

test("capabilities decide the system call filter too", () => {
  const plain = specOf();
  assert.equal(plain.process.capabilities?.bounding.length, 14);
  assert.equal(plain.process.noNewPrivileges, false);
  const admin = specOf({
    container: { capabilityAdd: ["SYS_ADMIN"], capabilityDrop: ["CAP_MKNOD"], noNewPrivileges: true },
  });
  assert.equal(admin.process.capabilities?.effective.includes("CAP_SYS_ADMIN"), true);
  assert.equal(admin.process.capabilities.permitted.includes("CAP_MKNOD"), false);
  assert.equal(admin.process.noNewPrivileges, true);
  const allows = (spec: RuntimeSpec, name: string): boolean =>
    (spec.linux.seccomp?.syscalls ?? []).some(
      (rule) => rule.action === "SCMP_ACT_ALLOW" && rule.args === undefined && rule.names.includes(name),
    );
  assert.ok(allows(admin, "mount") && !allows(plain, "mount"));
  refuses({ container: { capabilityAdd: ["FLY"] } }, /no capability "FLY"/);
});

test("ulimits become rlimits, and an unknown one is refused with the known ones", () => {
  const ulimits = [
    { name: "nofile", soft: 1024, hard: 2048 },
    { name: "core", soft: -1, hard: -1 },
  ];
  assert.deepEqual(specOf({ container: { ulimits } }).process.rlimits, [
    { type: "RLIMIT_NOFILE", soft: 1024, hard: 2048 },
    { type: "RLIMIT_CORE", soft: -1, hard: -1 },
  ]);
  refuses({ container: { ulimits: [{ name: "files", soft: 1, hard: 1 }] } }, /"files".*nofile, nproc/);
  refuses({ container: { ulimits: [{ name: "toString", soft: 1, hard: 1 }] } }, /"toString"/);
  refuses({ container: { ulimits: [{ name: "nofile", soft: 3, hard: 2 }] } }, /soft limit 3 is above/);
  refuses({ container: { ulimits: [{ name: "nofile", soft: -1, hard: 2 }] } }, /above the hard limit/);
});

test("only settings of the container's own namespaces may be set", () => {
  const sysctls = { "net.core.somaxconn": "512", "kernel.shmmax": "1", "kernel.msgmax": "1", "kernel.sem": "1 1 1 1" };
  const set = specOf({ container: { sysctls } }).linux.sysctl ?? {};
  for (const [name, value] of Object.entries(sysctls)) assert.equal(set[name], value);
  assert.equal(set["net.ipv4.ip_unprivileged_port_start"], "0");
  assert.equal(
    specOf({ container: { sysctls: { "fs.mqueue.msg_max": "5" } } }).linux.sysctl?.["fs.mqueue.msg_max"],
    "5",
  );
  for (const name of ["kernel.hostname", "vm.swappiness", "fs.file-max", "kernel.shmfoo", "net.", "net.../kernel/x"]) {
    refuses({ container: { sysctls: { [name]: "1" } } }, /is not kept per container/);
  }
});

test("limits become resources, and no limits only device rules", () => {
  const { resources } = specOf({ limits: { nanoCpus: 500_000_000, memoryBytes: 64 * 2 ** 20, pids: 100 } }).linux;
  assert.deepEqual(resources?.cpu, { quota: 50_000, period: 100_000 });
  assert.deepEqual(resources.memory, { limit: 64 * 2 ** 20, swap: 128 * 2 ** 20 });
  assert.deepEqual(resources.pids, { limit: 100 });
  assert.equal(specOf({ limits: { nanoCpus: 1_000 } }).linux.resources?.cpu?.quota, 1_000);
  const none = specOf().linux.resources;
  assert.deepEqual(Object.keys(none ?? {}), ["devices"]);
  assert.deepEqual(none?.devices?.[0], { allow: false, type: "a", access: "rwm" });
  assert.ok(none.devices.some((rule) => rule.allow && rule.major === 136 && rule.minor === undefined));
});

test("a container has Docker's mounts, its own files, and parents come before what lies in them", () => {
  const destinations = specOf().mounts.map((mount) => mount.destination);
  assert.deepEqual([...destinations].sort(), [
    "/dev",
    "/dev/mqueue",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/sys",
    "/sys/fs/cgroup",
  ]);
  for (const path of destinations) {
    const parent = destinations.indexOf(path.slice(0, path.lastIndexOf("/")));
    assert.ok(parent < destinations.indexOf(path), path);
  }
  const hosts = specOf().mounts.find((mount) => mount.destination === "/etc/hosts");
  assert.equal(hosts?.source, "/state/containers/x/hosts");
});

function mount(fields: Partial<Mount>): Mount {
  return { ...Mount.create(), ...fields };
}

test("binds and tmpfs are mounted as asked, in place of a standard mount", () => {
  const mounts = [
    mount({ source: "/srv/data", target: "/data/", readOnly: true }),
    mount({ source: "/srv/one", target: "/one", bindPropagation: "rshared", bindNonRecursive: true }),
    mount({ type: Mount_Type.TMPFS, target: "/dev/shm", tmpfsSizeBytes: 4096, tmpfsMode: 0o700 }),
    mount({ type: Mount_Type.TMPFS, target: "/data/tmp" }),
  ];
  const spec = specOf({ container: { mounts } });
  const find = (destination: string): readonly (readonly string[] | undefined)[] =>
    spec.mounts.filter((each) => each.destination === destination).map((each) => each.options);
  assert.deepEqual(find("/data"), [["rbind", "rprivate", "rro"]]);
  assert.deepEqual(find("/one"), [["bind", "rshared"]]);
  assert.deepEqual(find("/dev/shm"), [["noexec", "nosuid", "nodev", "mode=700", "size=4096"]]);
  assert.deepEqual(find("/data/tmp"), [["noexec", "nosuid", "nodev", "mode=1777"]]);
  assert.equal(spec.linux.rootfsPropagation, "rshared");
  assert.equal(specOf().linux.rootfsPropagation, undefined);
});

test("mounts that cannot be are refused by a sentence that names them", () => {
  const tmpfs = (target: string): Mount => mount({ type: Mount_Type.TMPFS, target });
  const cases: readonly (readonly [readonly Mount[], RegExp])[] = [
    [[tmpfs("/a"), tmpfs("/a/")], /Duplicate mount point: \/a/],
    [[tmpfs("a")], /"a": it must be an absolute path/],
    [[tmpfs("/")], /root of the container/],
    [[tmpfs("/a/..")], /root of the container/],
    [[tmpfs("/proc/sys")], /belongs to the kernel/],
    [[mount({ target: "/a", source: "data" })], /source "data" must be an absolute path/],
    [[mount({ target: "/a", source: "/a", bindPropagation: "both" })], /"both" must be one of private/],
  ];
  for (const [mounts, words] of cases) refuses({ container: { mounts } }, words);
});

test("a read-only container cannot write its root nor its files", () => {
  const spec = specOf({ container: { readOnly: true } });
  assert.equal(spec.root.readonly, true);
  assert.ok(spec.mounts.find((each) => each.destination === "/etc/hosts")?.options?.includes("ro"));
  assert.equal(specOf().root.readonly, false);
});

test("a container has namespaces and a cgroup of its own", () => {
  const { linux, hostname, root } = specOf();
  assert.deepEqual(
    linux.namespaces.map(({ type }) => type),
    ["pid", "network", "mount", "ipc", "uts", "cgroup"],
  );
  assert.equal(linux.cgroupsPath, `/tsswarm/${ID}`);
  assert.equal(hostname, "host1");
  assert.equal(root.path, "/state/containers/x/rootfs");
  assert.ok(linux.maskedPaths?.includes("/proc/kcore"));
  assert.ok(linux.readonlyPaths?.includes("/proc/sys"));
});
