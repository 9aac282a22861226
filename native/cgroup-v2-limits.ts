// The resources of a runtime-spec document as values of v2 control files.

import type { SpecResources } from "./runtime-spec.ts";

export interface ControlValue {
  readonly file: string;
  readonly value: string;
  /** Skipped where the kernel has no such file (swap accounting off). */
  readonly optional: boolean;
}

/** Controllers without which these limits cannot be held. Devices are a BPF program's and need none. */
export function neededV2({ cpu, memory, pids }: SpecResources): readonly string[] {
  const asked: readonly (readonly [string, boolean])[] = [
    ["cpu", cpu?.shares !== undefined || cpu?.quota !== undefined || cpu?.period !== undefined],
    ["cpuset", cpu?.cpus !== undefined || cpu?.mems !== undefined],
    ["memory", memory !== undefined],
    ["pids", pids !== undefined],
  ];
  return asked.filter(([, wanted]) => wanted).map(([controller]) => controller);
}

/** What to write, in order. There is no swappiness per group in v2: what is asked of it is left out, as Docker does. */
export function valuesV2({ cpu, memory, pids }: SpecResources): readonly ControlValue[] {
  const values: ControlValue[] = [];
  const set = (file: string, value: string, optional = false): void => {
    values.push({ file, value, optional });
  };
  if (cpu?.shares !== undefined) set("cpu.weight", String(weightOfShares(cpu.shares)));
  if (cpu?.quota !== undefined || cpu?.period !== undefined) {
    const quota = cpu.quota !== undefined && cpu.quota > 0 ? String(cpu.quota) : "max";
    set("cpu.max", cpu.period === undefined ? quota : `${quota} ${cpu.period}`);
  }
  if (cpu?.cpus !== undefined) set("cpuset.cpus", cpu.cpus);
  if (cpu?.mems !== undefined) set("cpuset.mems", cpu.mems);
  if (memory?.reservation !== undefined) set("memory.low", orMax(memory.reservation));
  if (memory?.limit !== undefined) set("memory.max", orMax(memory.limit));
  if (memory?.swap !== undefined) set("memory.swap.max", swapOnly(memory.swap, memory.limit ?? 0), true);
  if (pids !== undefined) set("pids.max", orMax(pids.limit));
  return values;
}

function orMax(value: number): string {
  return value > 0 ? String(value) : "max";
}

/** The document's swap is memory plus swap, as v1 counts; v2 counts swap alone. */
function swapOnly(total: number, memoryLimit: number): string {
  return total > 0 ? String(Math.max(0, total - memoryLimit)) : "max";
}

/**
 * v1's cpu.shares (2 to 262144, usually 1024) as v2's cpu.weight (1 to 10000, usually 100): the curve that runc and crun
 * agreed on, which keeps both usual values and both ends.
 */
export function weightOfShares(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262_144) return 10_000;
  const l = Math.log2(shares);
  return Math.ceil(10 ** ((l * l + 125 * l) / 612 - 7 / 34));
}
