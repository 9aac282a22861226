// A runtime specification compiled to the shim's plan: every decision is taken here or before, the shim only does it.
// Knows nothing of sockets, processes or the agent.

import { SwarmError } from "../proto/base/errors.ts";
import { capabilityBit } from "./capabilities.ts";
import type { Cgroup } from "./cgroup-types.ts";
import { addMounts, rootPropagation } from "./plan-mounts.ts";
import { PlanWriter } from "./plan-records.ts";
import type { NamespaceType, RuntimeSpec, SpecProcess } from "./runtime-spec.ts";
import type { ExecOptions, LogOptions } from "./types.ts";

/** An annotation of the specification: "true" keeps standard input open for attach. */
export const STDIN_ANNOTATION = "tsswarm.stdin";

export interface PlanOptions {
  readonly spec: RuntimeSpec;
  /** Topmost first; empty: `spec.root.path` is the root as it is. */
  readonly layers: readonly string[];
  readonly upperDir: string;
  readonly workDir: string;
  readonly log: LogOptions;
  readonly exitPath: string;
  readonly socketPath: string;
  readonly cgroup: Pick<Cgroup, "joinPaths" | "v2Dir" | "oom">;
  /** struct sock_filter[]; undefined: no filter. */
  readonly filter: Uint8Array | undefined;
}

/** The plan of a container. Throws InvalidArgument for what the shim cannot do. */
export function compilePlan(options: PlanOptions): Buffer {
  const plan = new PlanWriter();
  addSurroundings(plan, options);
  addRoot(plan, options);
  const { process } = options.spec;
  if (process.terminal === true) {
    plan.add("TTY", process.consoleSize?.height ?? 24, process.consoleSize?.width ?? 80);
  } else if (options.spec.annotations?.[STDIN_ANNOTATION] === "true") {
    plan.add("STDIN");
  }
  addProcess(plan, process, options.filter);
  return plan.finish();
}

/** The plan of a command in a running container: only what differs from the container's own process. */
export function compileExecPlan(options: ExecOptions): Buffer {
  const plan = new PlanWriter();
  if (options.tty) plan.add("TTY", options.size?.rows ?? 24, options.size?.columns ?? 80);
  if (options.stdin) plan.add("STDIN");
  if (options.user !== "") plan.add("USER", options.user);
  if (options.cwd !== "") plan.add("CWD", options.cwd);
  for (const pair of options.env) plan.add("ENV", pair);
  for (const arg of options.args) plan.add("ARG", arg);
  return plan.finish();
}

/** CLONE_NEW* of linux/sched.h. */
const CLONE: Readonly<Record<NamespaceType, number>> = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
};

function addSurroundings(plan: PlanWriter, options: PlanOptions): void {
  const { namespaces } = options.spec.linux;
  let flags = 0;
  for (const { type, path } of namespaces) {
    if (type === "user") throw new SwarmError("InvalidArgument", "user namespaces are not supported");
    if (path === undefined || path === "") flags |= CLONE[type];
    else if (type === "pid" || type === "mount") {
      throw new SwarmError("InvalidArgument", `a container cannot join the ${type} namespace ${path}`);
    } else plan.add("NAMESPACE_PATH", CLONE[type], path);
  }
  if ((flags & CLONE.mount) === 0)
    throw new SwarmError("InvalidArgument", "a container needs a mount namespace of its own");
  plan.add("NAMESPACES", flags);
  const { cgroup, log } = options;
  if (cgroup.v2Dir !== undefined) plan.add("CGROUP_DIR", cgroup.v2Dir);
  for (const path of cgroup.joinPaths) plan.add("CGROUP_PROCS", path);
  if (cgroup.oom?.kind === "v1") plan.add("OOM_V1", cgroup.oom.controlPath, cgroup.oom.eventControlPath);
  if (cgroup.oom?.kind === "v2") plan.add("OOM_V2", cgroup.oom.eventsPath);
  plan.add("LOG", log.path, log.maxBytes, log.maxFiles);
  plan.add("EXIT_FILE", options.exitPath);
  plan.add("SOCKET", options.socketPath);
}

function addRoot(plan: PlanWriter, { spec, layers, upperDir, workDir }: PlanOptions): void {
  const { linux } = spec;
  const own = (wanted: NamespaceType): boolean =>
    linux.namespaces.some(({ type, path }) => type === wanted && (path === undefined || path === ""));
  if (spec.hostname !== undefined && spec.hostname !== "" && own("uts")) plan.add("HOSTNAME", spec.hostname);
  if (own("network")) plan.add("LOOPBACK");
  if (layers.length === 0) plan.add("BIND_ROOT", spec.root.path);
  else plan.add("OVERLAY", spec.root.path, upperDir, workDir, ...layers);
  addMounts(plan, spec.mounts, linux.devices ?? []);
  plan.add("DIRECTORY", workingDirectory(spec.process));
  for (const [name, value] of Object.entries(linux.sysctl ?? {})) addSysctl(plan, name, value);
  for (const path of linux.maskedPaths ?? []) plan.add("MASK", path);
  for (const path of linux.readonlyPaths ?? []) plan.add("READ_ONLY", path);
  if (spec.root.readonly === true) plan.add("ROOT_READ_ONLY");
  if (linux.rootfsPropagation !== undefined && linux.rootfsPropagation !== "") {
    plan.add("ROOT_PROPAGATION", rootPropagation(linux.rootfsPropagation));
  }
}

/** "net.ipv4.ip_forward", or with slashes where a name holds dots ("net/ipv4/conf/eth0.100/forwarding"). */
function addSysctl(plan: PlanWriter, name: string, value: string): void {
  const path = name.includes("/") ? name : name.replaceAll(".", "/");
  if (!/^[a-z0-9]+(?:\/[\w.*-]+)+$/i.test(path) || path.split("/").includes("..")) {
    throw new SwarmError("InvalidArgument", `"${name}" is no name of a sysctl`);
  }
  plan.add("SYSCTL", path, value);
}

function workingDirectory(process: SpecProcess): string {
  return process.cwd === "" ? "/" : process.cwd;
}

/** RLIMIT_* of asm-generic/resource.h. */
const RLIMITS: readonly string[] = [
  "CPU",
  "FSIZE",
  "DATA",
  "STACK",
  "CORE",
  "RSS",
  "NPROC",
  "NOFILE",
  "MEMLOCK",
  "AS",
  "LOCKS",
  "SIGPENDING",
  "MSGQUEUE",
  "NICE",
  "RTPRIO",
  "RTTIME",
];

const UNLIMITED = 0xffff_ffff_ffff_ffffn;

function addProcess(plan: PlanWriter, process: SpecProcess, filter: Uint8Array | undefined): void {
  for (const { type, soft, hard } of process.rlimits ?? []) {
    const number = RLIMITS.indexOf(type.replace(/^RLIMIT_/, ""));
    if (number < 0) throw new SwarmError("InvalidArgument", `there is no resource limit "${type}"`);
    plan.add("RLIMIT", number, limit(soft), limit(hard));
  }
  plan.add("OOM_SCORE", process.oomScoreAdj ?? 0);
  plan.add("UMASK", process.user.umask ?? 0o022);
  const sets = process.capabilities;
  if (sets !== undefined) {
    const { bounding, effective, permitted, inheritable = [], ambient = [] } = sets;
    plan.add("CAPABILITIES", ...[bounding, effective, permitted, inheritable, ambient].map(capabilityBits));
  }
  const user = process.user.username ?? `${process.user.uid}:${process.user.gid}`;
  plan.add("USER", user, ...(process.user.additionalGids ?? []));
  if (process.noNewPrivileges === true) plan.add("NO_NEW_PRIVILEGES");
  if (filter !== undefined) plan.bytes("SECCOMP", filter);
  plan.add("CWD", workingDirectory(process));
  for (const pair of process.env) plan.add("ENV", pair);
  for (const arg of process.args) plan.add("ARG", arg);
}

function limit(value: number): bigint {
  return value < 0 || value > Number.MAX_SAFE_INTEGER ? UNLIMITED : BigInt(Math.floor(value));
}

function capabilityBits(names: readonly string[]): bigint {
  return names.reduce((bits, name) => bits | (1n << BigInt(capabilityBit(name))), 0n);
}
