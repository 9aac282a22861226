// Which nodes are there: beats keep a node ready, silence makes it down, and after a day its tasks are given up. When a manager
// begins, nobody has been heard yet: what was ready is unknown, with twice the time to come back.

import type { Clock } from "../../proto/base/clock.ts";
import { aborted } from "../../proto/base/abort.ts";
import { errorText } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { Store } from "../store/store.ts";
import type { BatchWriter, Write } from "./batch-writer.ts";
import { Heartbeats } from "./heartbeats.ts";
import { nodeState, taskOrphaned } from "./node-writes.ts";

/** How long the tasks of a node that is down may still come back. */
const ORPHANED_AFTER_MS = 86_400_000;

export interface NodeLifeOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly writer: BatchWriter;
  /** Has the node a session at this moment? */
  readonly isHere: (nodeId: string) => boolean;
  /** Before the node is written down as down. */
  readonly onSilence: (nodeId: string) => void;
}

export class NodeLife {
  readonly #options: NodeLifeOptions;
  readonly #heartbeats: Heartbeats;
  /** By node that is down: cancels giving up its tasks. */
  readonly #givingUp = new Map<string, () => void>();
  /** Nodes that were unknown at the start and have not been heard since. */
  readonly #unknown = new Set<string>();

  constructor(options: NodeLifeOptions) {
    const { clock, random, store } = options;
    this.#options = options;
    this.#heartbeats = new Heartbeats({
      clock,
      random,
      periodMs: () => heartbeatPeriod(store),
      onSilence: (nodeId) => this.#silent(nodeId),
    });
  }

  /** The node was heard; answers when it is to beat again (ms). */
  beat(nodeId: string): number {
    this.#unknown.delete(nodeId);
    this.#givingUp.get(nodeId)?.();
    this.#givingUp.delete(nodeId);
    return this.#heartbeats.beat(nodeId);
  }

  /** The node's object is gone: nobody reports on its tasks any more. */
  removed(nodeId: string): void {
    this.#heartbeats.forget(nodeId);
    this.#givingUp.get(nodeId)?.();
    this.#givingUp.delete(nodeId);
    this.#giveUp(nodeId, `node ${nodeId} was removed from the cluster`);
  }

  /** Takes stock, then keeps time until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      this.#takeStock();
      await aborted(signal);
    } finally {
      this.#heartbeats.close();
      for (const cancel of this.#givingUp.values()) cancel();
      this.#givingUp.clear();
    }
  }

  #takeStock(): void {
    const { store, isHere } = this.#options;
    const view = store.view();
    const writes: Write[] = [];
    for (const { id, status } of view.nodes.all()) {
      if (isHere(id)) continue;
      if (status.state === NodeStatus_State.DOWN) {
        this.#scheduleGivingUp(id);
        continue;
      }
      this.#unknown.add(id);
      this.#heartbeats.beat(id, DEFAULTS.heartbeatGrace * 2);
      const message = 'Node moved to "unknown" state because a manager began';
      writes.push(nodeState(id, { state: NodeStatus_State.UNKNOWN, message, stale: () => isHere(id) }));
    }
    this.#write(writes, "nodes cannot be written down as unknown");
    const homeless = new Set([...view.tasks.all()].map((task) => task.nodeId).filter((id) => id !== ""));
    for (const nodeId of homeless)
      if (view.nodes.get(nodeId) === undefined) this.#giveUp(nodeId, `node ${nodeId} was removed from the cluster`);
  }

  #silent(nodeId: string): void {
    const { logger, onSilence, isHere } = this.#options;
    onSilence(nodeId);
    const message = this.#unknown.delete(nodeId)
      ? 'heartbeat failure for node in "unknown" state'
      : "heartbeat failure";
    logger.warn("node is down", { node: nodeId, reason: message });
    this.#scheduleGivingUp(nodeId);
    const down = { state: NodeStatus_State.DOWN, message, stale: () => isHere(nodeId) };
    this.#options.writer.write([nodeState(nodeId, down)]).catch((error: unknown) => {
      logger.warn("a node cannot be written down as down; trying again", { node: nodeId, error: errorText(error) });
      if (!isHere(nodeId)) this.#heartbeats.beat(nodeId);
    });
  }

  #scheduleGivingUp(nodeId: string): void {
    const cancel = this.#options.clock.after(ORPHANED_AFTER_MS, () => {
      this.#givingUp.delete(nodeId);
      this.#giveUp(nodeId, `node ${nodeId} has been down for a day`);
    });
    this.#givingUp.get(nodeId)?.();
    this.#givingUp.set(nodeId, cancel);
  }

  #giveUp(nodeId: string, message: string): void {
    const nowMs = this.#options.clock.now();
    const tasks = [...this.#options.store.view().tasks.byNode(nodeId)];
    this.#write(
      tasks.map((task) => taskOrphaned(task.id, { nowMs, message })),
      "tasks cannot be given up",
    );
  }

  /** A failure here is made good at the manager's next start: it is said and no more. */
  #write(writes: readonly Write[], trouble: string): void {
    this.#options.writer.write(writes).catch((error: unknown) => {
      this.#options.logger.warn(trouble, { error: errorText(error) });
    });
  }
}

function heartbeatPeriod(store: Store): number {
  const [cluster] = store.view().clusters.all();
  return cluster?.spec.heartbeatPeriodMs ?? DEFAULTS.heartbeatPeriodMs;
}
