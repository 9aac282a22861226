// Control groups where the controllers are mounted as v1 hierarchies. On a hybrid machine a group is made in the v2
// hierarchy too: it holds no limits, but cgroup.kill ends all its processes in one stroke.

import { existsSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import {
  childGroups,
  errnoOf,
  groupTree,
  makeGroup,
  processesIn,
  readControl,
  readKeyed,
  readNumber,
  removeGroup,
  writeControl,
} from "./cgroup-files.ts";
import { killListed, refuseOwn, waitFrozen } from "./cgroup-kill.ts";
import type { Cgroup, CgroupDriver, CgroupLayout, CgroupStats, OomSource } from "./cgroup-types.ts";
import { applyV1, checkV1 } from "./cgroup-v1-limits.ts";
import type { SpecResources } from "./runtime-spec.ts";

/** v1 writes "no limit" as the largest multiple of a page; nothing real is near it. */
const UNLIMITED_FROM = 2 ** 60;

export function v1Driver(layout: CgroupLayout, clock: Clock): CgroupDriver {
  const roots = [...new Set([...layout.v1.values(), ...(layout.v2 === undefined ? [] : [layout.v2])])];

  /** The folders of `path` that are there. */
  const group = (path: string): V1Cgroup | undefined => {
    const all = [...layout.v1].map(([controller, root]) => [controller, join(root, path)] as const);
    const dirs = new Map(all.filter(([, dir]) => existsSync(dir)));
    const v2Dir = layout.v2 === undefined ? undefined : join(layout.v2, path);
    const v2 = v2Dir !== undefined && existsSync(v2Dir) ? v2Dir : undefined;
    return dirs.size === 0 && v2 === undefined ? undefined : new V1Cgroup({ path, dirs, v2Dir: v2, clock });
  };

  return {
    version: layout.version,

    create(path, resources) {
      checkV1(resources, layout);
      const dirs = new Map([...layout.v1].map(([controller, root]) => [controller, join(root, path)]));
      const cpuset = dirs.get("cpuset");
      const v2Dir = layout.v2 === undefined ? undefined : join(layout.v2, path);
      const created: string[] = [];
      try {
        for (const root of roots) {
          const dir = join(root, path);
          makeParents(root, path, dir === cpuset);
          if (!makeGroup(dir))
            throw new SwarmError("AlreadyExists", `cgroup ${dir} is there already; remove its container first`);
          created.push(dir);
          if (dir === cpuset) inheritCpuset(dir);
        }
        const made = new V1Cgroup({ path, dirs, v2Dir, clock });
        made.update(resources);
        return made;
      } catch (error) {
        for (const dir of created) removeNew(dir);
        throw error;
      }
    },

    find: group,

    children: (path) => [...new Set(roots.flatMap((root) => childGroups(join(root, path))))].sort(),

    async removeTree(path, signal) {
      const found = group(path);
      if (found === undefined) return;
      refuseOwn(found);
      found.kill();
      await found.remove(signal);
    },
  };
}

class V1Cgroup implements Cgroup {
  readonly path: string;
  readonly v2Dir: string | undefined;
  readonly joinPaths: readonly string[];
  readonly oom: OomSource | undefined;
  /** Folder by controller. */
  readonly #dirs: ReadonlyMap<string, string>;
  readonly #all: readonly string[];
  readonly #clock: Clock;

  constructor(options: {
    readonly path: string;
    readonly dirs: ReadonlyMap<string, string>;
    readonly v2Dir: string | undefined;
    readonly clock: Clock;
  }) {
    this.path = options.path;
    this.v2Dir = options.v2Dir;
    this.#dirs = options.dirs;
    this.#clock = options.clock;
    const own = [...new Set(options.dirs.values())];
    this.#all = options.v2Dir === undefined ? own : [...own, options.v2Dir];
    this.joinPaths = own.map((dir) => join(dir, "cgroup.procs"));
    const memory = options.dirs.get("memory");
    this.oom =
      memory === undefined
        ? undefined
        : {
            kind: "v1",
            controlPath: join(memory, "memory.oom_control"),
            eventControlPath: join(memory, "cgroup.event_control"),
          };
  }

  update(resources: SpecResources): void {
    applyV1(this.#dirs, resources);
  }

  async freeze(signal: AbortSignal): Promise<void> {
    const dir = this.#freezer();
    await waitFrozen({
      path: this.path,
      clock: this.#clock,
      signal,
      isFrozen: () => {
        // Written each time: the kernel can stay at FREEZING when a process was forking, until it is told again.
        writeControl(dir, "freezer.state", "FROZEN");
        return readControl(dir, "freezer.state") === "FROZEN";
      },
      thaw: () => this.thaw(),
    });
  }

  thaw(): void {
    writeControl(this.#freezer(), "freezer.state", "THAWED");
  }

  stats(): CgroupStats {
    const memory = this.#dirs.get("memory");
    const cpu = this.#dirs.get("cpuacct");
    const pids = this.#dirs.get("pids");
    const limit = memory === undefined ? 0 : readNumber(memory, "memory.limit_in_bytes");
    const inactive = memory === undefined ? 0 : readKeyed(memory, { file: "memory.stat", key: "total_inactive_file" });
    return {
      memoryBytes: memory === undefined ? 0 : Math.max(0, readNumber(memory, "memory.usage_in_bytes") - inactive),
      memoryLimitBytes: limit >= UNLIMITED_FROM ? 0 : limit,
      cpuNs: cpu === undefined ? 0 : readNumber(cpu, "cpuacct.usage"),
      pids: pids === undefined ? this.procs().length : readNumber(pids, "pids.current"),
    };
  }

  kill(): void {
    if (this.v2Dir !== undefined && existsSync(join(this.v2Dir, "cgroup.kill")))
      writeControl(this.v2Dir, "cgroup.kill", "1");
    const freezers = this.#dirs.get("freezer");
    killListed({
      list: () => this.procs(),
      between: () => {
        // A frozen v1 process takes its SIGKILL only when thawed; one that was never frozen does not notice.
        for (const dir of freezers === undefined ? [] : groupTree(freezers))
          if (readControl(dir, "freezer.self_freezing") === "1") writeControl(dir, "freezer.state", "THAWED");
      },
    });
  }

  async remove(signal: AbortSignal): Promise<void> {
    for (const dir of this.#all) await removeGroup(dir, this.#clock, signal);
  }

  procs(): readonly number[] {
    return [...new Set(this.#all.flatMap((dir) => processesIn(dir)))];
  }

  #freezer(): string {
    const dir = this.#dirs.get("freezer");
    if (dir !== undefined) return dir;
    throw new SwarmError("FailedPrecondition", "pausing needs the cgroup controller freezer; mount it and try again");
  }
}

/** Makes every folder above the last one of `path`. */
function makeParents(root: string, path: string, isCpuset: boolean): void {
  const parts = path.split("/").slice(1, -1);
  parts.forEach((_, index) => {
    const dir = join(root, ...parts.slice(0, index + 1));
    makeGroup(dir);
    if (isCpuset) inheritCpuset(dir);
  });
}

/** A new cpuset is empty and takes no process until it has processors and memory nodes. */
function inheritCpuset(dir: string): void {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    if (readControl(dir, file) === "") writeControl(dir, file, readControl(join(dir, ".."), file) ?? "");
  }
}

/** Takes back a group made a moment ago, which nobody can have entered. */
function removeNew(dir: string): void {
  try {
    rmdirSync(dir);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}
