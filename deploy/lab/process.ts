// The daemons of a lab as processes: started in their node's namespaces, found again, killed as a crash or a power cut would.

import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import { openCgroups } from "../../native/index.ts";
import { type Lab, type LabNode, placesOf } from "./lab.ts";

const WAIT_STEP_MS = 20;
const GONE_WITHIN_MS = 10_000;

/** Folder of the launchers, from the sources (deploy/lab) and from the bundle (dist) alike. */
export const BIN_DIR: string = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../bin" : "../deploy/bin", import.meta.url),
);

/** Starts the node's daemon. It outlives this process; its output goes to its log file. */
export async function startDaemon(lab: Lab, node: LabNode): Promise<void> {
  const places = placesOf(lab.name, node.name);
  if (daemonPid(lab, node.name) !== undefined)
    throw new SwarmError("FailedPrecondition", `the daemon of ${node.name} is running already`);
  await mkdir(places.stateDir, { recursive: true, mode: 0o700 });
  await mkdir(places.runDir, { recursive: true, mode: 0o700 });
  const log = openSync(places.log, "a");
  try {
    const daemon = [
      `${BIN_DIR}/tsswarmd`,
      ...["--state-dir", places.stateDir],
      ...["--run-dir", places.runDir],
      ...["--socket", places.socket],
      ...["--cgroup-parent", places.cgroupParent],
      ...["--advertise-addr", node.address],
      ...(lab.genericResources?.[node.name] ?? []).flatMap((text) => ["--node-generic-resource", text]),
    ];
    // Every program of the chain replaces itself by the next, so that the pid stays the daemon's.
    const named = ["unshare", "--uts", "--", "sh", "-c", 'hostname "$0" && exec "$@"', node.name, ...daemon];
    const child = spawn("nsenter", [`--net=/run/netns/${places.netns}`, "--", ...named], {
      detached: true,
      stdio: ["ignore", log, log],
      cwd: "/",
    });
    child.unref();
    if (child.pid === undefined)
      throw new SwarmError("Internal", `cannot start the daemon of ${node.name}: nsenter did not start`);
    await writeFile(places.pidFile, `${child.pid}\n`);
  } finally {
    closeSync(log);
  }
}

/** Pid of the node's daemon, where it runs. */
export function daemonPid(lab: Lab, node: string): number | undefined {
  const { pidFile, stateDir } = placesOf(lab.name, node);
  if (!existsSync(pidFile)) return undefined;
  const pid = Number(readFileSync(pidFile, "utf8"));
  // A pid may have been given to somebody else: the state folder stands in the command line of ours.
  return commandLine(pid).includes(stateDir) ? pid : undefined;
}

/** kill -9 of the daemon alone. Throws FailedPrecondition when it does not run. */
export async function killDaemon(lab: Lab, node: string): Promise<void> {
  const pid = daemonPid(lab, node);
  if (pid === undefined) throw new SwarmError("FailedPrecondition", `the daemon of ${node} is not running`);
  process.kill(pid, "SIGKILL");
  await untilGone(() => [pid].filter(isRunning), node);
}

/** Daemon, shims and containers at once, as when the power goes. */
export async function powerOff(lab: Lab, node: string): Promise<void> {
  const { netns, cgroupParent } = placesOf(lab.name, node);
  const inode = namespaceInode(`/run/netns/${netns}`);
  const killed = new Set<number>();
  await untilGone(() => {
    for (const pid of inode === undefined ? [] : processesIn(inode)) {
      kill(pid);
      killed.add(pid);
    }
    const own = [...killed].filter(isRunning);
    // Containers have namespaces of their own: their control groups know them.
    const group = openCgroups().find(cgroupParent);
    group?.kill();
    return [...own, ...(group?.procs() ?? []).filter((pid) => isRunning(pid))];
  }, node);
}

/** Removes the cgroups of the whole lab. */
export async function removeCgroups(parent: string, signal: AbortSignal): Promise<void> {
  await openCgroups().removeTree(parent, signal);
}

export async function forgetPid(lab: Lab, node: string): Promise<void> {
  await rm(placesOf(lab.name, node).pidFile, { force: true });
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function untilGone(left: () => readonly number[], node: string): Promise<void> {
  const deadline = Date.now() + GONE_WITHIN_MS;
  let pids = left();
  while (pids.length > 0) {
    if (Date.now() > deadline)
      throw new SwarmError(
        "DeadlineExceeded",
        `processes ${pids.join(", ")} of ${node} did not end within ${GONE_WITHIN_MS / 1000} s of being killed`,
      );
    await new Promise((resolve) => setTimeout(resolve, WAIT_STEP_MS));
    pids = left();
  }
}

function commandLine(pid: number): string {
  return readProc(`/proc/${pid}/cmdline`);
}

function readProc(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // The process ended between listing and reading.
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw new SwarmError("Internal", `cannot read ${path}: ${errorText(error)}`, { cause: error });
  }
}

function namespaceInode(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  // nsfs files are told apart by their inode, which /proc shows as net:[inode].
  return String(statSync(path).ino);
}

function processesIn(inode: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => linkOf(`/proc/${pid}/ns/net`) === `net:[${inode}]`)
    .map(Number)
    .filter(isRunning);
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}

/**
 * A process that is dead and waits for its parent is none: nothing is left to kill. One whose first thread is dead may still have
 * others that wait for the disk, and with them its files and locks.
 */
function isRunning(pid: number): boolean {
  return threadsOf(pid).some((thread) => /^State:\s+[^ZX\s]/m.test(readProc(`/proc/${pid}/task/${thread}/status`)));
}

function threadsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
    throw error;
  }
}
