// Containers, as types.ts promises them: a shim per container, its socket, its exit record, its control group. Everything that
// must survive the agent lies in the container's folder or runs in the shim; an object here is only a hold on it.

import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { withDeadline } from "../proto/base/abort.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, isSwarmError } from "../proto/base/errors.ts";
import type { Cgroup, CgroupDriver } from "./cgroup-types.ts";
import { openCgroups } from "./cgroup.ts";
import { readExitFile } from "./exit-file.ts";
import { compilePlan } from "./plan.ts";
import type { SpecSeccomp } from "./runtime-spec.ts";
import { compileSeccomp } from "./seccomp.ts";
import { ShimClient } from "./shim-client.ts";
import { ShimContainer } from "./shim-container.ts";
import { type ShimBinary, openShimBinary, spawnShim } from "./spawn.ts";
import type { Adopted, AdoptOptions, Container, ContainerOptions, ContainerRuntime } from "./types.ts";

export interface ContainerRuntimeOptions {
  readonly clock: Clock;
  /** The shim's binary; beside this file when absent. */
  readonly shimPath?: string;
  /** This machine's when absent. */
  readonly cgroups?: CgroupDriver;
}

/** The longest path of a unix socket. In bytes. */
const SOCKET_PATH_MAX = 107;
/** For an answer of a shim, which is never busy. */
const ANSWER_MS = 10_000;

/** Makes and finds containers on this machine. Throws NotFound when the shim was not built. */
export function openContainerRuntime(options: ContainerRuntimeOptions): ContainerRuntime {
  const binary = openShimBinary(options.shimPath ?? defaultShimPath());
  return new ShimRuntime({ binary, clock: options.clock, cgroups: options.cgroups ?? openCgroups() });
}

/** Where the build puts the shim: beside the bundle, or in `build/` beside the sources. */
export function defaultShimPath(): string {
  return builtProgram("tsswarm-shim");
}

/** The program that is process 1 of containers that ask for an init. */
export function defaultInitPath(): string {
  return builtProgram("tsswarm-init");
}

function builtProgram(name: string): string {
  const bundled = join(import.meta.dirname, name);
  return existsSync(bundled) ? bundled : join(import.meta.dirname, "build", name);
}

interface RuntimeParts {
  readonly binary: ShimBinary;
  readonly clock: Clock;
  readonly cgroups: CgroupDriver;
}

class ShimRuntime implements ContainerRuntime {
  readonly #parts: RuntimeParts;
  /** Compiling a profile takes milliseconds, and containers share a few. */
  readonly #filters = new WeakMap<SpecSeccomp, Uint8Array>();

  constructor(parts: RuntimeParts) {
    this.#parts = parts;
  }

  async create(options: ContainerOptions, signal: AbortSignal): Promise<Container> {
    const { binary, cgroups, clock } = this.#parts;
    const paths = containerPaths(options);
    const { spec } = options;
    makeFolders(options, paths);
    let cgroup: Cgroup | undefined;
    try {
      const filter = this.#filter(spec.linux.seccomp);
      cgroup = cgroups.create(spec.linux.cgroupsPath, spec.linux.resources ?? {});
      const plan = compilePlan({ ...options, ...paths, cgroup, filter });
      writeFileSync(paths.planPath, plan, { mode: 0o600 });
      const { pid } = await spawnShim(binary, paths.planPath, signal);
      // It was read, and holds the environment with whatever secrets are in it.
      rmSync(paths.planPath);
      const client = await ShimClient.connect(paths.socketPath, signal);
      return new ShimContainer({ id: options.id, pid, clock, cgroup, client, ...paths });
    } catch (error) {
      await this.#undo(cgroup, paths);
      throw error;
    }
  }

  async adopt(options: AdoptOptions, signal: AbortSignal): Promise<Adopted> {
    const { cgroups, clock } = this.#parts;
    const paths = containerPaths(options);
    const cgroup = cgroups.find(`${options.cgroupParent}/${options.id}`);
    const before = readExitFile(paths.exitPath);
    if (before !== undefined) {
      await this.#undo(cgroup, paths);
      return { kind: "exited", exit: before };
    }
    const client = await connectOrNothing(paths.socketPath, signal);
    if (client === undefined) {
      // It may have ended between the two looks.
      const exit = readExitFile(paths.exitPath);
      await this.#undo(cgroup, paths);
      return exit === undefined ? { kind: "lost" } : { kind: "exited", exit };
    }
    try {
      const state = await withDeadline(
        { clock, ms: ANSWER_MS, what: `the shim of container ${options.id}`, parent: signal },
        (bounded) => client.state(bounded),
      );
      if (state.status === "stopped") {
        const exit = readExitFile(paths.exitPath);
        client.close();
        await this.#undo(cgroup, paths);
        return exit === undefined ? { kind: "lost" } : { kind: "exited", exit };
      }
      const container = new ShimContainer({ id: options.id, pid: state.pid, clock, cgroup, client, ...paths });
      return { kind: state.status, container };
    } catch (error) {
      client.close();
      throw error;
    }
  }

  #filter(profile: SpecSeccomp | undefined): Uint8Array | undefined {
    if (profile === undefined) return undefined;
    const known = this.#filters.get(profile);
    if (known !== undefined) return known;
    const filter = compileSeccomp(profile);
    this.#filters.set(profile, filter);
    return filter;
  }

  /** Takes away what a container that is no more, or never came to be, has outside of its folder. */
  async #undo(cgroup: Cgroup | undefined, paths: ContainerPaths): Promise<void> {
    const { clock } = this.#parts;
    cgroup?.kill();
    await withDeadline({ clock, ms: ANSWER_MS, what: "removing the container's cgroup" }, async (signal) =>
      cgroup?.remove(signal),
    );
    rmSync(paths.planPath, { force: true });
    rmSync(paths.socketPath, { force: true });
  }
}

async function connectOrNothing(path: string, signal: AbortSignal): Promise<ShimClient | undefined> {
  try {
    return await ShimClient.connect(path, signal);
  } catch (error) {
    if (isSwarmError(error, "Unavailable")) return undefined;
    throw error;
  }
}

/** Everything of one container that has a place. */
export interface ContainerPaths {
  readonly planPath: string;
  readonly exitPath: string;
  readonly socketPath: string;
  readonly upperDir: string;
  readonly workDir: string;
}

function containerPaths({ id, dir, runDir }: Pick<ContainerOptions, "id" | "dir" | "runDir">): ContainerPaths {
  if (!/^[0-9a-f]{64}$/.test(id)) {
    throw new SwarmError(
      "InvalidArgument",
      `"${id.slice(0, 80)}" is no container id: it must be 64 hexadecimal digits`,
    );
  }
  const socketPath = join(runDir, id.slice(0, 12));
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_MAX) {
    throw new SwarmError("InvalidArgument", `the folder ${runDir} is too long for sockets; choose a shorter one`);
  }
  return {
    planPath: join(dir, "plan"),
    exitPath: join(dir, "exit.json"),
    socketPath,
    upperDir: join(dir, "upper"),
    workDir: join(dir, "work"),
  };
}

function makeFolders(options: ContainerOptions, paths: ContainerPaths): void {
  mkdirSync(options.runDir, { recursive: true, mode: 0o700 });
  if (options.layers.length === 0) return;
  mkdirSync(options.spec.root.path, { recursive: true, mode: 0o755 });
  mkdirSync(paths.upperDir, { recursive: true, mode: 0o755 });
  mkdirSync(paths.workDir, { recursive: true, mode: 0o700 });
}
