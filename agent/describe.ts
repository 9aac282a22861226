// What this machine is and has, as managers need to know it: read from the kernel each time, so that a change is seen.

import { readFile } from "node:fs/promises";
import { availableParallelism, release } from "node:os";
import { SwarmError } from "../proto/base/errors.ts";
import type { NodeDescription } from "../proto/gen/objects.ts";
import type { GenericResource } from "../proto/gen/specs.ts";

/** As images name them, by Node's names. */
const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  x64: "amd64",
  ia32: "386",
  loong64: "loong64",
};

export interface DescribeOptions {
  readonly hostname: string;
  readonly engineVersion: string;
  readonly engineLabels: Readonly<Record<string, string>>;
  /** What the operator says this machine has: no kernel knows it. */
  readonly genericResources: readonly GenericResource[];
}

export async function describeNode(options: DescribeOptions): Promise<NodeDescription> {
  return {
    hostname: options.hostname,
    platform: { architecture: architecture(), os: "linux" },
    resources: {
      nanoCpus: availableParallelism() * 1_000_000_000,
      memoryBytes: memoryBytes(await readFile("/proc/meminfo", "utf8")),
      pids: 0,
      generic: options.genericResources,
    },
    engineVersion: options.engineVersion,
    engineLabels: options.engineLabels,
    kernelVersion: release(),
  };
}

/** This machine's architecture as images name it. */
export function architecture(): string {
  return ARCHITECTURES[process.arch] ?? process.arch;
}

/** The total of /proc/meminfo. */
export function memoryBytes(meminfo: string): number {
  const total = /^MemTotal:\s+(\d+) kB$/m.exec(meminfo)?.[1];
  if (total === undefined) throw new SwarmError("Internal", "/proc/meminfo names no MemTotal");
  return Number(total) * 1024;
}
