// What the native room offers, as types. The agent codes against these; the files beside this one make them true.
// A container here is a process in namespaces under a shim of its own; it knows nothing of services, tasks or images.

import type { RuntimeSpec } from "./runtime-spec.ts";

/** Everything needed to make one container. */
export interface ContainerOptions {
  /** [0-9a-f]{64}; unique on the machine. */
  readonly id: string;
  /** A folder of its own, made by the caller: plan, pid, log files, upper and work of the overlay, exit.json live here. */
  readonly dir: string;
  /** Short folder for the control socket (paths of sockets are limited to 107 bytes). */
  readonly runDir: string;
  /** An OCI runtime-spec document (root.path is where the overlay goes and is inside the container's mount namespace only). */
  readonly spec: RuntimeSpec;
  /** Read-only layer folders of the root, topmost first. */
  readonly layers: readonly string[];
  readonly log: LogOptions;
}

export interface LogOptions {
  /** Log file; rotated ones get ".1", ".2" ... (larger is older). */
  readonly path: string;
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/** How a container ended. `exit.json` in its folder holds the same and is the durable truth. */
export interface ExitRecord {
  /** 128 + signal when a signal ended it. */
  readonly code: number;
  /** 0 when it ended by itself. */
  readonly signal: number;
  readonly oomKilled: boolean;
  /** Unix time. */
  readonly startedAtMs: number;
  readonly exitedAtMs: number;
  /** What kept it from running at all; absent when it ran. */
  readonly failure?: string;
}

/** A made container, running or about to. All calls reject with SwarmError. */
export interface Container {
  readonly id: string;
  /** Of its first process, in the agent's pid namespace. */
  readonly pid: number;
  /** Runs the program. Rejects with what exec said ("no such command", "no such user") and the container is gone. */
  start(signal: AbortSignal): Promise<void>;
  /** Sends a signal to the first process; an ended one is not an error. */
  kill(signalNumber: number, signal: AbortSignal): Promise<void>;
  pause(signal: AbortSignal): Promise<void>;
  unpause(signal: AbortSignal): Promise<void>;
  /** Settles when it has ended. Rejects with "Unavailable" when shim and exit record are both gone: the container is lost. */
  wait(signal: AbortSignal): Promise<ExitRecord>;
  exec(options: ExecOptions, signal: AbortSignal): Promise<Session>;
  /** Live output from now on, and stdin when the spec asked for it. */
  attach(options: { readonly stdin: boolean }, signal: AbortSignal): Promise<Session>;
  stats(): Promise<ContainerStats>;
  /** Kills what is left by its cgroup, ends the shim, removes cgroup and socket. The folder is the caller's. Idempotent. */
  remove(signal: AbortSignal): Promise<void>;
  /** Lets go of the connection; the container runs on. */
  close(): void;
}

export interface ExecOptions {
  readonly args: readonly string[];
  /** KEY=VALUE; added to the container's own. */
  readonly env: readonly string[];
  /** Empty: the container's. */
  readonly cwd: string;
  /** Empty: the container's. */
  readonly user: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly size: { readonly columns: number; readonly rows: number } | undefined;
}

/**
 * Streams of an exec or an attach. Read both. An exec's command waits for a slow reader as it would at a pipe; a container
 * never does: an attach that leaves more than 1 MiB unread is cut off, its streams end and wait() rejects "Unavailable".
 */
export interface Session {
  readonly stdout: NodeJS.ReadableStream;
  /** Empty with a tty. */
  readonly stderr: NodeJS.ReadableStream;
  /** Resolves when the bytes were taken by the shim. */
  write(data: Uint8Array): Promise<void>;
  endInput(): void;
  resize(size: { readonly columns: number; readonly rows: number }): void;
  /** Sends a signal to the command of an exec (to the container, for an attach); an ended one is not an error. */
  kill(signalNumber: number): void;
  /** Exit code of an exec (of the container, for an attach). */
  wait(): Promise<number>;
  /** Lets go. The command of an exec that still runs gets SIGHUP, as when a terminal goes away. */
  close(): void;
}

export interface ContainerStats {
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly cpuNs: number;
  readonly pids: number;
}

/** The doors of native/index.ts that make containers. */
export interface ContainerRuntime {
  /** Made and waiting at the barrier: namespaces exist (plumb the network now), the program does not run yet. */
  create(options: ContainerOptions, signal: AbortSignal): Promise<Container>;
  /** Finds a container made earlier by its folder, after a restart of the agent. */
  adopt(options: AdoptOptions, signal: AbortSignal): Promise<Adopted>;
}

export interface AdoptOptions {
  readonly id: string;
  readonly dir: string;
  readonly runDir: string;
  readonly cgroupParent: string;
}

export type Adopted =
  | { readonly kind: "created"; readonly container: Container }
  | { readonly kind: "running"; readonly container: Container }
  | { readonly kind: "exited"; readonly exit: ExitRecord }
  /** No shim answers and no exit record exists. */
  | { readonly kind: "lost" };
