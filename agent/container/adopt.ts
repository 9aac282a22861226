// Finds out what exists of a container: nothing, half of it, a shim that waits or runs, an end on record, or less than there
// should be. Starts and changes nothing.

import { join } from "node:path";
import type { Existing } from "./existing.ts";
import { type HealthRecord, readHealth } from "./health-file.ts";
import type { ContainerParts } from "./parts.ts";
import { type ContainerRecord, readRecord } from "./record.ts";

export interface Found {
  readonly existing: Existing;
  readonly record: ContainerRecord | undefined;
  /** Undefined without a check. */
  readonly health: HealthRecord | undefined;
}

/** What exists under a container id. Rejects when the disk fails or a shim is there and does not answer. */
export async function findContainer(parts: ContainerParts, id: string, signal: AbortSignal): Promise<Found> {
  const { cgroupParent, runDir, runtime } = parts;
  const dir = join(parts.dir, id);
  const read = await readRecord(dir);
  if (read === undefined) return { existing: { kind: "none" }, record: undefined, health: undefined };
  const record = read === "damaged" ? undefined : read;
  const made = record?.made ?? false;
  const health = await readHealth(dir);
  const adopted = await runtime.adopt({ id, dir, runDir, cgroupParent }, signal);
  switch (adopted.kind) {
    case "created":
    case "running":
      return { existing: { kind: made ? adopted.kind : "half", container: adopted.container }, record, health };
    case "exited":
      return { existing: { kind: "ended", exit: adopted.exit }, record, health };
    case "lost":
      return { existing: made ? { kind: "lost" } : { kind: "half", container: undefined }, record, health };
  }
}
