// One daemon per state folder, and one per socket: a lock that dies with its holder, and a stale socket is replaced.

import { existsSync, mkdirSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { dirname, join } from "node:path";
import { SwarmError } from "../../proto/base/errors.ts";
import { type FileLock, lockFile } from "../../native/index.ts";

/** Throws FailedPrecondition naming the daemon that has the folder. */
export function claimStateDir(stateDir: string): FileLock {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const lock = lockFile(join(stateDir, "tsswarmd.lock"));
  if ("heldBy" in lock) {
    const who = lock.heldBy === 0 ? "another tsswarmd" : `another tsswarmd (pid ${lock.heldBy})`;
    throw new SwarmError(
      "FailedPrecondition",
      `state folder ${stateDir} is in use by ${who}; stop it, or choose another --state-dir`,
    );
  }
  return lock;
}

/** Makes way for our socket. Throws FailedPrecondition when somebody answers at it. */
export async function claimSocket(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  if (!existsSync(path)) return;
  if (await answers(path)) {
    throw new SwarmError(
      "FailedPrecondition",
      `another daemon listens on ${path}; stop it, or choose another --socket`,
    );
  }
  rmSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}
