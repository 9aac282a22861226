// What is mounted in a container: what every container has, the files that the agent writes for it, and what the service asks.

import { posix } from "node:path";
import type { SpecMount } from "../../native/index.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { type ContainerSpec, type Mount, Mount_Type } from "../../proto/gen/specs.ts";

const SHM_BYTES = 67_108_864;
const TMPFS_MODE = 0o1777;

const STANDARD: readonly SpecMount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
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
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
  {
    destination: "/sys/fs/cgroup",
    type: "cgroup",
    source: "cgroup",
    options: ["ro", "nosuid", "noexec", "nodev"],
  },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", `size=${SHM_BYTES}`],
  },
];

/** The whole list, parents before what lies in them. A mount of the service takes the place of a standard one. */
export function specMounts(
  container: ContainerSpec,
  etcFiles: readonly { readonly target: string; readonly source: string }[],
): readonly SpecMount[] {
  const asked = new Map<string, SpecMount>();
  for (const mount of container.mounts) {
    const destination = checkTarget(mount.target);
    if (asked.has(destination))
      throw new SwarmError("InvalidArgument", `Duplicate mount point: ${destination}; mount each path once`);
    asked.set(destination, askedMount(mount, destination));
  }
  const etc = etcFiles.map(({ target, source }): SpecMount => {
    const options = ["rbind", "rprivate", ...(container.readOnly ? ["ro"] : [])];
    return { destination: target, type: "bind", source, options };
  });
  const provided = [...STANDARD, ...etc].filter((mount) => !asked.has(mount.destination));
  // By depth, otherwise in the given order: sort() is stable.
  return [...provided, ...asked.values()].sort((a, b) => depth(a.destination) - depth(b.destination));
}

/** Changes in a shared source are seen through the container's root only when that is shared, or follows, itself. */
export function specPropagation(mounts: readonly Mount[]): "rshared" | "rslave" | undefined {
  const asked = mounts.map((mount) => mount.bindPropagation);
  if (asked.some((name) => name === "shared" || name === "rshared")) return "rshared";
  return asked.some((name) => name === "slave" || name === "rslave") ? "rslave" : undefined;
}

function depth(path: string): number {
  return path.split("/").length;
}

function checkTarget(target: string): string {
  const because = (why: string): SwarmError =>
    new SwarmError("InvalidArgument", `invalid mount target ${JSON.stringify(target)}: ${why}`);
  if (!target.startsWith("/")) throw because("it must be an absolute path in the container");
  const clean = posix.resolve(target);
  if (clean === "/") throw because("the root of the container cannot be mounted over; choose a folder in it");
  if (clean === "/proc" || clean.startsWith("/proc/"))
    throw because("/proc belongs to the kernel; choose another folder");
  return clean;
}

const PROPAGATION: readonly string[] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

function askedMount(mount: Mount, destination: string): SpecMount {
  if (mount.type === Mount_Type.TMPFS) return tmpfs(mount, destination);
  if (!mount.source.startsWith("/"))
    throw new SwarmError(
      "InvalidArgument",
      `bind mount on ${destination}: the source ${JSON.stringify(mount.source)} must be an absolute path of the node`,
    );
  const propagation = mount.bindPropagation || "rprivate";
  if (!PROPAGATION.includes(propagation))
    throw new SwarmError(
      "InvalidArgument",
      `bind mount on ${destination}: propagation ${JSON.stringify(propagation)} must be one of ${PROPAGATION.join(", ")}`,
    );
  const whole = !mount.bindNonRecursive;
  // "rro" makes what is mounted below the source read-only too.
  const readOnly = mount.readOnly ? [whole ? "rro" : "ro"] : [];
  const options = [whole ? "rbind" : "bind", propagation, ...readOnly];
  return { destination, type: "bind", source: posix.resolve(mount.source), options };
}

function tmpfs(mount: Mount, destination: string): SpecMount {
  if (mount.tmpfsSizeBytes < 0)
    throw new SwarmError("InvalidArgument", `tmpfs mount on ${destination}: the size must not be negative`);
  const mode = (mount.tmpfsMode ?? TMPFS_MODE) & 0o7777;
  const size = mount.tmpfsSizeBytes > 0 ? [`size=${mount.tmpfsSizeBytes}`] : [];
  const readOnly = mount.readOnly ? ["ro"] : [];
  const options = ["noexec", "nosuid", "nodev", `mode=${mode.toString(8)}`, ...size, ...readOnly];
  return { destination, type: "tmpfs", source: "tmpfs", options };
}
