// The file system calls a layer is unpacked with: all relative to an open directory, names as byte strings, paths resolved
// by the kernel inside the layer's root (openat2 with RESOLVE_IN_ROOT). Blocking: for a Worker, never for the main thread.

import { lstatSync, readdirSync } from "node:fs";
import { constants } from "node:os";
import { SwarmError } from "../proto/base/errors.ts";
import { check, errnoError, lastErrno, libc } from "./ffi.ts";
import { shownName } from "./tar-entry.ts";

/** A number the kernel calls a directory by; whoever opened it closes it. */
export type DirFd = number;

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const AT_EMPTY_PATH = 0x1000;
const O_WRONLY = 0o1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_DIRECTORY = 0o200000;
const O_NOFOLLOW = 0o400000;
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const SYS_OPENAT2 = 437;
const RESOLVE_NO_MAGICLINKS = 0x02n;
const RESOLVE_IN_ROOT = 0x10n;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;

type Path = Uint8Array;

const openat2 = libc<(n: number, dir: number, path: Path, how: Uint8Array, size: number) => number>(
  "long syscall(long n, long dir, const void *path, const void *how, long size)",
);
const openat = libc<(dir: number, path: Path, flags: number, mode: number) => number>(
  "int openat(int dir, const void *path, int flags, unsigned int mode)",
);
const mkdirat = libc<(dir: number, path: Path, mode: number) => number>(
  "int mkdirat(int dir, const void *path, unsigned int mode)",
);
const mknodat = libc<(dir: number, path: Path, mode: number, device: number) => number>(
  "int mknodat(int dir, const void *path, unsigned int mode, unsigned long device)",
);
const symlinkat = libc<(target: Path, dir: number, path: Path) => number>(
  "int symlinkat(const void *target, int dir, const void *path)",
);
const linkat = libc<(fromDir: number, from: Path, toDir: number, to: Path, flags: number) => number>(
  "int linkat(int from_dir, const void *from, int to_dir, const void *to, int flags)",
);
const unlinkat = libc<(dir: number, path: Path, flags: number) => number>(
  "int unlinkat(int dir, const void *path, int flags)",
);
const readlinkat = libc<(dir: number, path: Path, buffer: Uint8Array, size: number) => number>(
  "long readlinkat(int dir, const void *path, void *buffer, size_t size)",
);
const fchownat = libc<(dir: number, path: Path, uid: number, gid: number, flags: number) => number>(
  "int fchownat(int dir, const void *path, unsigned int uid, unsigned int gid, int flags)",
);
const fchmodat = libc<(dir: number, path: Path, mode: number, flags: number) => number>(
  "int fchmodat(int dir, const void *path, unsigned int mode, int flags)",
);
const utimensat = libc<(dir: number, path: Path, times: Uint8Array, flags: number) => number>(
  "int utimensat(int dir, const void *path, const void *times, int flags)",
);
const lsetxattr = libc<(path: Path, name: Path, value: Uint8Array, size: number, flags: number) => number>(
  "int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)",
);
const syncfs = libc<(fd: number) => number>("int syncfs(int fd)");
const closeFd = libc<(fd: number) => number>("int close(int fd)");

/** A byte string as the kernel wants it. */
function bytes(name: string): Uint8Array {
  return Buffer.from(`${name}\0`, "latin1");
}

const EMPTY = bytes("");

/** struct open_how: flags, mode, resolve; 64 bits each. */
const DIRECTORY_IN_ROOT = Buffer.alloc(24);
DIRECTORY_IN_ROOT.writeBigUInt64LE(BigInt(O_PATH | O_DIRECTORY | O_CLOEXEC), 0);
DIRECTORY_IN_ROOT.writeBigUInt64LE(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, 16);

/** Tries of a path lookup that a rename elsewhere on the machine disturbed (the kernel answers EAGAIN then). */
const LOOKUP_TRIES = 100;

/** What can be in the way without being an error of the machine. */
export type Refusal = "ENOENT" | "ENOTDIR" | "ELOOP";

/** The result of the call just made, or the errno's name where it is one of `expected`; throws SwarmError on any other. */
function attempt<R extends keyof typeof constants.errno>(
  result: number,
  expected: readonly R[],
  what: () => string,
): number | R {
  if (result >= 0) return result;
  const errno = lastErrno();
  const name = expected.find((one) => constants.errno[one] === errno);
  if (name !== undefined) return name;
  throw errnoError(errno, what());
}

/** Opens the folder a layer goes to; the rest of the process's paths end here. */
export function openRoot(path: string): DirFd {
  return check(
    openat(AT_FDCWD, Buffer.from(`${path}\0`), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0),
    `cannot open ${path}`,
  );
}

/** Opens a directory by its path inside `root`: symlinks and ".." are followed but never lead out. */
export function openInRoot(root: DirFd, path: string): DirFd | Refusal {
  const name = bytes(path === "" ? "." : path);
  for (let tries = 1; ; tries++) {
    const result = attempt(
      openat2(SYS_OPENAT2, root, name, DIRECTORY_IN_ROOT, 24),
      ["ENOENT", "ENOTDIR", "ELOOP", "EAGAIN"],
      () => `cannot open directory ${shownName(path)} of the layer`,
    );
    if (result !== "EAGAIN") return result;
    if (tries === LOOKUP_TRIES)
      throw errnoError(constants.errno.EAGAIN, `cannot open directory ${shownName(path)} of the layer`);
  }
}

/** Opens a directory that is itself an entry of `dir`, not a symlink to one. Readable, unlike the others. */
export function openChild(dir: DirFd, name: string): DirFd | Refusal {
  return attempt(
    openat(dir, bytes(name), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0),
    ["ENOENT", "ENOTDIR", "ELOOP"],
    () => `cannot open directory ${shownName(name)}`,
  );
}

/** Makes a new file and answers its descriptor, for node:fs to write and close. */
export function createFile(dir: DirFd, name: string): number {
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  return check(openat(dir, bytes(name), flags, 0o600), `cannot make file ${shownName(name)}`);
}

export function makeDirectory(dir: DirFd, name: string, mode: number): "made" | "EEXIST" {
  const result = attempt(mkdirat(dir, bytes(name), mode), ["EEXIST"], () => `cannot make directory ${shownName(name)}`);
  return result === "EEXIST" ? "EEXIST" : "made";
}

export function makeSymlink(dir: DirFd, link: { readonly name: string; readonly target: string }): void {
  check(symlinkat(bytes(link.target), dir, bytes(link.name)), `cannot make symlink ${shownName(link.name)}`);
}

/** Gives a file a second name. A symlink as `from` is linked itself, not followed. */
export function makeHardlink(
  from: { readonly dir: DirFd; readonly name: string },
  to: { readonly dir: DirFd; readonly name: string },
): "made" | "ENOENT" | "EPERM" {
  const result = attempt(
    linkat(from.dir, bytes(from.name), to.dir, bytes(to.name), 0),
    ["ENOENT", "EPERM"],
    () => `cannot make hardlink ${shownName(to.name)}`,
  );
  return typeof result === "string" ? result : "made";
}

export type NodeKind = "character" | "block" | "fifo";

const NODE_BITS: Readonly<Record<NodeKind, number>> = { character: S_IFCHR, block: S_IFBLK, fifo: S_IFIFO };

export function makeNode(
  dir: DirFd,
  node: { readonly name: string; readonly kind: NodeKind; readonly major: number; readonly minor: number },
): void {
  const device = (node.minor & 0xff) + (node.major << 8) + (node.minor & 0xfff00) * 4096;
  check(mknodat(dir, bytes(node.name), NODE_BITS[node.kind] | 0o600, device), `cannot make ${shownName(node.name)}`);
}

/** Whether `name` is what overlayfs hides lower entries with: a character device 0:0. */
export function isWhiteout(dir: DirFd, name: string): boolean {
  const stat = lstatSync(Buffer.from(`/proc/self/fd/${dir}/${name}`, "latin1"), { throwIfNoEntry: false });
  return stat?.isCharacterDevice() === true && stat.rdev === 0;
}

/** Target of a symlink; undefined when `name` is none. */
export function readLink(dir: DirFd, name: string): string | undefined {
  const buffer = Buffer.alloc(4096);
  const result = attempt(
    readlinkat(dir, bytes(name), buffer, buffer.length),
    ["EINVAL", "ENOENT"],
    () => `cannot read ${shownName(name)}`,
  );
  return typeof result === "string" ? undefined : buffer.toString("latin1", 0, result);
}

/** Deepest tree that is removed; one descriptor is open per level. */
const DEPTH_MAX = 500;

/** Removes whatever is called `name`, with all below it. Answers whether there was anything. */
export function removeAll(dir: DirFd, name: string, depth = 0): boolean {
  if (depth > DEPTH_MAX) {
    throw new SwarmError("InvalidArgument", `The layer holds directories nested more than ${DEPTH_MAX} deep.`);
  }
  const gone = attempt(unlinkat(dir, bytes(name), 0), ["ENOENT", "EISDIR"], () => `cannot remove ${shownName(name)}`);
  if (gone !== "EISDIR") return gone !== "ENOENT";
  const inner = openChild(dir, name);
  if (typeof inner === "string") throw errnoError(constants.errno.ENOTDIR, `cannot remove ${shownName(name)}`);
  try {
    for (const child of readdirSync(`/proc/self/fd/${inner}`, { encoding: "latin1" }))
      removeAll(inner, child, depth + 1);
  } finally {
    close(inner);
  }
  check(unlinkat(dir, bytes(name), AT_REMOVEDIR), `cannot remove directory ${shownName(name)}`);
  return true;
}

/** Owner, then mode (which chown would clear of setuid). Not for symlinks where `mode` is given. */
export function setOwnerAndMode(
  dir: DirFd,
  entry: { readonly name: string; readonly uid: number; readonly gid: number; readonly mode: number | undefined },
): void {
  const name = bytes(entry.name);
  check(fchownat(dir, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW), `cannot chown ${shownName(entry.name)}`);
  if (entry.mode !== undefined) check(fchmodat(dir, name, entry.mode, 0), `cannot chmod ${shownName(entry.name)}`);
}

/** Sets an extended attribute on an entry itself. "unsupported" when its file system or kind has none of that family. */
export function setXattr(
  dir: DirFd,
  entry: { readonly name: string; readonly attribute: string; readonly value: Uint8Array },
): "set" | "unsupported" | "EPERM" {
  const result = attempt(
    lsetxattr(bytes(`/proc/self/fd/${dir}/${entry.name}`), bytes(entry.attribute), entry.value, entry.value.length, 0),
    ["EOPNOTSUPP", "EPERM"],
    () => `cannot set ${shownName(entry.attribute)} of ${shownName(entry.name)}`,
  );
  if (typeof result === "number") return "set";
  return result === "EPERM" ? "EPERM" : "unsupported";
}

function timespecs(ns: bigint): Uint8Array {
  const second = 1_000_000_000n;
  const rest = ((ns % second) + second) % second;
  const times = Buffer.alloc(32);
  for (const at of [0, 16]) {
    times.writeBigInt64LE((ns - rest) / second, at);
    times.writeBigInt64LE(rest, at + 8);
  }
  return times;
}

/** Sets both times of an entry itself (a symlink's own). */
export function setTimes(dir: DirFd, entry: { readonly name: string; readonly mtimeNs: bigint }): void {
  check(
    utimensat(dir, bytes(entry.name), timespecs(entry.mtimeNs), AT_SYMLINK_NOFOLLOW),
    `cannot set the time of ${shownName(entry.name)}`,
  );
}

/** Sets both times of an open directory. */
export function setTimesOf(dir: DirFd, mtimeNs: bigint): void {
  check(utimensat(dir, EMPTY, timespecs(mtimeNs), AT_EMPTY_PATH), "cannot set the time of a directory");
}

/** Writes everything of the file system that holds `path` to the disk, and says when the disk refused. */
export function syncFileSystem(path: string): void {
  const fd = check(openat(AT_FDCWD, Buffer.from(`${path}\0`), O_DIRECTORY | O_CLOEXEC, 0), `cannot open ${path}`);
  try {
    check(syncfs(fd), `cannot write ${path} to the disk`);
  } finally {
    close(fd);
  }
}

export function close(fd: number): void {
  closeFd(fd);
}
