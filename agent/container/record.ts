// What the agent notes of a container in its folder, so that a restarted agent knows how to stop it, what it holds and which
// image it keeps in use. The truth about the process is native's (shim socket, exit.json), never here.

import { createHash } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PortConfig } from "../../proto/gen/specs.ts";

const FILE = "task.json";

export interface ContainerRecord {
  readonly taskId: string;
  /** False until every step of the making has succeeded: what such a record stands for is taken away and made again. */
  readonly made: boolean;
  readonly imageId: string;
  /** Signal number of the polite stop. */
  readonly stopSignal: number;
  /** CIDR form. */
  readonly addresses: readonly string[];
  /** Host ports actually bound. */
  readonly ports: readonly PortConfig[];
}

/** A task's container on this node: always the same 64 hex digits, so that nothing must be remembered to find it again. */
export function containerIdOf(taskId: string): string {
  return createHash("sha256").update(`tsswarm task ${taskId}`).digest("hex");
}

/** Replaces the record in `dir` whole. */
export async function writeRecord(dir: string, record: ContainerRecord): Promise<void> {
  const path = join(dir, FILE);
  await writeFile(`${path}.tmp`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${path}.tmp`, path);
}

/** "damaged": a power cut can leave a file without its content. Rejects when the disk fails. */
export async function readRecord(dir: string): Promise<ContainerRecord | "damaged" | undefined> {
  let text: string;
  try {
    text = await readFile(join(dir, FILE), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as ContainerRecord;
  } catch {
    return "damaged";
  }
}
