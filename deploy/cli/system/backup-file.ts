// A backup as a file: written beside its place and renamed when it is whole, so that a file by that name is always a whole one.

import { open, rename, rm, stat } from "node:fs/promises";
import { createReadStream, existsSync } from "node:fs";
import { dirname } from "node:path";
import { SwarmError, errorText } from "../../../proto/base/errors.ts";
import type { BackupChunk, RestoreUpload } from "../../../proto/gen/local.ts";

const CHUNK_BYTES = 262_144;

/** Writes the pieces to a new file of mode 0600, durably; answers its size. Throws AlreadyExists for a path that is taken. */
export async function writeBackup(path: string, pieces: () => AsyncIterable<BackupChunk>): Promise<number> {
  if (existsSync(path))
    throw new SwarmError("AlreadyExists", `${path} exists; choose another name, or take it away first`);
  const draft = `${path}.part`;
  try {
    await rm(draft, { force: true });
    const bytes = await writePieces(draft, pieces());
    await rename(draft, path);
    await syncFolder(dirname(path));
    return bytes;
  } catch (error) {
    await rm(draft, { force: true });
    if (error instanceof SwarmError) throw error;
    throw new SwarmError("InvalidArgument", `cannot write the backup to ${path}: ${errorText(error)}`, {
      cause: error,
    });
  }
}

async function writePieces(path: string, pieces: AsyncIterable<BackupChunk>): Promise<number> {
  const file = await open(path, "wx", 0o600);
  try {
    let bytes = 0;
    for await (const { chunk } of pieces) {
      await file.writeFile(chunk);
      bytes += chunk.byteLength;
    }
    await file.sync();
    return bytes;
  } finally {
    await file.close();
  }
}

/** The messages of a restore. Throws NotFound or InvalidArgument for a file that cannot be read. */
export async function* readBackup(
  path: string,
  header: { readonly listenAddr: string; readonly advertiseAddr: string },
): AsyncGenerator<RestoreUpload> {
  await mustBeFile(path);
  const { advertiseAddr, listenAddr } = header;
  yield { part: { $case: "header", value: { listenAddr, advertiseAddr } } };
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    yield { part: { $case: "chunk", value: chunk } };
  }
}

async function mustBeFile(path: string): Promise<void> {
  let isFile: boolean;
  try {
    isFile = (await stat(path)).isFile();
  } catch (error) {
    throw new SwarmError("NotFound", `cannot read the backup ${path}: ${errorText(error)}`, { cause: error });
  }
  if (!isFile) throw new SwarmError("InvalidArgument", `${path} is no file; name what 'tsswarm system backup' wrote`);
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
