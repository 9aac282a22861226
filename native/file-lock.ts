// A lock that the kernel lets go of when its holder dies: flock(2) on a file. Nothing but the descriptor holds it.

import { closeSync, openSync, readFileSync, writeSync, ftruncateSync } from "node:fs";
import { lastErrno, errnoError, errnoName, libc } from "./ffi.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

const flock = libc<(fd: number, operation: number) => number>("int flock(int fd, int operation)");

export interface FileLock {
  release(): void;
}

/**
 * Takes the lock and writes this process's pid into the file. Answers the holder's pid (0 when unknown) where another process
 * has it. Throws SwarmError when the file cannot be made.
 */
export function lockFile(path: string): FileLock | { readonly heldBy: number } {
  const fd = openSync(path, "a+", 0o600);
  if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
    const errno = lastErrno();
    closeSync(fd);
    if (errnoName(errno) === "EAGAIN") return { heldBy: Number(readFileSync(path, "utf8")) || 0 };
    throw errnoError(errno, `cannot lock ${path}`);
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  return { release: () => closeSync(fd) };
}
