// Files that are there whole or not at all, also after the power went; and what to say when the disk is full.

import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { isSwarmError, SwarmError } from "../../proto/base/errors.ts";

/** Writes `bytes` to `path` by way of `temporary` (in the same folder), on the disk when it settles. */
export async function writeDurably(
  file: { readonly path: string; readonly temporary: string },
  bytes: Uint8Array,
): Promise<void> {
  const handle = await open(file.temporary, "w", 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(file.temporary, file.path);
  await syncFolder(dirname(file.path));
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A full disk as a sentence with its fix; any other error as it is. */
export function diskError(error: unknown, dir: string): unknown {
  const errno = isSwarmError(error) ? error.details["errno"] : (error as NodeJS.ErrnoException).code;
  if (errno !== "ENOSPC" && errno !== "EDQUOT") return error;
  return new SwarmError(
    "ResourceExhausted",
    `No space is left on the device that holds ${dir}; free some, or remove images with "tsswarm image rm", and try again.`,
    { cause: error },
  );
}
