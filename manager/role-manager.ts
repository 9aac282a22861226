// The leader's work on roles: whatever role-actions.ts finds is done, one after another, and looked at again. It changes the group
// and the store; it decides nothing.

import { AssertionError, never } from "../proto/base/assert.ts";
import { Backoff } from "../proto/base/backoff.ts";
import type { Clock } from "../proto/base/clock.ts";
import { errorText } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import { Notice } from "../proto/base/notice.ts";
import type { Random } from "../proto/base/random.ts";
import { ManagerStatus_Reachability } from "../proto/gen/objects.ts";
import { NodeRole } from "../proto/gen/specs.ts";
import type { WholeNode } from "../proto/model/objects.ts";
import type { GroupLog } from "./group-log.ts";
import { type RoleAction, roleAction, roleActions } from "./role-actions.ts";
import type { Store } from "./store/store.ts";

export interface RoleManagerOptions {
  readonly store: Store;
  readonly log: GroupLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Nodes that are joining at this moment. */
  readonly joining: ReadonlySet<string>;
}

/** How often a learner is looked at: nobody tells when it has caught up. */
const LOOK_MS = 100;
const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 5_000;

export class RoleManager {
  readonly #options: RoleManagerOptions;
  readonly #wake: Notice = new Notice();

  constructor(options: RoleManagerOptions) {
    this.#options = options;
  }

  /** Works until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, random, store } = this.#options;
    const backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    const wake = (): void => this.#wake.raise();
    const unsubscribe = [
      log.subscribe(wake),
      store.subscribe(({ events }) => {
        if (events.some((event) => event.kind === "node")) wake();
      }),
    ];
    try {
      while (!signal.aborted) {
        const actions = this.#actions();
        if (actions.length === 0) {
          await this.#idle(this.#hasLearners() ? LOOK_MS : undefined, signal);
          continue;
        }
        if (await this.#actAll(actions, signal)) backoff.reset();
        else await this.#idle(backoff.nextMs(), signal);
      }
    } finally {
      for (const end of unsubscribe) end();
    }
  }

  #actions(): readonly RoleAction[] {
    const { joining, log, store } = this.#options;
    return roleActions({ nodes: store.view().nodes.all(), members: log.members(), joining });
  }

  #hasLearners(): boolean {
    return this.#options.log.members().some((member) => member.isLearner);
  }

  /** False when something is to be tried again. */
  async #actAll(actions: readonly RoleAction[], signal: AbortSignal): Promise<boolean> {
    try {
      for (const action of actions) await this.#act(action, signal);
      return true;
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      if (!signal.aborted)
        this.#options.logger.warn("a role cannot be changed yet; trying again", { error: errorText(error) });
      return false;
    }
  }

  async #act(action: RoleAction, signal: AbortSignal): Promise<void> {
    const { log, logger } = this.#options;
    const { nodeId } = action;
    switch (action.kind) {
      case "makeManager":
        await this.#write(action, (node) => ({ ...node, role: NodeRole.MANAGER }));
        logger.info("a node becomes a manager", { node: nodeId });
        return;
      case "promote":
        await log.promote(action.raftId, signal);
        logger.info("a manager has caught up and counts for the quorum", { node: nodeId });
        return;
      case "noteAddress":
        // Leader and reachability are of a moment, and shown as they are when somebody asks.
        await this.#write(action, (node) => ({
          ...node,
          managerStatus: { addr: action.addr, leader: false, reachability: ManagerStatus_Reachability.UNKNOWN },
        }));
        return;
      case "handOver":
        logger.info("this manager is to become a worker and hands leadership over");
        await log.transferLeadership(undefined, signal);
        return;
      case "removeMember":
        await log.removeMember(action.raftId, signal);
        logger.info("a manager was taken out of the group", { node: nodeId });
        return;
      case "makeWorker":
        await this.#write(action, (node) => ({
          ...node,
          spec: { ...node.spec, role: NodeRole.WORKER },
          role: NodeRole.WORKER,
          managerStatus: undefined,
        }));
        logger.info("a manager becomes a worker", { node: nodeId, lost: action.lost });
        return;
      default:
        never(action);
    }
  }

  /** Changes the node as it is by then, if that is still what it needs. */
  async #write(action: RoleAction, change: (node: WholeNode) => WholeNode): Promise<void> {
    const { joining, log, store } = this.#options;
    const { kind, nodeId } = action;
    await store.update((tx) => {
      const node = tx.nodes.get(nodeId);
      if (node === undefined || joining.has(nodeId)) return;
      const member = log.members().find((each) => each.nodeId === nodeId);
      if (roleAction(node, member)?.kind === kind) tx.nodes.update(change(node));
    });
  }

  /** Settles when something changed, after `ms`, or when the signal aborts. */
  async #idle(ms: number | undefined, signal: AbortSignal): Promise<void> {
    const cancel = ms === undefined ? undefined : this.#options.clock.after(ms, () => this.#wake.raise());
    try {
      await this.#wake.wait(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      cancel?.();
    }
  }
}
