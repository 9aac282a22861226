// Takes away a log that holds nothing: that of a node which was about to join when it stopped.

import type { Disk } from "../proto/base/disk.ts";

/** `dir` is the folder of the manager's state. */
export async function discardLog(disk: Disk, dir: string): Promise<void> {
  for (const folder of [`${dir}/wal`, `${dir}/snap`]) {
    await disk.makeDir(folder);
    for (const name of await disk.list(folder)) await disk.remove(`${folder}/${name}`);
    await disk.syncDir(folder);
  }
}
