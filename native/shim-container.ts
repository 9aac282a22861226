// One made container: a hold on its shim and its control group.

import { rmSync } from "node:fs";

import { abortable, withDeadline } from "../proto/base/abort.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, isSwarmError } from "../proto/base/errors.ts";
import type { Cgroup } from "./cgroup-types.ts";
import { readExitFile } from "./exit-file.ts";
import { FRAME } from "./frames.ts";
import { compileExecPlan } from "./plan.ts";
import { openSession } from "./session.ts";
import { ShimClient } from "./shim-client.ts";
import type { Container, ContainerStats, ExecOptions, ExitRecord, Session } from "./types.ts";

export interface ShimContainerOptions {
  readonly id: string;
  readonly pid: number;
  readonly clock: Clock;
  /** Gone already for one that was adopted while somebody took its group away. */
  readonly cgroup: Cgroup | undefined;
  readonly client: ShimClient;
  readonly exitPath: string;
  readonly socketPath: string;
}

/** How often a connection that broke off without an end of the container is made again. */
const RECONNECTS_MAX = 5;
const ANSWER_MS = 10_000;
const SHUTDOWN_MS = 10_000;

export class ShimContainer implements Container {
  readonly id: string;
  readonly pid: number;
  readonly #options: ShimContainerOptions;
  readonly #ended: Promise<ExitRecord>;
  #client: ShimClient;
  #paused = false;
  #released = false;

  constructor(options: ShimContainerOptions) {
    this.id = options.id;
    this.pid = options.pid;
    this.#options = options;
    this.#client = options.client;
    this.#ended = this.#watch();
    // Whoever waits gets it; nobody waiting is no failure.
    this.#ended.catch(() => undefined);
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#client.start(signal);
  }

  async kill(signalNumber: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#client.kill(signalNumber, signal);
    } catch (error) {
      // The shim left because the container ended.
      if (!isSwarmError(error, "Unavailable")) throw error;
    }
  }

  async pause(signal: AbortSignal): Promise<void> {
    await this.#cgroup().freeze(signal);
    this.#paused = true;
  }

  unpause(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#cgroup().thaw();
    this.#paused = false;
    return Promise.resolve();
  }

  wait(signal: AbortSignal): Promise<ExitRecord> {
    return abortable(this.#ended, signal);
  }

  async exec(options: ExecOptions, signal: AbortSignal): Promise<Session> {
    if (this.#paused) {
      throw new SwarmError(
        "FailedPrecondition",
        `container ${this.id} is paused; unpause it before running commands in it`,
      );
    }
    const { clock, socketPath } = this.#options;
    const open = { type: FRAME.EXEC, payload: compileExecPlan(options) };
    return withDeadline(
      { clock, ms: ANSWER_MS, what: "starting a command in the container", parent: signal },
      (bounded) => openSession({ path: socketPath, open, stdin: options.stdin || options.tty }, bounded),
    );
  }

  attach(options: { readonly stdin: boolean }, signal: AbortSignal): Promise<Session> {
    const open = { type: FRAME.ATTACH, payload: new Uint8Array() };
    return openSession({ path: this.#options.socketPath, open, stdin: options.stdin }, signal);
  }

  stats(): Promise<ContainerStats> {
    return Promise.resolve().then(() => this.#cgroup().stats());
  }

  async remove(signal: AbortSignal): Promise<void> {
    const { cgroup, clock, socketPath } = this.#options;
    this.#released = true;
    cgroup?.kill();
    await withDeadline(
      { clock, ms: SHUTDOWN_MS, what: `ending the shim of container ${this.id}`, parent: signal },
      (bounded) => this.#endShim(bounded),
    );
    await cgroup?.remove(signal);
    rmSync(socketPath, { force: true });
  }

  close(): void {
    this.#released = true;
    this.#client.close();
  }

  async #endShim(signal: AbortSignal): Promise<void> {
    let client = this.#client;
    if (client.closed) {
      try {
        client = await ShimClient.connect(this.#options.socketPath, signal);
      } catch (error) {
        if (isSwarmError(error, "Unavailable")) return;
        throw error;
      }
    }
    await client.shutdown(signal);
  }

  /** Follows the container to its end, over as many connections as it takes. */
  async #watch(): Promise<ExitRecord> {
    for (let tries = 0; tries <= RECONNECTS_MAX; tries++) {
      await this.#client.over;
      const exit = readExitFile(this.#options.exitPath);
      if (exit !== undefined) return exit;
      if (this.#released) throw new SwarmError("Cancelled", `the hold on container ${this.id} was let go`);
      try {
        this.#client = await ShimClient.connect(this.#options.socketPath, new AbortController().signal);
      } catch (error) {
        const late = readExitFile(this.#options.exitPath);
        if (late !== undefined) return late;
        if (isSwarmError(error, "Unavailable")) break;
        throw error;
      }
    }
    throw new SwarmError(
      "Unavailable",
      `container ${this.id} is lost: its shim ended without a record of how the container did`,
    );
  }

  #cgroup(): Cgroup {
    const { cgroup } = this.#options;
    if (cgroup === undefined) throw new SwarmError("NotFound", `container ${this.id} has no cgroup any more`);
    return cgroup;
  }
}
