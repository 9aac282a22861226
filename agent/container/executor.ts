// Runs tasks as containers of this machine. The worker asks it for a controller per task and to clear away what belongs to
// none; the image store asks it which images are in use.

import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { removeTree } from "../../native/index.ts";
import { withDeadline } from "../../proto/base/abort.ts";
import { errorText } from "../../proto/base/errors.ts";
import { Slots } from "../../proto/base/slots.ts";
import type { NodeDescription } from "../../proto/gen/objects.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import type { Controller, Executor } from "../exec/executor.ts";
import { findContainer } from "./adopt.ts";
import { ContainerController } from "./controller.ts";
import type { ContainerParts } from "./parts.ts";
import { containerIdOf } from "./record.ts";

/** Containers made at once: more would only wait for each other's disk and processors. */
const MAKING_MAX = 16;
/** Longest a leftover container may take to be gone. */
const REMOVE_MS_MAX = 30_000;

export interface ContainerExecutorOptions extends ContainerParts {
  /** What this machine is and has (agent/describe.ts). */
  readonly describe: () => Promise<NodeDescription>;
}

export class ContainerExecutor implements Executor {
  readonly #options: ContainerExecutorOptions;
  readonly #controllers = new Set<ContainerController>();
  readonly #making = new Slots(MAKING_MAX);

  constructor(options: ContainerExecutorOptions) {
    this.#options = options;
  }

  describe(): Promise<NodeDescription> {
    return this.#options.describe();
  }

  async controller(task: WholeTask, signal: AbortSignal): Promise<Controller> {
    const found = await findContainer(this.#options, containerIdOf(task.id), signal);
    const onClose = (closed: ContainerController): void => void this.#controllers.delete(closed);
    const controller = new ContainerController({ parts: this.#options, task, ...found, making: this.#making, onClose });
    this.#controllers.add(controller);
    return controller;
  }

  /** Image ids ("sha256:<hex>") and how many containers that have not ended use each. */
  imagesInUse(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { imageId } of this.#controllers) {
      if (imageId !== undefined) counts.set(imageId, (counts.get(imageId) ?? 0) + 1);
    }
    return counts;
  }

  async sweep(known: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const { dir, network } = this.#options;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const wanted = new Set([...known].map(containerIdOf));
    for (const id of await readdir(dir)) {
      if (wanted.has(id)) continue;
      try {
        await this.#removeLeftover(id, signal);
        this.#options.logger.info("cleared away a container that belongs to no task", { container: id });
      } catch (error) {
        signal.throwIfAborted();
        wanted.add(id);
        this.#options.logger.error("cannot clear away a container that belongs to no task", {
          container: id,
          error: errorText(error),
        });
      }
    }
    await network.reconcile(wanted, signal);
  }

  async #removeLeftover(id: string, parent: AbortSignal): Promise<void> {
    const { clock, dir, network } = this.#options;
    await withDeadline({ clock, ms: REMOVE_MS_MAX, what: "the clean-up of a container", parent }, async (signal) => {
      const { existing } = await findContainer(this.#options, id, signal);
      if ("container" in existing) await existing.container?.remove(signal);
      await network.detach(id, signal);
    });
    await removeTree(join(dir, id));
  }
}
