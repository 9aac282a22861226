// The door to control groups: finds out what this machine mounts and hands out the driver for it. Everything but the v2
// device filter is plain file access (kernel documentation: admin-guide/cgroup-v1, admin-guide/cgroup-v2).

import { type Clock, systemClock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { attachDeviceFilter } from "./bpf-devices.ts";
import { detectCgroups } from "./cgroup-layout.ts";
import type { CgroupDriver, CgroupLayout, DeviceFilter } from "./cgroup-types.ts";
import { v1Driver } from "./cgroup-v1.ts";
import { v2Driver } from "./cgroup-v2.ts";

export type {
  Cgroup,
  CgroupDriver,
  CgroupLayout,
  CgroupStats,
  CgroupVersion,
  DeviceFilter,
  OomSource,
} from "./cgroup-types.ts";

export interface CgroupOptions {
  /** Where the hierarchies are; this machine's own when absent. */
  readonly layout?: CgroupLayout;
  readonly clock?: Clock;
  /** How device rules reach a v2 group; through bpf(2) when absent. */
  readonly deviceFilter?: DeviceFilter;
}

/** The driver for this machine: v2 where it is alone, else the v1 controllers. Throws FailedPrecondition without cgroups. */
export function openCgroups(options: CgroupOptions = {}): CgroupDriver {
  const layout = options.layout ?? detectCgroups();
  const clock = options.clock ?? systemClock;
  const driver =
    layout.version === "v2"
      ? v2Driver(layout, clock, options.deviceFilter ?? attachDeviceFilter)
      : v1Driver(layout, clock);
  return {
    version: driver.version,
    create: (path, resources) => driver.create(checked(path), resources),
    find: (path) => driver.find(checked(path)),
    children: (path) => driver.children(checked(path)),
    removeTree: (path, signal) => driver.removeTree(checked(path), signal),
  };
}

/** A path that cannot leave its hierarchy nor mean its root. */
function checked(path: string): string {
  const parts = path.split("/").slice(1);
  const clean = path.startsWith("/") && parts.every((part) => part !== "" && part !== "." && part !== "..");
  if (!clean || path.includes("\0") || path.length > 1024)
    throw new SwarmError(
      "InvalidArgument",
      `${JSON.stringify(path.slice(0, 80))} is no cgroup path; write one like /tsswarm/web`,
    );
  return path;
}
