// Control groups on a machine with the v2 hierarchy alone. Groups that hold groups hold no processes (the kernel's
// no-internal-process rule): containers are leaves, and controllers are handed down from the root to their parent.

import { existsSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { assert, defined } from "../proto/base/assert.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import {
  childGroups,
  makeGroup,
  processesIn,
  readControl,
  readKeyed,
  readNumber,
  removeGroup,
  writeControl,
} from "./cgroup-files.ts";
import { killListed, refuseOwn, waitFrozen } from "./cgroup-kill.ts";
import type { Cgroup, CgroupDriver, CgroupLayout, CgroupStats, DeviceFilter, OomSource } from "./cgroup-types.ts";
import { missingController } from "./cgroup-v1-limits.ts";
import { neededV2, valuesV2 } from "./cgroup-v2-limits.ts";
import type { SpecResources } from "./runtime-spec.ts";

/** Handed down to every group of ours where the machine has them; io counts what containers read and write. */
const CONTROLLERS: readonly string[] = ["cpu", "memory", "pids", "cpuset", "io"];

export function v2Driver(layout: CgroupLayout, clock: Clock, deviceFilter: DeviceFilter): CgroupDriver {
  const root = defined(layout.v2, "mount point of the v2 hierarchy");
  const group = (path: string): V2Cgroup => new V2Cgroup({ path, dir: join(root, path), clock, deviceFilter });
  return {
    version: "v2",

    create(path, resources) {
      const parts = path.split("/").slice(1);
      assert(parts.length > 0, "a cgroup path has a name");
      for (let depth = 0; depth < parts.length; depth += 1) {
        const dir = join(root, ...parts.slice(0, depth));
        if (depth > 0) makeGroup(dir);
        handDown(dir, neededV2(resources));
      }
      const dir = join(root, path);
      if (!makeGroup(dir))
        throw new SwarmError("AlreadyExists", `cgroup ${dir} is there already; remove its container first`);
      try {
        const made = group(path);
        made.update(resources);
        return made;
      } catch (error) {
        rmdirSync(dir);
        throw error;
      }
    },

    find: (path) => (existsSync(join(root, path)) ? group(path) : undefined),

    children: (path) => childGroups(join(root, path)),

    async removeTree(path, signal) {
      if (!existsSync(join(root, path))) return;
      const found = group(path);
      refuseOwn(found);
      found.kill();
      await found.remove(signal);
    },
  };
}

/** Lets the groups below `dir` use our controllers. Throws when one of `needed` is not to be had. */
function handDown(dir: string, needed: readonly string[]): void {
  const words = (file: string): readonly string[] => (readControl(dir, file) ?? "").split(" ");
  const offered = words("cgroup.controllers");
  const enabled = words("cgroup.subtree_control");
  for (const controller of CONTROLLERS) {
    if (enabled.includes(controller)) continue;
    const isNeeded = needed.includes(controller);
    if (!offered.includes(controller)) {
      if (isNeeded) throw missingController(controller);
      continue;
    }
    try {
      writeControl(dir, "cgroup.subtree_control", `+${controller}`);
    } catch (error) {
      if (!isNeeded) continue;
      if (!(error instanceof SwarmError) || error.details["errno"] !== "EBUSY") throw error;
      throw new SwarmError(
        "FailedPrecondition",
        `cgroup ${dir} holds processes, so that it cannot hand its controllers down; choose a cgroup parent without processes`,
        { cause: error },
      );
    }
  }
}

class V2Cgroup implements Cgroup {
  readonly path: string;
  readonly v2Dir: string;
  readonly joinPaths: readonly string[] = [];
  readonly oom: OomSource | undefined;
  readonly #clock: Clock;
  readonly #deviceFilter: DeviceFilter;

  constructor(options: {
    readonly path: string;
    readonly dir: string;
    readonly clock: Clock;
    readonly deviceFilter: DeviceFilter;
  }) {
    this.path = options.path;
    this.v2Dir = options.dir;
    this.#clock = options.clock;
    this.#deviceFilter = options.deviceFilter;
    const eventsPath = join(options.dir, "memory.events");
    this.oom = existsSync(eventsPath) ? { kind: "v2", eventsPath } : undefined;
  }

  update(resources: SpecResources): void {
    for (const { file, value, optional } of valuesV2(resources)) {
      if (optional && readControl(this.v2Dir, file) === undefined) continue;
      writeControl(this.v2Dir, file, value);
    }
    if (resources.devices !== undefined) this.#deviceFilter(this.v2Dir, resources.devices);
  }

  async freeze(signal: AbortSignal): Promise<void> {
    writeControl(this.v2Dir, "cgroup.freeze", "1");
    await waitFrozen({
      path: this.path,
      clock: this.#clock,
      signal,
      isFrozen: () => readKeyed(this.v2Dir, { file: "cgroup.events", key: "frozen" }) === 1,
      thaw: () => this.thaw(),
    });
  }

  thaw(): void {
    writeControl(this.v2Dir, "cgroup.freeze", "0");
  }

  stats(): CgroupStats {
    const dir = this.v2Dir;
    const inactive = readKeyed(dir, { file: "memory.stat", key: "inactive_file" });
    return {
      memoryBytes: Math.max(0, readNumber(dir, "memory.current") - inactive),
      memoryLimitBytes: readNumber(dir, "memory.max"),
      cpuNs: readKeyed(dir, { file: "cpu.stat", key: "usage_usec" }) * 1000,
      pids: existsSync(join(dir, "pids.current")) ? readNumber(dir, "pids.current") : this.procs().length,
    };
  }

  kill(): void {
    // Before Linux 5.14 there is no cgroup.kill; a frozen v2 process takes its SIGKILL at once, so nothing needs thawing.
    if (existsSync(join(this.v2Dir, "cgroup.kill"))) writeControl(this.v2Dir, "cgroup.kill", "1");
    else killListed({ list: () => this.procs(), between: () => undefined });
  }

  remove(signal: AbortSignal): Promise<void> {
    return removeGroup(this.v2Dir, this.#clock, signal);
  }

  procs(): readonly number[] {
    return processesIn(this.v2Dir);
  }
}
