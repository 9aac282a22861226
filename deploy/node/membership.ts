// A node's life in one cluster: its identity, its agent, and the manager while its certificate is a manager's. Opened when the
// node joins or the daemon starts as a member; closed when it leaves or the daemon stops. A changed role changes nothing for tasks.

import { join } from "node:path";
import { Agent, type NodeIdentity, renewingIssuer } from "../../agent/index.ts";
import type { GroupManager } from "../../manager/index.ts";
import { AssertionError } from "../../proto/base/assert.ts";
import { childOf } from "../../proto/base/abort.ts";
import { Backoff } from "../../proto/base/backoff.ts";
import { errorText } from "../../proto/base/errors.ts";
import { Group } from "../../proto/base/group.ts";
import { Notice } from "../../proto/base/notice.ts";
import { DispatcherService } from "../../proto/gen/dispatcher.ts";
import { NodeRole } from "../../proto/gen/specs.ts";
import { createClient } from "../../proto/rpc/call.ts";
import { tlsChannel } from "../../proto/rpc/channel.ts";
import { clientCredentials } from "../../proto/rpc/tls.ts";
import type { NodeAddresses } from "./config.ts";
import type { Machine, Surroundings } from "./machine.ts";
import { ManagerPart, forgetManager, loadManagers, managerOptions } from "./manager-part.ts";

export interface MembershipOptions extends Surroundings {
  readonly machine: Machine;
  readonly identity: NodeIdentity;
  readonly addresses: NodeAddresses;
  /** Open on the node that is a manager already. */
  readonly part: ManagerPart | undefined;
  /** The daemon cannot go on: a part of it has failed. */
  readonly onFailure: (error: unknown) => void;
}

/** Between two tries to be the manager that the certificate says. */
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;

export class Membership {
  readonly identity: NodeIdentity;
  readonly agent: Agent;
  readonly #options: MembershipOptions;
  readonly #group: Group = new Group(new AbortController().signal);
  /** Raised when the certificate was renewed or the group has removed this manager. */
  readonly #news: Notice = new Notice();
  #addresses: NodeAddresses;
  #part: ManagerPart | undefined;
  /** The manager part is begun and ended by one at a time. */
  #turn: Promise<void> = Promise.resolve();
  #problem = "";

  private constructor(options: MembershipOptions) {
    const { addresses, clock, identity, logger, machine, part, random } = options;
    this.#options = options;
    this.identity = identity;
    this.#addresses = addresses;
    this.agent = new Agent({
      dir: join(options.options.stateDir, "agent"),
      managers: part === undefined ? identity.managers : [addresses.advertiseAddr, ...identity.managers],
      dial: (address) => {
        const channel = tlsChannel(address, clientCredentials(identity.tls));
        return { client: createClient(DispatcherService, channel), close: () => channel.close() };
      },
      executor: machine.executor,
      clock,
      random,
      logger: logger.child("agent"),
      onNode: (node) => identity.expectRole(node.role === NodeRole.MANAGER ? "manager" : "worker"),
    });
    if (part !== undefined) this.#take(part);
  }

  /** Starts everything. The agent's own tasks run on whether or not a manager answers. On failure the manager part is closed. */
  static async open(options: MembershipOptions, signal: AbortSignal): Promise<Membership> {
    try {
      await options.machine.network.start(signal);
    } catch (error) {
      await options.part?.close();
      throw error;
    }
    const membership = new Membership(options);
    membership.#run();
    return membership;
  }

  get addresses(): NodeAddresses {
    return this.#addresses;
  }

  /** Undefined while this node is no manager. */
  get manager(): GroupManager | undefined {
    return this.#part?.manager;
  }

  /** Why this node is not what its certificate says, as a sentence; empty when it is. */
  get problem(): string {
    return this.#problem;
  }

  /** The manager on this node becomes the only one of the cluster, with all that its log holds. */
  async forceNewCluster(addresses: NodeAddresses, signal: AbortSignal): Promise<void> {
    await this.#exclusively(async () => {
      await this.#part?.close();
      this.#part = undefined;
      this.#addresses = addresses;
      try {
        const options = { ...this.#options, addresses };
        const managers = await loadManagers();
        const manager = await managers.forceNewCluster(
          managerOptions(options, () => this.identity),
          signal,
        );
        this.#take(await ManagerPart.over(options, manager));
      } finally {
        // Where it failed, what is on disk is tried again.
        this.#news.raise();
      }
    });
  }

  /** Ends calls, sessions and loops; containers run on. */
  async close(): Promise<void> {
    this.#group.stop();
    await this.#exclusively(async () => {
      await this.#part?.close();
      this.#part = undefined;
    });
    // A failure was told when it happened.
    await this.#group.join().catch(() => undefined);
  }

  #run(): void {
    const { identity } = this;
    const issuer = renewingIssuer(() => identity, { addresses: () => this.#issuers(), dial: tlsChannel });
    const unsubscribe = identity.onChange(() => this.#news.raise());
    this.#group.signal.addEventListener("abort", unsubscribe, { once: true });
    this.#group.spawn((signal) => this.agent.run(signal));
    this.#group.spawn((signal) => identity.run(issuer, signal));
    this.#group.spawn((signal) => this.#followRole(signal));
    this.#group.join().catch((error: unknown) => this.#options.onFailure(error));
  }

  /** Where certificates are asked for: first where somebody has just answered. */
  #issuers(): readonly string[] {
    const { connection, managers } = this.agent;
    const own = this.#part === undefined ? [] : [this.#addresses.advertiseAddr];
    return [...new Set([...(connection.kind === "connected" ? [connection.manager] : []), ...own, ...managers])];
  }

  /** Begins and ends the manager part as the certificate and the group say, until the signal aborts. */
  async #followRole(signal: AbortSignal): Promise<void> {
    const { clock, logger, options, random } = this.#options;
    const backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    if (this.identity.facts.role === "worker") await forgetManager(options.stateDir);
    for (;;) {
      let retryMs: number | undefined;
      try {
        this.#problem = await this.#exclusively(() => this.#settleRole(signal));
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof AssertionError) throw error;
        this.#problem = `this node cannot be the manager that it is to be: ${errorText(error)}`;
        logger.warn("this node cannot become a manager yet; trying again", { error: errorText(error) });
      }
      if (this.#problem === "") backoff.reset();
      else retryMs = backoff.nextMs();
      const cancel = retryMs === undefined ? undefined : clock.after(retryMs, () => this.#news.raise());
      try {
        await this.#news.wait(signal);
      } finally {
        cancel?.();
      }
    }
  }

  /** Makes the manager part what it must be; answers what is not as it should be, or an empty text. */
  async #settleRole(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const { role } = this.identity.facts;
    const { logger, options } = this.#options;
    if (this.#part !== undefined) {
      const removed = this.#part.manager.removed.aborted;
      if (role === "manager" && !removed) return "";
      await this.#part.close();
      this.#part = undefined;
      await forgetManager(options.stateDir);
      logger.warn("this node is no manager any more: it was demoted or taken out of the group; its containers run on");
      if (role === "worker") return "";
      return "this node was taken out of the group of managers; it becomes a worker as soon as a manager gives it a worker's certificate";
    }
    if (role === "worker") return "";
    this.#take(await this.#becomeManager(signal));
    logger.info("this node is a manager now");
    return "";
  }

  async #becomeManager(signal: AbortSignal): Promise<ManagerPart> {
    const { identity } = this;
    const options = { ...this.#options, addresses: this.#addresses };
    const child = childOf(signal);
    const unsubscribe = identity.onChange(() => {
      if (identity.facts.role === "worker") child.abort(new Error("this node is to be a worker again"));
    });
    try {
      const managers = await loadManagers();
      const own = await managers.open(
        managerOptions(options, () => identity),
        child.signal,
      );
      if (own !== undefined) return await ManagerPart.over(options, own);
      const contacts = this.#issuers().filter((addr) => addr !== this.#addresses.advertiseAddr);
      return await ManagerPart.join(options, contacts, child.signal);
    } finally {
      unsubscribe();
      child.release();
    }
  }

  #take(part: ManagerPart): void {
    this.#part = part;
    const { removed } = part.manager;
    // A log that says so itself has said it before anybody listened.
    if (removed.aborted) this.#news.raise();
    else removed.addEventListener("abort", () => this.#news.raise(), { once: true });
    part.run((error) => this.#options.onFailure(error));
    this.agent.dialNext(this.#addresses.advertiseAddr);
  }

  async #exclusively<T>(body: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const turn = Promise.withResolvers<undefined>();
    this.#turn = turn.promise;
    await before;
    try {
      return await body();
    } finally {
      turn.resolve(undefined);
    }
  }
}
