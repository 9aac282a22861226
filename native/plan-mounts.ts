// The mounts of a runtime specification as plan records: options taken apart into mount attributes, propagation and what the
// file system itself reads; the devices and links every container finds in /dev; the control group hierarchies.

import { readFileSync } from "node:fs";

import { SwarmError } from "../proto/base/errors.ts";
import type { PlanWriter } from "./plan-records.ts";
import type { SpecDevice, SpecMount } from "./runtime-spec.ts";

/** MOUNT_ATTR_* of linux/mount.h; 0 for options that say the default. */
const ATTRIBUTES: Readonly<Record<string, number>> = {
  ro: 0x1,
  rro: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  noatime: 0x10,
  strictatime: 0x20,
  nodiratime: 0x80,
  rw: 0,
  suid: 0,
  dev: 0,
  exec: 0,
  relatime: 0,
  async: 0,
  defaults: 0,
};

const MS_UNBINDABLE = 1 << 17;
const MS_PRIVATE = 1 << 18;
const MS_SLAVE = 1 << 19;
const MS_SHARED = 1 << 20;
const MS_REC = 1 << 14;

/** Propagation by option; the shim asks for it on each mount of the tree with the recursive forms. */
const PROPAGATION: Readonly<Record<string, number>> = {
  private: MS_PRIVATE,
  rprivate: MS_PRIVATE,
  slave: MS_SLAVE,
  rslave: MS_SLAVE,
  shared: MS_SHARED,
  rshared: MS_SHARED,
  unbindable: MS_UNBINDABLE,
  runbindable: MS_UNBINDABLE,
};

interface MountOptions {
  readonly attributes: number;
  readonly propagation: number;
  readonly bind: boolean;
  readonly recursive: boolean;
  /** For the file system: "size=64m". */
  readonly data: readonly string[];
}

function parseOptions(mount: SpecMount): MountOptions {
  let attributes = 0;
  let propagation = 0;
  let bind = mount.type === "bind";
  let recursive = false;
  const data: string[] = [];
  for (const option of mount.options ?? []) {
    const attribute = ATTRIBUTES[option];
    const wanted = PROPAGATION[option];
    if (attribute !== undefined) attributes |= attribute;
    else if (wanted !== undefined) propagation = wanted;
    else if (option === "bind" || option === "rbind") {
      bind = true;
      recursive ||= option === "rbind";
    } else data.push(option);
  }
  return { attributes, propagation, bind, recursive, data };
}

/** Value of PLAN_ROOT_PROPAGATION for a specification's rootfsPropagation. */
export function rootPropagation(name: string): number {
  const flag = PROPAGATION[name];
  if (flag === undefined) throw new SwarmError("InvalidArgument", `there is no mount propagation "${name}"`);
  return flag | (name.startsWith("r") ? MS_REC : 0);
}

/** Adds the mounts in their order, and to a fresh /dev what belongs there. */
export function addMounts(plan: PlanWriter, mounts: readonly SpecMount[], devices: readonly SpecDevice[]): void {
  let dev = false;
  for (const mount of mounts) {
    if (!mount.destination.startsWith("/")) {
      throw new SwarmError("InvalidArgument", `mount destination "${mount.destination}" is not an absolute path`);
    }
    const options = parseOptions(mount);
    if (options.bind) addBind(plan, mount, options);
    else if (mount.type === "cgroup" || mount.type === "cgroup2") addCgroups(plan, mount, options);
    else addFilesystem(plan, mount, options);
    if (mount.destination === "/dev" && mount.type === "tmpfs") {
      addDevices(plan, [...standardDevices(devices), ...devices]);
      addLinks(plan);
      dev = true;
    }
  }
  if (!dev) addDevices(plan, devices);
}

function addBind(plan: PlanWriter, mount: SpecMount, options: MountOptions): void {
  if (mount.source === undefined || !mount.source.startsWith("/")) {
    throw new SwarmError(
      "InvalidArgument",
      `the bind mount on ${mount.destination} needs a source with an absolute path`,
    );
  }
  if (options.data.length > 0) {
    throw new SwarmError(
      "InvalidArgument",
      `the bind mount on ${mount.destination} has unknown options: ${options.data.join(", ")}`,
    );
  }
  const recursive = options.recursive ? 1 : 0;
  plan.add("BIND", mount.source, mount.destination, options.attributes, recursive, options.propagation);
}

function addFilesystem(plan: PlanWriter, mount: SpecMount, options: MountOptions): void {
  const type = mount.type ?? "none";
  plan.add("MOUNT", type, mount.source ?? type, mount.destination, options.attributes, ...options.data);
}

/** What this machine mounts, seen from the container's cgroup namespace. */
function addCgroups(plan: PlanWriter, mount: SpecMount, options: MountOptions): void {
  const hierarchies = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
  const named = hierarchies.map((line) => line.split(":")[1] ?? "").filter((controllers) => controllers !== "");
  if (named.length === 0) {
    plan.add("MOUNT", "cgroup2", "cgroup", mount.destination, options.attributes);
    return;
  }
  plan.add("MOUNT", "tmpfs", "cgroup", mount.destination, options.attributes & ~1, "mode=755", "size=65536");
  for (const controllers of named) {
    const name = controllers.startsWith("name=");
    const folder = `${mount.destination}/${name ? controllers.slice(5) : controllers}`;
    const wanted = name ? ["none", controllers] : controllers.split(",");
    plan.add("MOUNT", "cgroup", "cgroup", folder, options.attributes, ...wanted);
  }
}

const STANDARD: readonly (readonly [string, number, number])[] = [
  ["null", 1, 3],
  ["zero", 1, 5],
  ["full", 1, 7],
  ["random", 1, 8],
  ["urandom", 1, 9],
  ["tty", 5, 0],
];

function standardDevices(given: readonly SpecDevice[]): SpecDevice[] {
  return STANDARD.map(([name, major, minor]): SpecDevice => {
    return { path: `/dev/${name}`, type: "c", major, minor, fileMode: 0o666 };
  }).filter((device) => !given.some(({ path }) => path === device.path));
}

/** S_IF* by the specification's letter. */
const TYPE_BITS: Readonly<Record<SpecDevice["type"], number>> = { c: 0o020000, u: 0o020000, b: 0o060000, p: 0o010000 };

function addDevices(plan: PlanWriter, devices: readonly SpecDevice[]): void {
  for (const device of devices) {
    const mode = TYPE_BITS[device.type] | ((device.fileMode ?? 0o666) & 0o7777);
    plan.add("DEVICE", device.path, mode, device.major ?? 0, device.minor ?? 0, device.uid ?? 0, device.gid ?? 0);
  }
}

function addLinks(plan: PlanWriter): void {
  plan.add("SYMLINK", "pts/ptmx", "/dev/ptmx");
  plan.add("SYMLINK", "/proc/self/fd", "/dev/fd");
  plan.add("SYMLINK", "/proc/self/fd/0", "/dev/stdin");
  plan.add("SYMLINK", "/proc/self/fd/1", "/dev/stdout");
  plan.add("SYMLINK", "/proc/self/fd/2", "/dev/stderr");
  plan.add("SYMLINK", "/proc/kcore", "/dev/core");
}
