// The disk as durable code sees it: few calls, each of which can fail or be the last one before a power cut. The simulator
// hands in a disk that loses what was not synced; production hands in manager/replication/node-disk.ts.

export interface DiskFile {
  /** Bytes in the file. */
  size(): Promise<number>;
  /** Up to `length` bytes from `offset`; fewer only at the end of the file. */
  read(range: { readonly offset: number; readonly length: number }): Promise<Uint8Array>;
  /** Writes all of `bytes` at `offset`, growing the file where needed. Durable only after sync(). */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /** Makes what was written durable (fdatasync). After a failure nothing is known of what was written before. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** "read": must exist. "write": must exist, read and write. "create": must not exist, read and write, mode 0600. */
export type OpenMode = "read" | "write" | "create";

/** Paths are absolute. Failures are thrown as they come, with the system's `code` (EIO, ENOSPC, ENOENT, ...). */
export interface Disk {
  /** Makes the folder and those above it, durably, mode 0700. One that exists is fine. */
  makeDir(path: string): Promise<void>;
  /** Names in a folder, in any order. */
  list(path: string): Promise<readonly string[]>;
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  /** Replaces `to`. Durable only after syncDir() of the folder. */
  rename(move: { readonly from: string; readonly to: string }): Promise<void>;
  /** Takes a file away; none is fine. Durable only after syncDir() of the folder. */
  remove(path: string): Promise<void>;
  syncDir(path: string): Promise<void>;
}

/** The system's code of a failed call ("ENOSPC"), or "" when it has none. */
export function diskErrorCode(error: unknown): string {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}
