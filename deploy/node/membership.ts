// A node's life in one cluster: its identity, its agent, and on managers the manager and the listener for other nodes. Opened
// when the node joins or the daemon starts as a member; closed when it leaves or the daemon stops.

import { join } from "node:path";
import { Agent, type NodeIdentity, renewingIssuer } from "../../agent/index.ts";
import type { ClusterControl, Manager } from "../../manager/index.ts";
import { Group } from "../../proto/base/group.ts";
import { DispatcherService } from "../../proto/gen/dispatcher.ts";
import { createClient } from "../../proto/rpc/call.ts";
import { tlsChannel } from "../../proto/rpc/channel.ts";
import { RpcServer } from "../../proto/rpc/serve.ts";
import { callerOf } from "../../proto/rpc/tls-caller.ts";
import { clientCredentials, serverCredentials } from "../../proto/rpc/tls.ts";
import type { NodeAddresses } from "./config.ts";
import type { Machine, Surroundings } from "./machine.ts";

export interface MembershipOptions extends Surroundings {
  readonly machine: Machine;
  readonly identity: NodeIdentity;
  readonly addresses: NodeAddresses;
  /** Open on the node that is a manager. */
  readonly manager: Manager | undefined;
  /** The daemon cannot go on: a part of it has failed. */
  readonly onFailure: (error: unknown) => void;
}

/** Time for calls to end by themselves when the listener closes. */
const CLOSE_GRACE_MS = 500;

export class Membership {
  readonly identity: NodeIdentity;
  readonly addresses: NodeAddresses;
  readonly agent: Agent;
  readonly #options: MembershipOptions;
  readonly #group: Group;
  readonly #server: RpcServer | undefined;

  private constructor(
    options: MembershipOptions,
    parts: { readonly agent: Agent; readonly server: RpcServer | undefined },
  ) {
    this.#options = options;
    this.identity = options.identity;
    this.addresses = options.addresses;
    this.agent = parts.agent;
    this.#server = parts.server;
    this.#group = new Group(new AbortController().signal);
  }

  /** Starts everything. The agent's own tasks run on whether or not a manager answers. */
  static async open(options: MembershipOptions, signal: AbortSignal): Promise<Membership> {
    const { addresses, clock, identity, logger, machine, manager, random } = options;
    await machine.network.start(signal);
    const server = manager === undefined ? undefined : await listen(options, manager);
    const agent = new Agent({
      dir: join(options.options.stateDir, "agent"),
      managers: manager === undefined ? identity.managers : [addresses.advertiseAddr],
      dial: (address) => {
        const channel = tlsChannel(address, clientCredentials(identity.tls));
        return { client: createClient(DispatcherService, channel), close: () => channel.close() };
      },
      executor: machine.executor,
      clock,
      random,
      logger: logger.child("agent"),
    });
    const membership = new Membership(options, { agent, server });
    membership.#run();
    return membership;
  }

  get control(): ClusterControl | undefined {
    return this.#options.manager?.control;
  }

  /** Ends calls, sessions and loops; containers run on. */
  async close(): Promise<void> {
    this.#group.stop();
    await this.#server?.close(CLOSE_GRACE_MS);
    await this.#group.join();
    await this.#options.manager?.close();
  }

  #run(): void {
    const { identity, manager } = this.#options;
    if (manager !== undefined) this.#group.spawn((signal) => manager.run(signal));
    this.#group.spawn((signal) => this.agent.run(signal));
    const issuer = renewingIssuer(() => identity, {
      addresses: () => (manager === undefined ? this.agent.managers : [this.addresses.advertiseAddr]),
      dial: tlsChannel,
    });
    this.#group.spawn((signal) => identity.run(issuer, signal));
    this.#group.join().catch((error: unknown) => this.#options.onFailure(error));
  }
}

async function listen(options: MembershipOptions, manager: Manager): Promise<RpcServer> {
  const { addresses, identity, logger } = options;
  const credentials = serverCredentials(() => identity.tls);
  identity.onChange(() => credentials.reload());
  const server = new RpcServer({ logger: logger.child("rpc"), callerOf });
  manager.register(server);
  await server.listenTls(addresses.listenAddr, credentials);
  logger.info("listening for nodes", { addr: addresses.listenAddr });
  return server;
}
