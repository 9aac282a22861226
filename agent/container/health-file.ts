// The check of a container in its folder, so that a restarted daemon goes on with it: the image it came from may be gone by then.

import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HealthCheck } from "./health-config.ts";

const FILE = "health.json";

export interface HealthRecord {
  readonly check: HealthCheck;
  /** 0: not started. */
  readonly startedAtMs: number;
}

/** Replaces the record in `dir` whole. */
export async function writeHealth(dir: string, record: HealthRecord): Promise<void> {
  const path = join(dir, FILE);
  await writeFile(`${path}.tmp`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${path}.tmp`, path);
}

/** Undefined for a container without a check. Only a power cut damages the file, and no container outlives one. */
export async function readHealth(dir: string): Promise<HealthRecord | undefined> {
  try {
    return JSON.parse(await readFile(join(dir, FILE), "utf8")) as HealthRecord;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
