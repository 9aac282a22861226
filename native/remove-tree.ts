// Removes a folder with all below it, however deep an image or a container nested it: what is too deep for a path is moved
// up first. Runs in small steps on the thread pool, so that the caller's thread stays free.

import { lstat, mkdir, readdir, rename, rm, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";

/** Removes `path`; it need not exist. Nothing may write below it meanwhile. Rejects with node:fs errors. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENAMETOOLONG") throw error;
    await removeFlat(path);
  }
}

/** Moves each directory to the top, one level at a time, so that no path is longer than two names below `path`. */
async function removeFlat(path: string): Promise<void> {
  const top = `${path}.deep`;
  await mkdir(top, { recursive: true });
  await rename(path, join(top, "0"));
  let made = 1;
  for (let next = 0; next < made; next++) {
    const folder = join(top, String(next));
    for (const name of await readdir(folder, { encoding: "buffer" })) {
      const child = Buffer.concat([Buffer.from(`${folder}/`), name]);
      if ((await lstat(child)).isDirectory()) await rename(child, join(top, String(made++)));
      else await unlink(child);
    }
    await rmdir(folder);
  }
  await rmdir(top);
}
