// Which capabilities a container's processes hold, in the runtime specification's names ("CAP_CHOWN"), and as the bit sets
// that the kernel takes.

import { CAPABILITIES, capabilityName } from "../proto/base/capabilities.ts";
import { SwarmError } from "../proto/base/errors.ts";

/** Docker's: what programs that were not written for containers commonly need. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

/**
 * The capabilities of a container, in the order of their bits, by Docker's rules: with "ALL" added, all but the dropped; with
 * "ALL" dropped, only the added; else the default set without the dropped and then with the added. Throws InvalidArgument.
 */
export function containerCapabilities({
  add,
  drop,
}: {
  readonly add: readonly string[];
  readonly drop: readonly string[];
}): readonly string[] {
  const added = new Set(add.map(known));
  const dropped = new Set(drop.map(known));
  const isHeld = (name: string): boolean => {
    if (added.has("ALL")) return !dropped.has(name);
    if (added.has(name)) return true;
    return !dropped.has("ALL") && !dropped.has(name) && DEFAULT_CAPABILITIES.includes(`CAP_${name}`);
  };
  return CAPABILITIES.filter(isHeld).map((name) => `CAP_${name}`);
}

/** Number of a capability's bit: 0 for CAP_CHOWN. Throws InvalidArgument, also for "ALL". */
export function capabilityBit(text: string): number {
  const bit = CAPABILITIES.indexOf(known(text));
  if (bit < 0) throw new SwarmError("InvalidArgument", "ALL is no single capability");
  return bit;
}

function known(text: string): string {
  const name = capabilityName(text);
  if (name !== null) return name;
  throw new SwarmError(
    "InvalidArgument",
    `there is no capability ${JSON.stringify(text.slice(0, 40))}; write one of ALL, ${CAPABILITIES.join(", ")}`,
  );
}
