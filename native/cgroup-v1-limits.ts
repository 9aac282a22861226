// The resources of a runtime-spec document as values of v1 control files, and the order in which they must be written.

import { SwarmError } from "../proto/base/errors.ts";
import { readControl, readNumber, writeControl } from "./cgroup-files.ts";
import type { CgroupLayout } from "./cgroup-types.ts";
import type { SpecDeviceRule, SpecResources } from "./runtime-spec.ts";

/** Throws FailedPrecondition when a limit is asked whose controller this machine does not mount. */
export function checkV1({ cpu, memory, pids, devices }: SpecResources, layout: CgroupLayout): void {
  const asked: readonly (readonly [string, boolean])[] = [
    ["cpu", cpu?.shares !== undefined || cpu?.quota !== undefined || cpu?.period !== undefined],
    ["cpuset", cpu?.cpus !== undefined || cpu?.mems !== undefined],
    ["memory", memory !== undefined],
    ["pids", pids !== undefined],
    ["devices", devices !== undefined],
  ];
  for (const [controller, wanted] of asked) {
    if (wanted && !layout.v1.has(controller)) throw missingController(controller);
  }
}

export function missingController(controller: string): SwarmError {
  return new SwarmError(
    "FailedPrecondition",
    `this machine offers no cgroup controller ${controller}, so a limit of that kind cannot be held; enable it in the kernel (cgroup_enable=${controller}) or drop the limit`,
  );
}

/** Writes what `resources` names into the folders of a group. */
export function applyV1(dirs: ReadonlyMap<string, string>, resources: SpecResources): void {
  const dir = (controller: string): string => {
    const found = dirs.get(controller);
    if (found === undefined) throw missingController(controller);
    return found;
  };
  if (resources.devices !== undefined) setDevices(dir("devices"), resources.devices);
  const { cpu, memory, pids } = resources;
  if (cpu?.shares !== undefined) writeControl(dir("cpu"), "cpu.shares", String(cpu.shares));
  if (cpu?.quota !== undefined || cpu?.period !== undefined) setQuota(dir("cpu"), cpu);
  if (cpu?.cpus !== undefined) writeControl(dir("cpuset"), "cpuset.cpus", cpu.cpus);
  if (cpu?.mems !== undefined) writeControl(dir("cpuset"), "cpuset.mems", cpu.mems);
  if (memory !== undefined) setMemory(dir("memory"), memory);
  if (pids !== undefined) writeControl(dir("pids"), "pids.max", pids.limit > 0 ? String(pids.limit) : "max");
}

/** The kernel refuses a period longer than the parent's share allows for the quota of the moment: the other order then works. */
function setQuota(dir: string, cpu: NonNullable<SpecResources["cpu"]>): void {
  const steps = [
    ...(cpu.period === undefined ? [] : [["cpu.cfs_period_us", cpu.period] as const]),
    ...(cpu.quota === undefined ? [] : [["cpu.cfs_quota_us", cpu.quota > 0 ? cpu.quota : -1] as const]),
  ];
  try {
    for (const [file, value] of steps) writeControl(dir, file, String(value));
  } catch (error) {
    if (!(error instanceof SwarmError) || error.details["errno"] !== "EINVAL" || steps.length < 2) throw error;
    for (const [file, value] of [...steps].reverse()) writeControl(dir, file, String(value));
  }
}

/** memory.limit may never exceed memory plus swap, so that what grows is written from the outside in. */
function setMemory(dir: string, memory: NonNullable<SpecResources["memory"]>): void {
  const limit = memory.limit === undefined ? [] : [["memory.limit_in_bytes", orUnlimited(memory.limit)] as const];
  // Without swap accounting in the kernel there is no such file, and swap is not limited (as with Docker).
  const accounted = readControl(dir, "memory.memsw.limit_in_bytes");
  const swap =
    memory.swap === undefined || accounted === undefined
      ? []
      : [["memory.memsw.limit_in_bytes", orUnlimited(memory.swap)] as const];
  const grows =
    memory.swap !== undefined && (memory.swap < 0 || memory.swap > readNumber(dir, "memory.memsw.limit_in_bytes"));
  for (const [file, value] of grows ? [...swap, ...limit] : [...limit, ...swap]) writeControl(dir, file, value);
  if (memory.swappiness !== undefined) writeControl(dir, "memory.swappiness", String(memory.swappiness));
  if (memory.reservation !== undefined)
    writeControl(dir, "memory.soft_limit_in_bytes", orUnlimited(memory.reservation));
}

function orUnlimited(bytes: number): string {
  return bytes > 0 ? String(bytes) : "-1";
}

/** A new v1 group allows what its parent allows: the rules are played in order on top of that. */
function setDevices(dir: string, rules: readonly SpecDeviceRule[]): void {
  for (const rule of rules) {
    const type = rule.type ?? "a";
    const number = (value: number | undefined): string => (value === undefined || value < 0 ? "*" : String(value));
    // "a" alone stands for everything, and the kernel reads no numbers after it.
    const text = type === "a" ? "a" : `${type} ${number(rule.major)}:${number(rule.minor)} ${rule.access ?? "rwm"}`;
    writeControl(dir, rule.allow ? "devices.allow" : "devices.deny", text);
  }
}
