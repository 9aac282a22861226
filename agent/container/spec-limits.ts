// What a container may use of the machine: processors, memory, processes, devices, and the kernel settings it may make.

import type { SpecDeviceRule, SpecResources } from "../../native/index.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Resources } from "../../proto/gen/specs.ts";

const PERIOD_US = 100_000;
/** The kernel takes no shorter quota. */
const QUOTA_US_MIN = 1_000;

const CHARACTER_DEVICES: readonly (readonly [number, number | undefined])[] = [
  [1, 3], // null
  [1, 5], // zero
  [1, 7], // full
  [1, 8], // random
  [1, 9], // urandom
  [5, 0], // tty
  [5, 1], // console
  [5, 2], // ptmx
  [136, undefined], // terminals of the container's own devpts
];

/** Nodes of any device may be made, those that are no device of the machine may be used. */
export const DEVICE_RULES: readonly SpecDeviceRule[] = [
  { allow: false, type: "a", access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  ...CHARACTER_DEVICES.map(([major, minor]): SpecDeviceRule => {
    return { allow: true, type: "c", major, ...(minor === undefined ? {} : { minor }), access: "rwm" };
  }),
];

/** Limits of 0 are none. With a memory limit as much swap again may be used, which is Docker's default. */
export function specResources(limits: Resources): SpecResources {
  const quota = Math.max(QUOTA_US_MIN, Math.floor((limits.nanoCpus * PERIOD_US) / 1_000_000_000));
  return {
    ...(limits.nanoCpus > 0 ? { cpu: { quota, period: PERIOD_US } } : {}),
    ...specMemory(limits),
    ...(limits.pids > 0 ? { pids: { limit: limits.pids } } : {}),
    devices: DEVICE_RULES,
  };
}

function specMemory(limits: Resources): Pick<SpecResources, "memory"> {
  const { memoryBytes, memorySwapBytes, memorySwappiness } = limits;
  const swappiness = memorySwappiness === undefined ? {} : { swappiness: memorySwappiness };
  if (memoryBytes > 0)
    return { memory: { limit: memoryBytes, swap: memorySwapBytes ?? 2 * memoryBytes, ...swappiness } };
  return memorySwappiness === undefined ? {} : { memory: swappiness };
}

/** What the kernel keeps per network or IPC namespace; anything else would change the whole machine. */
const NAMESPACED =
  /^(?:net\..+|fs\.mqueue\..+|kernel\.(?:shmall|shmmax|shmmni|shm_rmid_forced|msgmax|msgmnb|msgmni|sem|domainname))$/;

/** Docker's: ports below 1024 and ping need no privilege in a network of the container's own. */
const DEFAULT_SYSCTLS: Readonly<Record<string, string>> = {
  "net.ipv4.ip_unprivileged_port_start": "0",
  "net.ipv4.ping_group_range": "0 2147483647",
};

export function specSysctls(asked: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const name of Object.keys(asked)) {
    if (name.includes("..") || !NAMESPACED.test(name.replaceAll("/", ".")))
      throw new SwarmError(
        "InvalidArgument",
        `sysctl ${JSON.stringify(name)} is not kept per container and would change the machine; net.*, fs.mqueue.*, kernel.shm*, kernel.msg* and kernel.sem may be set`,
      );
  }
  return { ...DEFAULT_SYSCTLS, ...asked };
}
