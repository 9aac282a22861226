// The machine's disk behind proto/base/disk.ts. Nothing here retries: what a failure means is for the log to say.

import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Disk, DiskFile, OpenMode } from "../../proto/base/disk.ts";

const FLAGS: Readonly<Record<OpenMode, string>> = { read: "r", write: "r+", create: "wx+" };

export const nodeDisk: Disk = {
  makeDir: async (path) => {
    const first = await mkdir(path, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    // A new folder is durable when the folder that names it is; `first` is the topmost of the new ones.
    for (let made = path; ; made = dirname(made)) {
      await syncDir(dirname(made));
      if (made === first || made === dirname(made)) return;
    }
  },
  list: (path) => readdir(path),
  open: async (path, mode) => nodeFile(await open(path, FLAGS[mode], 0o600)),
  rename: ({ from, to }) => rename(from, to),
  remove: (path) => rm(path, { force: true }),
  syncDir,
};

async function syncDir(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function nodeFile(handle: FileHandle): DiskFile {
  return {
    size: async () => (await handle.stat()).size,
    read: async ({ offset, length }) => {
      const buffer = Buffer.alloc(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(buffer, done, length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return buffer.subarray(0, done);
    },
    write: async (bytes, offset) => {
      let done = 0;
      while (done < bytes.length) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
    },
    sync: () => handle.datasync(),
    close: () => handle.close(),
  };
}
