// Starts a shim: posix_spawn through koffi (a fork of the whole agent would stop its loop for milliseconds), from a read-only
// detached mount of the binary, so that nothing inside a container can ever write to it (CVE-2019-5736). Says when the
// container is made; what then runs is nobody's child.

import { closeSync, openSync } from "node:fs";
import { Socket } from "node:net";

import { abortable } from "../proto/base/abort.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { check, errnoError, libc } from "./ffi.ts";

const posixSpawn = libc<
  (
    pid: number[],
    path: string,
    actions: Buffer,
    attributes: Buffer,
    argv: (string | null)[],
    envp: (string | null)[],
  ) => number
>(
  "int posix_spawn(_Out_ int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)",
);
const actionsInit = libc<(actions: Buffer) => number>("int posix_spawn_file_actions_init(void *actions)");
const actionsDup2 = libc<(actions: Buffer, ...fds: [from: number, to: number]) => number>(
  "int posix_spawn_file_actions_adddup2(void *actions, int from, int to)",
);
const actionsDestroy = libc<(actions: Buffer) => number>("int posix_spawn_file_actions_destroy(void *actions)");
const attributesInit = libc<(attributes: Buffer) => number>("int posix_spawnattr_init(void *attributes)");
const attributesFlags = libc<(attributes: Buffer, flags: number) => number>(
  "int posix_spawnattr_setflags(void *attributes, short flags)",
);
const attributesMask = libc<(attributes: Buffer, set: Buffer) => number>(
  "int posix_spawnattr_setsigmask(void *attributes, void *set)",
);
const attributesDefault = libc<(attributes: Buffer, set: Buffer) => number>(
  "int posix_spawnattr_setsigdefault(void *attributes, void *set)",
);
const pipe2 = libc<(fds: number[], flags: number) => number>("int pipe2(_Out_ int *fds, int flags)");
const waitpid = libc<(pid: number, status: number[], flags: number) => number>(
  "int waitpid(int pid, _Out_ int *status, int flags)",
);
const openTree = libc<(dir: number, path: string, flags: number) => number>(
  "int open_tree(int dir, const char *path, unsigned int flags)",
);
const mountSetattr = libc<(dir: number, path: string, flags: number, attributes: Buffer, size: number) => number>(
  "int mount_setattr(int dir, const char *path, unsigned int flags, void *attributes, size_t size)",
);

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 1;
const O_CLOEXEC = 0o2000000;
const MOUNT_ATTR_RDONLY = 1n;
const SETSIGDEF = 0x04;
const SETSIGMASK = 0x08;
/** Larger than posix_spawnattr_t, posix_spawn_file_actions_t and sigset_t of any C library here. */
const OPAQUE_BYTES = 512;
const READY_BYTES_MAX = 4096;

/** The shim's binary, held open. */
export interface ShimBinary {
  /** Path that executes it. */
  readonly path: string;
  close(): void;
}

/** Opens the binary on a read-only mount of its own. Throws NotFound when it was not built. */
export function openShimBinary(path: string): ShimBinary {
  const tree = check(
    openTree(AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC),
    `the container shim ${path} (build it with: make -C native)`,
  );
  try {
    const attributes = Buffer.alloc(32);
    attributes.writeBigUInt64LE(MOUNT_ATTR_RDONLY, 0);
    check(mountSetattr(tree, "", AT_EMPTY_PATH, attributes, attributes.length), `making ${path} read-only`);
  } catch (error) {
    closeSync(tree);
    throw error;
  }
  return { path: `/proc/self/fd/${tree}`, close: () => closeSync(tree) };
}

export interface MadeContainer {
  /** Of the container's first process. */
  readonly pid: number;
  readonly shimPid: number;
}

/**
 * Runs the shim on a plan and settles when the container waits at its barrier. Rejects FailedPrecondition with the shim's
 * sentence. After an abort the shim finds the pipe closed and takes the container down again.
 */
export async function spawnShim(binary: ShimBinary, planPath: string, signal: AbortSignal): Promise<MadeContainer> {
  signal.throwIfAborted();
  const fds = [0, 0];
  check(pipe2(fds, O_CLOEXEC), "a pipe for the container's shim");
  const [readEnd = -1, writeEnd = -1] = fds;
  let pid: number;
  try {
    pid = launch(binary, { planPath, output: writeEnd });
  } catch (error) {
    closeSync(readEnd);
    throw error;
  } finally {
    closeSync(writeEnd);
  }
  try {
    return parseReady(await abortable(readAll(readEnd, signal), signal));
  } finally {
    // The launcher forked and left long before the shim could say anything.
    waitpid(pid, [0], 0);
  }
}

/** Starts the launcher; its pid. */
function launch(binary: ShimBinary, options: { readonly planPath: string; readonly output: number }): number {
  const actions = Buffer.alloc(OPAQUE_BYTES);
  const attributes = Buffer.alloc(OPAQUE_BYTES);
  const pid = [0];
  const input = openSync("/dev/null", "r+");
  actionsInit(actions);
  try {
    attributesInit(attributes);
    attributesFlags(attributes, SETSIGMASK | SETSIGDEF);
    attributesMask(attributes, Buffer.alloc(OPAQUE_BYTES));
    attributesDefault(attributes, Buffer.alloc(OPAQUE_BYTES, 0xff));
    actionsDup2(actions, input, 0);
    actionsDup2(actions, options.output, 1);
    actionsDup2(actions, input, 2);
    const argv = ["tsswarm-shim", options.planPath, null];
    const failed = posixSpawn(pid, binary.path, actions, attributes, argv, ["PATH=/usr/bin:/bin", null]);
    if (failed !== 0) throw errnoError(failed, "starting a container's shim");
  } finally {
    actionsDestroy(actions);
    closeSync(input);
  }
  return pid[0] ?? -1;
}

/** All that comes out of the pipe until it is closed, read by the event loop. */
function readAll(fd: number, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = new Socket({ fd, readable: true, writable: false });
    let text = "";
    const stop = (): void => void socket.destroy();
    socket.on("data", (piece: Buffer) => {
      if (text.length < READY_BYTES_MAX) text += piece.toString("utf8");
    });
    socket.on("error", reject);
    socket.on("close", () => {
      signal.removeEventListener("abort", stop);
      resolve(text);
    });
    signal.addEventListener("abort", stop, { once: true });
  });
}

function parseReady(text: string): MadeContainer {
  const ready = /^R (\d+) (\d+)\n$/.exec(text);
  if (ready !== null) return { pid: Number(ready[1]), shimPid: Number(ready[2]) };
  if (text.startsWith("E ")) throw new SwarmError("FailedPrecondition", text.slice(2).trim());
  throw new SwarmError("Unavailable", "the container's shim ended before the container was made");
}
