// Whether this machine can run containers: each feature is tried out, not looked up, and nothing of it stays. For commands
// (`tsswarm doctor`, set-up); it blocks for some tens of milliseconds, which a daemon must not.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SwarmError, errorText } from "../proto/base/errors.ts";
import { openCgroups } from "./cgroup.ts";
import { errnoName, lastErrno, libc } from "./ffi.ts";
import { inFreshNetwork, probeLink, probeTables } from "./kernel-probe-net.ts";

export interface KernelCheck {
  /** "overlayfs" */
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or, when it is not right, a sentence with the fix. */
  readonly detail: string;
}

export interface KernelCheckOptions {
  /** Folder whose file system must carry overlays, where containers are to live; it must exist. The machine's temporary one when absent. */
  readonly dir?: string;
}

/** All checks, in the order in which they should be mended. Rejects only when the signal aborts. */
export async function checkKernel(
  signal: AbortSignal,
  options: KernelCheckOptions = {},
): Promise<readonly KernelCheck[]> {
  if (process.platform !== "linux") return [failed("linux", `tsswarm runs on Linux; this is ${process.platform}`)];
  if (process.getuid?.() !== 0) return [failed("root", "checking and running containers needs root; use sudo")];
  const checks: KernelCheck[] = [tried("namespaces", namespaces)];
  checks.push(await cgroups(signal));
  checks.push(tried("overlayfs", () => overlay(options.dir ?? tmpdir())));
  for (const kind of ["bridge", "veth", "vxlan"]) checks.push(tried(kind, () => link(kind)));
  checks.push(tried("nf_tables", tables), tried("seccomp", seccomp));
  return checks;
}

function failed(name: string, detail: string): KernelCheck {
  return { name, ok: false, detail };
}

/** `probe` returns what was found, or throws a sentence with the fix. */
function tried(name: string, probe: () => string): KernelCheck {
  try {
    return { name, ok: true, detail: probe() };
  } catch (error) {
    return failed(name, errorText(error));
  }
}

function missing(detail: string): SwarmError {
  return new SwarmError("FailedPrecondition", detail);
}

const NAMESPACES: readonly string[] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

function namespaces(): string {
  const absent = NAMESPACES.filter((name) => !existsSync(`/proc/self/ns/${name}`));
  if (absent.length > 0)
    throw missing(
      `the kernel has no ${absent.join(" and ")} namespaces; boot one with CONFIG_NAMESPACES and its parts`,
    );
  const flags = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork"];
  const said = inOwnNamespaces([...flags, "true"]);
  if (said !== "")
    throw missing(`namespaces cannot be made (${said}); run where the kernel allows it, not in a container`);
  return NAMESPACES.join(", ");
}

/** Runs a command by unshare(1); the answer is empty, or what went wrong. */
function inOwnNamespaces(args: readonly string[]): string {
  const run = spawnSync("unshare", args, { encoding: "utf8", timeout: 10_000 });
  if (run.error !== undefined) return `unshare of util-linux cannot be run: ${run.error.message}`;
  return run.status === 0 ? "" : run.stderr.trim() || `it ended with ${run.status ?? run.signal ?? "nothing"}`;
}

async function cgroups(signal: AbortSignal): Promise<KernelCheck> {
  const name = "cgroups";
  const path = `/tsswarm-check-${process.pid}`;
  try {
    const driver = openCgroups();
    try {
      driver.create(path, {
        cpu: { quota: 50_000, period: 100_000 },
        memory: { limit: 64 * 2 ** 20 },
        pids: { limit: 16 },
        devices: [{ allow: false }, { allow: true, type: "c", major: 1, minor: 3 }],
      });
    } finally {
      await driver.removeTree(path, signal);
    }
    return { name, ok: true, detail: driver.version };
  } catch (error) {
    signal.throwIfAborted();
    return failed(name, errorText(error));
  }
}

const OVERLAY = `mount -t overlay overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" "$1/merged" &&
  touch "$1/merged/file" && test -e "$1/upper/file"`;

function overlay(parent: string): string {
  const dir = makeFolder(parent);
  try {
    for (const part of ["lower", "upper", "work", "merged"]) mkdirSync(join(dir, part));
    // Mounted in a namespace of its own, so that it is gone with the command.
    const said = inOwnNamespaces(["--mount", "--propagation", "private", "sh", "-c", OVERLAY, "sh", dir]);
    if (said === "") return `on ${parent}`;
    const known = readFileSync("/proc/filesystems", "utf8").includes("\toverlay\n");
    throw missing(
      known
        ? `an overlay cannot be mounted on ${parent} (${said}); use a folder on ext4 or xfs`
        : `the kernel has no overlayfs (${said}); load it with: modprobe overlay`,
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function makeFolder(parent: string): string {
  try {
    return mkdtempSync(join(parent, "tsswarm-check-"));
  } catch (error) {
    throw missing(`nothing can be written to ${parent} (${errorText(error)}); choose a folder of a disk with room`);
  }
}

function link(kind: string): string {
  const errno = inFreshNetwork(() => probeLink(kind));
  if (errno === 0) return "can be made";
  throw missing(`the kernel makes no ${kind} devices (${errnoName(errno)}); load the module with: modprobe ${kind}`);
}

function tables(): string {
  const errno = inFreshNetwork(probeTables);
  if (errno === 0) return "can translate addresses";
  throw missing(
    `the kernel takes no nf_tables rules for address translation (${errnoName(errno)}); load them with: modprobe nf_tables nft_chain_nat`,
  );
}

const SECCOMP: Readonly<Record<string, number>> = { x64: 317, arm64: 277 };
const SECCOMP_GET_ACTION_AVAIL = 2;
const ACTIONS: readonly number[] = [0x80000000, 0x00050000];

function seccomp(): string {
  const number = SECCOMP[process.arch];
  if (number === undefined) throw missing(`system calls cannot be filtered on ${process.arch} machines`);
  const syscall = libc<(number: number, operation: number, flags: number, data: Uint8Array) => number>(
    "long syscall(long number, long operation, long flags, void *data)",
  );
  for (const action of ACTIONS) {
    const data = Buffer.alloc(4);
    data.writeUInt32LE(action);
    if (syscall(number, SECCOMP_GET_ACTION_AVAIL, 0, data) < 0)
      throw missing(
        `the kernel filters no system calls (${errnoName(lastErrno())}); boot one with CONFIG_SECCOMP_FILTER`,
      );
  }
  return "filters system calls";
}
