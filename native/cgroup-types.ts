// The shape of a container's control group, the same for cgroup v1, v2 and machines that mount both (hybrid).

import type { SpecDeviceRule, SpecResources } from "./runtime-spec.ts";

export type CgroupVersion = "v1" | "v2" | "hybrid";

/** Where the hierarchies are mounted. */
export interface CgroupLayout {
  readonly version: CgroupVersion;
  /**
   * v1: mount point by controller ("cpu", "memory", "name=systemd" ...); controllers mounted together share one. A group lives
   * in all of them: the cgroup namespace of a container that is at the root of one would show it the machine's groups.
   */
  readonly v1: ReadonlyMap<string, string>;
  /** Mount point of the v2 hierarchy; on a hybrid machine it has no controllers of ours, but kills race-free. */
  readonly v2: string | undefined;
}

/** Attaches the device rules to a v2 cgroup folder, in place of rules attached before. */
export type DeviceFilter = (dir: string, rules: readonly SpecDeviceRule[]) => void;

/** How whoever watches for kills by the kernel for lack of memory learns of them. */
export type OomSource =
  | { readonly kind: "v1"; readonly controlPath: string; readonly eventControlPath: string }
  | { readonly kind: "v2"; readonly eventsPath: string };

export interface CgroupStats {
  /** Without page cache that can be dropped at once, as `docker stats` counts. */
  readonly memoryBytes: number;
  /** 0: unlimited. */
  readonly memoryLimitBytes: number;
  readonly cpuNs: number;
  readonly pids: number;
}

/** One control group. All calls throw SwarmError. */
export interface Cgroup {
  /** As given to create: "/tsswarm/<id>". */
  readonly path: string;
  /** The cgroup.procs of each v1 hierarchy: a process that writes "0" to all of them is inside. Empty on v2. */
  readonly joinPaths: readonly string[];
  /** Folder in the v2 hierarchy, for CLONE_INTO_CGROUP. Present on v2 and on hybrid machines, there beside joinPaths. */
  readonly v2Dir: string | undefined;
  /** Absent when the memory controller is. */
  readonly oom: OomSource | undefined;
  /** Sets what `resources` names and leaves the rest as it is. */
  update(resources: SpecResources): void;
  /** Settles when every process stands still. "DeadlineExceeded" (and thawed again) when one cannot be stopped. */
  freeze(signal: AbortSignal): Promise<void>;
  thaw(): void;
  stats(): CgroupStats;
  /** Sends SIGKILL to every process in it and below, frozen ones included. Does not wait for their end. */
  kill(): void;
  /** Removes it and what is below. Waits, within a bound, for dying processes; kills none. Already gone is fine. */
  remove(signal: AbortSignal): Promise<void>;
  /** Process ids in it and below. */
  procs(): readonly number[];
}

export interface CgroupDriver {
  readonly version: CgroupVersion;
  /** Makes it under every hierarchy, parents included, with the limits set. Leaves nothing behind when it throws. */
  create(path: string, resources: SpecResources): Cgroup;
  /** One that was made before; undefined when no hierarchy has it. */
  find(path: string): Cgroup | undefined;
  /** Names of the groups right below `path`, sorted; empty when there is no such group. */
  children(path: string): readonly string[];
  /** Kills everything in `path` and below and removes it. Gone already is fine. */
  removeTree(path: string, signal: AbortSignal): Promise<void>;
}
