// Which cgroup hierarchies this machine mounts, read from /proc/self/mountinfo (proc_pid_mountinfo(5)).

import { readFileSync } from "node:fs";
import { SwarmError } from "../proto/base/errors.ts";
import type { CgroupLayout } from "./cgroup-types.ts";

/** Mount options of a v1 hierarchy that are not the names of its controllers. */
const MOUNT_FLAGS = /^(?:rw|ro|xattr|noprefix|clone_children|cpuset_v2_mode|favordynmods|release_agent=.*)$/;

/** The layout of this machine. Throws FailedPrecondition when no cgroup hierarchy is mounted. */
export function detectCgroups(): CgroupLayout {
  return parseCgroupMounts(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** Reads the text of a mountinfo file. A controller counts where it is mounted first. */
export function parseCgroupMounts(mountinfo: string): CgroupLayout {
  const v1 = new Map<string, string>();
  let v2: string | undefined;
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const dir = (before.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(parseInt(octal, 8)),
    );
    const [type, , options = ""] = after.split(" ");
    if (type === "cgroup2") v2 ??= dir;
    if (type !== "cgroup") continue;
    for (const option of options.split(",")) {
      if (option !== "" && !MOUNT_FLAGS.test(option) && !v1.has(option)) v1.set(option, dir);
    }
  }
  if (v1.size > 0) return { version: v2 === undefined ? "v1" : "hybrid", v1, v2 };
  if (v2 !== undefined) return { version: "v2", v1, v2 };
  throw new SwarmError(
    "FailedPrecondition",
    "no cgroup hierarchy is mounted; mount one with: mount -t cgroup2 none /sys/fs/cgroup",
  );
}
