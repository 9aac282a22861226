// One task's container, a step at a time: makes it (image, network, files, namespaces), runs it, waits, stops it, and gives
// back what it held as soon as it has ended; its folder with logs and exit record stays until the task is removed. It decides
// nothing: agent/exec/step.ts does.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Container, type ExitRecord, removeTree } from "../../native/index.ts";
import { abortable, childOf, withDeadline } from "../../proto/base/abort.ts";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { Slots } from "../../proto/base/slots.ts";
import { type ContainerStatus, ContainerStatus_Health } from "../../proto/gen/objects.ts";
import type { PortConfig } from "../../proto/gen/specs.ts";
import type { StreamFrame, StreamOpen } from "../../proto/gen/streams.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded } from "../../proto/model/task-state.ts";
import type { Controller } from "../exec/executor.ts";
import type { Existing } from "./existing.ts";
import { LOG_FILE, ROOT_PARTS } from "./files.ts";
import { type HealthRecord, writeHealth } from "./health-file.ts";
import { HealthLog } from "./health-log.ts";
import { HealthMonitor } from "./health-monitor.ts";
import { makeContainer } from "./make.ts";
import type { ContainerParts } from "./parts.ts";
import { type ContainerRecord, containerIdOf } from "./record.ts";
import { serveStream } from "./streams.ts";

const SIGKILL = 9;
/** Longest a killed container may take to be gone, and a clean-up may take. */
const CLEANUP_MS_MAX = 30_000;
/** Longest the stop of a container waits for traffic to be led elsewhere. */
const WITHDRAW_MS_MAX = 30_000;
/** The sentence of a container that nobody saw end. */
export const LOST = "the container was lost: its shim is gone and left no exit record";

export class ContainerController implements Controller {
  readonly #parts: ContainerParts;
  readonly #id: string;
  readonly #dir: string;
  #task: WholeTask;
  #existing: Existing;
  #record: ContainerRecord | undefined;
  readonly #making: Slots;
  readonly #onClose: (controller: ContainerController) => void;
  /** Undefined without a health check. */
  #health: HealthRecord | undefined;
  /** From the start on, of a container with a check. */
  #monitor: HealthMonitor | undefined;
  /** What the last checks said; empty after a restart of the daemon, until the next one. */
  readonly healthLog: HealthLog = new HealthLog();
  /** No traffic is led to it any more. */
  #withdrawn = false;
  #pid = 0;
  /** False once everything was given back. */
  #holds = true;
  /** The making failed, or all was removed. */
  #failed = false;

  constructor(options: {
    readonly parts: ContainerParts;
    readonly task: WholeTask;
    readonly existing: Existing;
    readonly record: ContainerRecord | undefined;
    readonly health: HealthRecord | undefined;
    /** Bound on containers made at once. */
    readonly making: Slots;
    readonly onClose: (controller: ContainerController) => void;
  }) {
    this.#parts = options.parts;
    this.#task = options.task;
    this.#id = containerIdOf(options.task.id);
    this.#dir = join(options.parts.dir, this.#id);
    this.#record = options.record;
    this.#existing = options.existing;
    this.#health = options.health;
    this.#making = options.making;
    this.#onClose = options.onClose;
    this.#pid = "container" in options.existing ? (options.existing.container?.pid ?? 0) : 0;
    if (options.existing.kind === "running") this.#monitor = this.#monitorOf({ adopted: true });
  }

  /** The image it keeps in use; undefined before it is made and after it has ended. */
  get imageId(): string | undefined {
    const { kind } = this.#existing;
    return kind === "half" || kind === "created" || kind === "running" ? this.#record?.imageId : undefined;
  }

  update(task: WholeTask): void {
    this.#task = task;
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const { kind } = this.#existing;
    if (kind === "created" || kind === "running" || kind === "ended") {
      throw new SwarmError("AlreadyExists", `the container of task ${this.#task.id} was made before`);
    }
    await this.#making.run(() => this.#make(signal), signal);
  }

  async start(signal: AbortSignal): Promise<void> {
    const existing = this.#existing;
    const checked = this.#health !== undefined && this.#task.status.state < TaskState.RUNNING;
    if (checked && existing.kind === "running") return this.#untilHealthy(existing.container, signal);
    if (checked && existing.kind === "ended" && existing.exit !== undefined) {
      if (this.#holds) await this.#release(existing);
      return;
    }
    if (existing.kind === "running" || existing.kind === "ended") {
      throw new SwarmError("AlreadyExists", `the container of task ${this.#task.id} was started before`);
    }
    if (existing.kind !== "created") return this.#lost();
    await this.#noteStart();
    this.#existing = { kind: "running", container: existing.container };
    try {
      await existing.container.start(signal);
    } catch (error) {
      // Broken off: it may have started, and is treated as if it had.
      if (signal.aborted) throw error;
      await this.#release({ kind: "ended", exit: undefined });
      throw notDone(error);
    }
    await this.#untilHealthy(existing.container, signal);
  }

  async wait(signal: AbortSignal): Promise<void> {
    const existing = this.#existing;
    if (existing.kind === "ended" && existing.exit !== undefined) {
      // It may have ended while no agent was there to give back what it held.
      if (this.#holds) await this.#release(existing);
      return;
    }
    if (existing.kind !== "running") return this.#lost();
    await this.#watch({ container: existing.container, until: "ended" }, signal);
  }

  async shutdown(signal: AbortSignal): Promise<void> {
    const existing = this.#existing;
    switch (existing.kind) {
      case "none":
        return;
      case "ended":
        if (this.#holds) await this.#release(existing);
        return;
      case "half":
      case "created":
      case "lost":
        await this.#release({ kind: "ended", exit: undefined });
        return;
      case "running":
        await this.#stop(existing.container, signal);
    }
  }

  async remove(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#giveBack();
    await removeTree(this.#dir);
    this.#failed = true;
    this.#existing = { kind: "none" };
    this.#record = undefined;
  }

  status(): { readonly container: ContainerStatus | undefined; readonly ports: readonly PortConfig[] } {
    if (this.#record === undefined || this.#existing.kind === "none" || this.#existing.kind === "half") {
      return { container: undefined, ports: [] };
    }
    const exit = this.#existing.kind === "ended" ? this.#existing.exit : undefined;
    const container: ContainerStatus = {
      containerId: this.#id,
      pid: this.#pid,
      signal: exit?.signal ?? 0,
      oomKilled: exit?.oomKilled ?? false,
      addresses: this.#record.addresses,
      health: this.#healthNow(),
      ...(exit === undefined ? {} : { exitCode: exit.code }),
    };
    return { container, ports: this.#record.ports };
  }

  stream(open: StreamOpen, input: AsyncIterable<StreamFrame>, signal: AbortSignal): AsyncIterable<StreamFrame> {
    const existing = this.#existing;
    return serveStream(
      {
        open,
        container: existing.kind === "running" ? existing.container : undefined,
        logPath: join(this.#dir, LOG_FILE),
        ended: () => this.#writesNoMore(),
        clock: this.#parts.clock,
      },
      input,
      signal,
    );
  }

  close(): void {
    if ("container" in this.#existing) this.#existing.container?.close();
    this.#onClose(this);
  }

  async #make(signal: AbortSignal): Promise<void> {
    if (this.#existing.kind !== "none") await this.#giveBack();
    await removeTree(this.#dir);
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    this.#holds = true;
    this.#failed = false;
    try {
      const { container, check } = await makeContainer(
        {
          parts: this.#parts,
          task: this.#task,
          id: this.#id,
          dir: this.#dir,
          onProgress: (record, made) => {
            this.#record = record;
            this.#existing = { kind: "half", container: made };
          },
        },
        signal,
      );
      this.#pid = container.pid;
      this.#health = check === undefined ? undefined : { check, startedAtMs: 0 };
      this.#existing = { kind: "created", container };
    } catch (error) {
      await this.#undo();
      throw notDone(error);
    }
  }

  #writesNoMore(): boolean {
    const { kind } = this.#existing;
    if (kind === "none") return this.#failed || isEnded(this.#task.status.state);
    return kind === "ended" || kind === "lost";
  }

  /** Waits for the end and gives back what the container held, so that its ports are free when its end is told. */
  async #ended(container: Container, signal: AbortSignal): Promise<void> {
    let exit: ExitRecord;
    try {
      exit = await container.wait(signal);
    } catch (error) {
      if (signal.aborted || !isSwarmError(error, "Unavailable")) throw error;
      await this.#release({ kind: "lost" });
      throw new SwarmError("Unavailable", LOST, { cause: error });
    }
    await this.#release({ kind: "ended", exit });
  }

  #healthNow(): ContainerStatus_Health {
    if (this.#health === undefined) return ContainerStatus_Health.NONE;
    const known = this.#task.status.container?.health ?? ContainerStatus_Health.NONE;
    return this.#monitor?.health ?? (known === ContainerStatus_Health.NONE ? ContainerStatus_Health.STARTING : known);
  }

  /** A restarted daemon counts the start period from here. */
  async #noteStart(): Promise<void> {
    if (this.#health === undefined) return;
    this.#health = { ...this.#health, startedAtMs: this.#parts.clock.now() };
    await writeHealth(this.#dir, this.#health);
    this.#monitor = this.#monitorOf({ adopted: false });
  }

  #monitorOf({ adopted }: { readonly adopted: boolean }): HealthMonitor | undefined {
    if (this.#health === undefined) return undefined;
    return new HealthMonitor({
      ...this.#health,
      clock: this.#parts.clock,
      healthy: this.#task.status.state >= TaskState.RUNNING,
      log: this.healthLog,
      phase: adopted ? Number.parseInt(this.#id.slice(0, 8), 16) / 2 ** 32 : undefined,
    });
  }

  /** Until it is healthy or has ended. At once without a check. Rejects when it is unhealthy, and then it was stopped. */
  async #untilHealthy(container: Container, signal: AbortSignal): Promise<void> {
    if (this.#monitor !== undefined) await this.#watch({ container, until: "healthy" }, signal);
  }

  /** Until it has ended, or what else is waited for. One that is unhealthy is stopped, and its end is that error. */
  async #watch(
    { container, until }: { readonly container: Container; readonly until: "healthy" | "ended" },
    signal: AbortSignal,
  ): Promise<void> {
    const monitor = this.#monitor;
    if (monitor === undefined) return this.#ended(container, signal);
    const child = childOf(signal);
    const ended = this.#ended(container, child.signal);
    const unhealthy = monitor.run(container, child.signal);
    const healthy = until === "healthy" ? [monitor.healthy(child.signal)] : [];
    try {
      await Promise.race([ended, unhealthy, ...healthy]);
    } finally {
      child.abort(new SwarmError("Cancelled", "the wait is over"));
      child.release();
      await Promise.allSettled([ended, unhealthy, ...healthy]);
    }
    if (this.#existing.kind !== "running" || monitor.health !== ContainerStatus_Health.UNHEALTHY) return;
    await this.#stop(container, signal);
    throw new SwarmError("FailedPrecondition", `task: unhealthy container: ${monitor.reason}`);
  }

  /** Out of load balancing before the stop: what is under way is answered, nothing new comes. It never keeps the stop. */
  async #quiesce(signal: AbortSignal): Promise<void> {
    if (this.#withdrawn) return;
    const { clock, logger, network } = this.#parts;
    try {
      await withDeadline({ clock, ms: WITHDRAW_MS_MAX, what: "leading traffic elsewhere", parent: signal }, (soon) =>
        abortable(network.withdraw(this.#id, soon), soon),
      );
    } catch (error) {
      signal.throwIfAborted();
      logger.warn("a container is stopped before traffic is led elsewhere", {
        task: this.#task.id,
        error: errorText(error),
      });
    }
    this.#withdrawn = true;
  }

  async #stop(container: Container, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    await this.#quiesce(signal);
    const graceMs = this.#task.spec.container.stopGraceMs ?? DEFAULTS.stopGraceMs;
    await container.kill(this.#record?.stopSignal ?? SIGKILL, signal);
    try {
      await withDeadline({ clock, ms: graceMs, what: "the stop", parent: signal }, (soon) =>
        this.#ended(container, soon),
      );
      return;
    } catch (error) {
      if (this.#existing.kind !== "running") return;
      if (signal.aborted || !isSwarmError(error, "DeadlineExceeded")) throw error;
    }
    await container.kill(SIGKILL, signal);
    const what = "the end of a killed container";
    await withDeadline({ clock, ms: CLEANUP_MS_MAX, what, parent: signal }, (soon) => this.#ended(container, soon));
  }

  /** There is less than there should be: gives back what there is. */
  async #lost(): Promise<never> {
    await this.#release({ kind: "lost" });
    throw new SwarmError("Unavailable", LOST);
  }

  /** Gives back what the container held. Its end is told even when that fails: removing the task tries again. */
  async #release(after: Existing): Promise<void> {
    try {
      await this.#giveBack();
    } catch (error) {
      this.#parts.logger.error("cannot give back all that a container held; trying again when its task is removed", {
        task: this.#task.id,
        error: errorText(error),
      });
    }
    this.#existing = after;
  }

  /** Shim and cgroup, then network, then layers: an address is free only when nothing can use it any more. Idempotent. */
  async #giveBack(): Promise<void> {
    const { clock, network } = this.#parts;
    const existing = this.#existing;
    const container = "container" in existing ? existing.container : undefined;
    // What has begun goes through even when the agent stops: bounded by its own deadline.
    await withDeadline({ clock, ms: CLEANUP_MS_MAX, what: "the clean-up of a container" }, async (signal) => {
      if (container !== undefined) await abortable(container.remove(signal), signal);
      await network.detach(this.#id, signal);
    });
    await dropLayers(this.#dir);
    this.#holds = false;
  }

  /** After a making that failed: the reason is told, and nothing half-made stays. */
  async #undo(): Promise<void> {
    this.#failed = true;
    try {
      await this.#giveBack();
      await removeTree(this.#dir);
      this.#existing = { kind: "none" };
      this.#record = undefined;
    } catch (error) {
      this.#parts.logger.error("cannot clear away a container that could not be made", {
        task: this.#task.id,
        error: errorText(error),
      });
    }
  }
}

/** "AlreadyExists" tells the worker that a step was done before: what a part means by it is something else. */
function notDone(error: unknown): unknown {
  if (!isSwarmError(error, "AlreadyExists")) return error;
  return new SwarmError("FailedPrecondition", error.message, { cause: error });
}

/** The container's own changes to its root go with it. */
async function dropLayers(dir: string): Promise<void> {
  for (const part of ROOT_PARTS) await removeTree(join(dir, part));
}
