// The root file system of container tests: Debian's static busybox and a few files, made once per test file in a folder that
// the test removes. Also a specification to run in it, as small as a real one gets.

import { randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { RuntimeSpec, SpecMount, SpecProcess, SpecLinux } from "../../../native/runtime-spec.ts";

const APPLETS = [
  "sh",
  "cat",
  "echo",
  "ls",
  "sleep",
  "true",
  "false",
  "id",
  "stty",
  "head",
  "seq",
  "test",
  "touch",
  "mkdir",
  "grep",
  "yes",
  "dd",
  "tr",
  "wc",
  "pwd",
  "env",
  "hostname",
  "mount",
  "kill",
  "readlink",
  "ip",
  "stat",
  "printf",
  "tail",
  "umask",
  "cut",
  "nice",
  "timeout",
  "chmod",
  "cp",
];

/** A layer folder with busybox, passwd and group. */
export function makeTinyLayer(dir: string): void {
  for (const folder of ["bin", "etc", "tmp", "root", "proc", "sys", "dev", "home/bob"]) {
    mkdirSync(join(dir, folder), { recursive: true });
  }
  chmodSync(join(dir, "tmp"), 0o1777);
  copyFileSync("/bin/busybox", join(dir, "bin/busybox"));
  for (const applet of APPLETS) symlinkSync("busybox", join(dir, "bin", applet));
  writeFileSync(join(dir, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n");
  writeFileSync(join(dir, "etc/group"), "root:x:0:\nbobs:x:1001:\nwheel:x:2000:alice,bob\n");
}

export interface TestBed {
  readonly base: string;
  readonly layer: string;
  readonly runDir: string;
  readonly cgroupParent: string;
  /** Folder of a container to be, made. */
  dirOf(id: string): string;
  remove(): void;
}

/** Folders for the containers of one test file. */
export function makeTestBed(): TestBed {
  const base = mkdtempSync(join(tmpdir(), "tsswarm-test-"));
  const layer = join(base, "layer");
  makeTinyLayer(layer);
  return {
    base,
    layer,
    runDir: join(base, "s"),
    cgroupParent: `/tsswarm-test-${randomBytes(4).toString("hex")}`,
    dirOf: (id) => {
      const dir = join(base, "c", id.slice(0, 12));
      mkdirSync(dir, { recursive: true });
      return dir;
    },
    remove: () => rmSync(base, { recursive: true, force: true }),
  };
}

export function newId(): string {
  return randomBytes(32).toString("hex");
}

const NO_EXEC = ["nosuid", "noexec", "nodev"];

export const STANDARD_MOUNTS: readonly SpecMount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: NO_EXEC },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
  },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: [...NO_EXEC, "ro"] },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: NO_EXEC },
  { destination: "/dev/shm", type: "tmpfs", source: "shm", options: [...NO_EXEC, "mode=1777", "size=65536k"] },
];

export const MASKED: readonly string[] = [
  "/proc/kcore",
  "/proc/keys",
  "/proc/timer_list",
  "/proc/scsi",
  "/sys/firmware",
];

const CAPABILITIES = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_NET_BIND_SERVICE",
];

export interface SpecChange {
  readonly args: readonly string[];
  readonly process?: Partial<SpecProcess>;
  readonly linux?: Partial<SpecLinux>;
  readonly mounts?: readonly SpecMount[];
  readonly readonlyRoot?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A specification with all namespaces of its own. */
export function tinySpec(
  place: { readonly id: string; readonly dir: string; readonly cgroupParent: string },
  change: SpecChange,
): RuntimeSpec {
  return {
    ociVersion: "1.0.2",
    hostname: "tiny",
    root: { path: join(place.dir, "root"), readonly: change.readonlyRoot ?? false },
    process: {
      args: change.args,
      env: ["PATH=/bin:/usr/bin"],
      cwd: "/",
      user: { uid: 0, gid: 0 },
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      noNewPrivileges: false,
      ...change.process,
    },
    mounts: [...STANDARD_MOUNTS, ...(change.mounts ?? [])],
    ...(change.annotations === undefined ? {} : { annotations: change.annotations }),
    linux: {
      namespaces: [
        { type: "pid" },
        { type: "mount" },
        { type: "uts" },
        { type: "ipc" },
        { type: "network" },
        { type: "cgroup" },
      ],
      cgroupsPath: `${place.cgroupParent}/${place.id}`,
      resources: { pids: { limit: 256 } },
      maskedPaths: MASKED,
      readonlyPaths: ["/proc/sys", "/proc/irq"],
      ...change.linux,
    },
  };
}
