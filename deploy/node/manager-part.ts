// The manager of this node while it is one: the part that manages and the listener for other nodes, opened and closed together.
// When this node is a manager is membership.ts's; the code of a manager is loaded here first, so that workers stay small.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { NodeIdentity } from "../../agent/index.ts";
import type { GroupManager, GroupManagerOptions, GroupManagers } from "../../manager/index.ts";
import { Group } from "../../proto/base/group.ts";
import { tlsChannel } from "../../proto/rpc/channel.ts";
import { RpcServer } from "../../proto/rpc/serve.ts";
import { callerOf } from "../../proto/rpc/tls-caller.ts";
import { clientCredentials, serverCredentials } from "../../proto/rpc/tls.ts";
import type { NodeAddresses } from "./config.ts";
import type { Surroundings } from "./machine.ts";

export interface ManagerPartOptions extends Surroundings {
  readonly identity: NodeIdentity;
  readonly addresses: NodeAddresses;
}

/** Time for calls to end by themselves when the listener closes. */
const CLOSE_GRACE_MS = 500;

/** Longest wait for another manager to lead before this one closes; an election takes about as long. */
const HAND_OVER_MS = 2_000;

export class ManagerPart {
  readonly manager: GroupManager;
  readonly #server: RpcServer;
  readonly #group: Group = new Group(new AbortController().signal);
  readonly #forget: () => void;

  private constructor(manager: GroupManager, listener: Listener) {
    this.manager = manager;
    this.#server = listener.server;
    const unsubscribe = listener.identity.onChange(() => manager.identityChanged());
    this.#forget = () => {
      unsubscribe();
      listener.forget();
    };
  }

  /** Opens the listener for a manager that is open. On failure the manager is closed. */
  static async over(options: ManagerPartOptions, manager: GroupManager): Promise<ManagerPart> {
    const listener = createListener(options);
    try {
      manager.register(listener.server);
      await listener.listen();
      return new ManagerPart(manager, listener);
    } catch (error) {
      listener.forget();
      await manager.close();
      throw error;
    }
  }

  /** Becomes a member of the group that the managers at host:port form; they try this node's listener first. */
  static async join(
    options: ManagerPartOptions,
    contacts: readonly string[],
    signal: AbortSignal,
  ): Promise<ManagerPart> {
    const managers = await loadManagers();
    const listener = createListener(options);
    try {
      await listener.listen();
      const { clusterId, nodeId } = options.identity.facts;
      const manager = await managers.join(
        managerOptions(options, () => options.identity),
        { nodeId, clusterId, managers: contacts },
        signal,
      );
      manager.register(listener.server);
      return new ManagerPart(manager, listener);
    } catch (error) {
      listener.forget();
      await listener.server.close(0);
      throw error;
    }
  }

  /** Manages from now on. `onFailure` hears of a failure that the daemon cannot go on after. */
  run(onFailure: (error: unknown) => void): void {
    this.#group.spawn((signal) => this.manager.run(signal));
    this.#group.join().catch(onFailure);
  }

  /** Ends calls and loops, and lets the log go. Another manager leads first, where one can. */
  async close(): Promise<void> {
    await this.manager.handOver(AbortSignal.timeout(HAND_OVER_MS));
    this.#group.stop();
    this.#forget();
    await this.#server.close(CLOSE_GRACE_MS);
    // A failure was told when it happened.
    await this.#group.join().catch(() => undefined);
    await this.manager.close();
  }
}

/** The manager's code, where there is a manager. */
export async function loadManagers(): Promise<GroupManagers> {
  const { Manager } = await import("../../manager/index.ts");
  return Manager;
}

/** `identity` is asked at each connection: it may not be there yet, and is renewed. */
export function managerOptions(
  options: Surroundings & { readonly addresses: NodeAddresses },
  identity: () => NodeIdentity,
): GroupManagerOptions {
  const { addresses, clock, logger, random } = options;
  return {
    stateDir: options.options.stateDir,
    advertiseAddr: addresses.advertiseAddr,
    dial: (addr) => tlsChannel(addr, clientCredentials(identity().tls)),
    clock,
    random,
    logger: logger.child("manager"),
  };
}

/** Nothing of a manager is left in the state folder. Its log must be closed. */
export async function forgetManager(stateDir: string): Promise<void> {
  await rm(join(stateDir, "manager"), { recursive: true, force: true });
}

interface Listener {
  readonly server: RpcServer;
  readonly identity: NodeIdentity;
  listen(): Promise<void>;
  /** Renewals concern it no more. */
  forget(): void;
}

function createListener({ addresses, identity, logger }: ManagerPartOptions): Listener {
  const credentials = serverCredentials(() => identity.tls);
  const forget = identity.onChange(() => credentials.reload());
  const server = new RpcServer({ logger: logger.child("rpc"), callerOf });
  const listen = async (): Promise<void> => {
    await server.listenTls(addresses.listenAddr, credentials);
    logger.info("listening for nodes", { addr: addresses.listenAddr });
  };
  return { server, identity, listen, forget };
}
