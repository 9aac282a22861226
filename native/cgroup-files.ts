// Reading and writing the files of a cgroup hierarchy, with errors that say which file refused what. Knows no version.

import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, errorText } from "../proto/base/errors.ts";

/** How deep below a group of ours we look; the kernel has no such bound, hostile nesting would. */
const DEPTH_MAX = 32;
/** Longest wait for dying processes before a removal gives up. */
const REMOVE_WAIT_MS = 10_000;
const REMOVE_STEP_MAX_MS = 50;

export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

/** Content without the closing line break; undefined when there is no such file or the controller is off. */
export function readControl(dir: string, file: string): string | undefined {
  try {
    return readFileSync(join(dir, file), "utf8").trimEnd();
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ENODEV" || code === "EOPNOTSUPP") return undefined;
    throw refused(dir, `reading ${file}`, error);
  }
}

/** Throws FailedPrecondition naming group, file and value when the kernel refuses. */
export function writeControl(dir: string, file: string, value: string): void {
  try {
    // "r+": the file is the kernel's and must be there; opening it to create would hide a missing controller.
    writeFileSync(join(dir, file), value, { flag: "r+" });
  } catch (error) {
    throw refused(dir, `writing ${JSON.stringify(value)} to ${file}`, error);
  }
}

function refused(dir: string, what: string, error: unknown): SwarmError {
  return new SwarmError("FailedPrecondition", `cgroup ${dir}: ${what} failed: ${errorText(error)}`, {
    cause: error,
    details: { errno: errnoOf(error) ?? "" },
  });
}

/** The number in a file of one number; 0 when the file is missing or says "max". */
export function readNumber(dir: string, file: string): number {
  const value = Number(readControl(dir, file) ?? 0);
  return Number.isFinite(value) ? value : 0;
}

/** The number after `key` in a file of "key number" lines; 0 when there is none. */
export function readKeyed(dir: string, { file, key }: { readonly file: string; readonly key: string }): number {
  for (const line of (readControl(dir, file) ?? "").split("\n")) {
    if (line.startsWith(`${key} `)) return Number(line.slice(key.length + 1));
  }
  return 0;
}

/** Makes a folder; true when it is new. */
export function makeGroup(dir: string): boolean {
  try {
    mkdirSync(dir);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw refused(dir, "making it", error);
  }
}

/** Folders right below `dir`; empty when it is not there. */
export function childGroups(dir: string): readonly string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .sort();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw refused(dir, "listing it", error);
  }
}

/** `dir` and every group below it, deepest first. */
export function groupTree(dir: string, depth = 0): readonly string[] {
  if (depth > DEPTH_MAX)
    throw new SwarmError("ResourceExhausted", `cgroup ${dir} is nested more than ${DEPTH_MAX} deep; remove it by hand`);
  return [...childGroups(dir).flatMap((child) => groupTree(join(dir, child), depth + 1)), dir];
}

/** Ids of the processes in `dir` and below. */
export function processesIn(dir: string): readonly number[] {
  const pids = new Set<number>();
  for (const group of groupTree(dir)) {
    for (const line of (readControl(group, "cgroup.procs") ?? "").split("\n")) if (line !== "") pids.add(Number(line));
  }
  return [...pids];
}

/** Removes `dir` and all below it, waiting for dying processes to leave. Gone already is fine. */
export async function removeGroup(dir: string, clock: Clock, signal: AbortSignal): Promise<void> {
  const endMs = clock.monotonicMs() + REMOVE_WAIT_MS;
  for (let stepMs = 1; ; stepMs = Math.min(stepMs * 2, REMOVE_STEP_MAX_MS)) {
    const left = groupTree(dir).filter((group) => !removed(group));
    if (left.length === 0) return;
    if (clock.monotonicMs() >= endMs) {
      const pids = processesIn(dir).slice(0, 5).join(", ");
      throw new SwarmError(
        "DeadlineExceeded",
        `cgroup ${dir} could not be removed: it is still in use${pids === "" ? "" : ` by process ${pids}`}`,
      );
    }
    await clock.sleep(stepMs, signal);
  }
}

/** False while the kernel says that the group is busy. */
function removed(dir: string): boolean {
  try {
    rmdirSync(dir);
    return true;
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT") return true;
    if (code === "EBUSY" || code === "ENOTEMPTY") return false;
    throw refused(dir, "removing it", error);
  }
}
