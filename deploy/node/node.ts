// This machine as a node: alone, or a member of one cluster. The local socket's calls end here.

import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { type IssuedIdentity, NodeIdentity, createImageDoor, joinCluster } from "../../agent/index.ts";
import type {
  Bootstrapped,
  ClusterControl,
  GroupManager,
  GroupManagerOptions,
  GroupManagers,
} from "../../manager/index.ts";
import { withDeadline } from "../../proto/base/abort.ts";
import { assert } from "../../proto/base/assert.ts";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import type {
  InfoResponse,
  RestoreHeader,
  RestoreResponse,
  SwarmInitRequest,
  SwarmInitResponse,
  SwarmJoinRequest,
  SwarmJoinResponse,
} from "../../proto/gen/local.ts";
import { NodeRole, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { newId } from "../../proto/model/ids.ts";
import { tlsChannel } from "../../proto/rpc/channel.ts";
import { chooseAdvertiseAddr, joinHostPort, splitHostPort } from "./addresses.ts";
import { type NodeAddresses, forgetCluster, readAddresses, writeAddresses } from "./config.ts";
import { notManager } from "./door.ts";
import { giveUpManager } from "./give-up-manager.ts";
import { nodeInfo } from "./info.ts";
import { leaveWarning } from "./leave-warning.ts";
import type { Machine, Surroundings } from "./machine.ts";
import { ManagerPart, loadManagers, managerOptions } from "./manager-part.ts";
import { Membership } from "./membership.ts";

export interface SwarmNodeOptions extends Surroundings {
  readonly machine: Machine;
  /** A part that must run has failed: the daemon ends and is started again. */
  readonly onFailure: (error: unknown) => void;
}

/** How long `swarm join` waits for the first session; the join itself is done by then. */
const FIRST_SESSION_MS = 10_000;
const POLL_MS = 20;
/** For the tasks of a node that leaves to stop. */
const LEAVE_MS = 60_000;
/** For the other managers to let a manager go. */
const LEAVE_GROUP_MS = 15_000;

export class SwarmNode {
  readonly imageDoor: ReturnType<typeof createImageDoor>;
  readonly #options: SwarmNodeOptions;
  #membership: Membership | undefined;
  #busy = false;

  constructor(options: SwarmNodeOptions) {
    this.#options = options;
    this.imageDoor = createImageDoor(options.machine.images);
  }

  /** Goes on as the member that the state folder says this node is. */
  async start(signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const identity = await NodeIdentity.load(this.#identityOptions());
    if (identity === undefined) {
      logger.info("this node is in no cluster; `tsswarm swarm init` or `tsswarm swarm join` changes that");
      return;
    }
    const addresses = (await readAddresses(this.#nodeDir)) ?? this.#addresses({ listenAddr: "", advertiseAddr: "" });
    const { nodeId, role } = identity.facts;
    logger.info("this node is a member of a cluster", { node: nodeId, role });
    let part: ManagerPart | undefined;
    if (role === "manager") {
      const managers = await loadManagers();
      const options = { ...this.#options, addresses };
      const manager = await managers.open(
        managerOptions(options, () => identity),
        signal,
      );
      // One that crashed while it joined has no log yet, and goes on joining.
      if (manager !== undefined) part = await ManagerPart.over({ ...options, identity }, manager);
    }
    await this.#open(identity, { addresses, part }, signal);
  }

  /** Stops; containers run on. */
  async close(): Promise<void> {
    await this.#membership?.close();
    this.#membership = undefined;
  }

  /** Throws FailedPrecondition on a node that is no manager. */
  control(): ClusterControl {
    return this.manager().control;
  }

  /** Throws FailedPrecondition on a node that is no manager. */
  manager(): GroupManager {
    const manager = this.#membership?.manager;
    if (manager === undefined) throw notManager(this.#membership !== undefined);
    return manager;
  }

  init(request: SwarmInitRequest, signal: AbortSignal): Promise<SwarmInitResponse> {
    return this.#alone(async () => {
      if (request.forceNewCluster) return this.#forceNewCluster(request, signal);
      this.#mustBeOutside();
      const addresses = this.#addresses(request);
      const { spec, availability } = request;
      const nodeId = newId(this.#options.random);
      const made = await this.#found(addresses, signal, (managers, options, csrPem) =>
        managers.create(
          options,
          { nodeId, spec, availability, csrPem, advertiseAddr: addresses.advertiseAddr },
          signal,
        ),
      );
      const { clusterId, joinTokenWorker } = made;
      return { nodeId, clusterId, joinTokenWorker, addr: addresses.advertiseAddr };
    });
  }

  /** Makes this machine the one manager of a cluster with the state of a backup. */
  restore(
    request: { readonly header: RestoreHeader; readonly backup: AsyncIterable<Uint8Array> },
    signal: AbortSignal,
  ): Promise<RestoreResponse> {
    return this.#alone(async () => {
      this.#mustBeOutside();
      const { backup, header } = request;
      const addresses = this.#addresses(header);
      const nodeId = newId(this.#options.random);
      const availability = NodeSpec_Availability.ACTIVE;
      const { clusterId } = await this.#found(addresses, signal, (managers, options, csrPem) =>
        managers.restore(options, { backup, nodeId, availability, csrPem }, signal),
      );
      return { nodeId, clusterId, addr: addresses.advertiseAddr };
    });
  }

  join(request: SwarmJoinRequest, signal: AbortSignal): Promise<SwarmJoinResponse> {
    return this.#alone(async () => {
      this.#mustBeOutside();
      const addresses = this.#addresses(request);
      const { remoteAddrs: remotes, token, availability } = request;
      try {
        await writeAddresses(this.#nodeDir, addresses);
        const identity = await joinCluster(
          { ...this.#identityOptions(), remotes, token, availability, dial: tlsChannel },
          signal,
        );
        const { nodeId, role } = identity.facts;
        const part = role === "manager" ? await this.#joinGroup(identity, { addresses, remotes }, signal) : undefined;
        const membership = await this.#open(identity, { addresses, part }, signal);
        await this.#untilSession(membership, signal);
        return { nodeId, role: role === "manager" ? NodeRole.MANAGER : NodeRole.WORKER };
      } catch (error) {
        await this.#undo();
        throw error;
      }
    });
  }

  /** Stops this node's tasks and forgets the cluster. */
  leave(request: { readonly force: boolean }, signal: AbortSignal): Promise<void> {
    return this.#alone(async () => {
      const membership = this.#membership;
      const { machine, options, logger } = this.#options;
      if (membership === undefined && !existsSync(join(options.stateDir, "node"))) {
        throw new SwarmError("FailedPrecondition", "This node is not part of a swarm");
      }
      const manager = membership?.manager;
      if (manager !== undefined) {
        if (!request.force) throw new SwarmError("FailedPrecondition", leaveWarning(manager.status()));
        await this.#leaveGroup(manager, signal);
      }
      const until = AbortSignal.any([signal, AbortSignal.timeout(LEAVE_MS)]);
      await membership?.agent.leave(until).catch((error: unknown) => {
        if (!request.force) throw error;
        logger.error("not every task could be stopped", { error: errorText(error) });
      });
      await this.close();
      await machine.network.stop({ remove: true }, until);
      await forgetCluster(options.stateDir);
      logger.info("this node has left its cluster");
    });
  }

  info(): Promise<InfoResponse> {
    const { clock, machine, options } = this.#options;
    return nodeInfo({ machine, clock, stateDir: options.stateDir, membership: this.#membership });
  }

  /** A new group with this node as its one manager: what `begin` makes, this node's certificate with it. */
  async #found(
    addresses: NodeAddresses,
    signal: AbortSignal,
    begin: (
      managers: GroupManagers,
      options: GroupManagerOptions,
      csrPem: string,
    ) => Promise<{ readonly manager: GroupManager; readonly made: Bootstrapped }>,
  ): Promise<Bootstrapped> {
    let identity: NodeIdentity | undefined;
    let founded: { readonly manager: GroupManager; readonly made: Bootstrapped } | undefined;
    const ownIdentity = (): NodeIdentity => {
      assert(identity !== undefined, "nobody is dialled before this node has its certificate");
      return identity;
    };
    const options = { ...this.#options, addresses };
    try {
      const managers = await loadManagers();
      const issuer = async (csrPem: string): Promise<IssuedIdentity> => {
        founded = await begin(managers, managerOptions(options, ownIdentity), csrPem);
        return { certPem: founded.made.certificatePem, caPem: founded.made.caCertificatePem };
      };
      await writeAddresses(this.#nodeDir, addresses);
      const first = { issuer, managers: [addresses.advertiseAddr] };
      identity = await NodeIdentity.create(this.#identityOptions(), first, signal);
    } catch (error) {
      await founded?.manager.close();
      await this.#undo();
      throw error;
    }
    try {
      assert(founded !== undefined, "the certificate came with the group");
      const part = await ManagerPart.over({ ...options, identity }, founded.manager);
      await this.#untilSession(await this.#open(identity, { addresses, part }, signal), signal);
      return founded.made;
    } catch (error) {
      await this.#undo();
      throw error;
    }
  }

  async #forceNewCluster(request: SwarmInitRequest, signal: AbortSignal): Promise<SwarmInitResponse> {
    const membership = this.#membership;
    if (membership?.manager === undefined) {
      throw new SwarmError(
        "FailedPrecondition",
        "--force-new-cluster makes a cluster of a manager that lost the others, and this node is no manager",
      );
    }
    const addresses = this.#addresses({
      listenAddr: request.listenAddr === "" ? membership.addresses.listenAddr : request.listenAddr,
      advertiseAddr: request.advertiseAddr === "" ? membership.addresses.advertiseAddr : request.advertiseAddr,
    });
    await writeAddresses(this.#nodeDir, addresses);
    await membership.forceNewCluster(addresses, signal);
    await this.#untilSession(membership, signal);
    const caller = { kind: "local" } as const;
    const cluster = await this.manager().control.getCluster({}, { caller, signal });
    const { clusterId, nodeId } = membership.identity.facts;
    const joinTokenWorker = cluster.rootCa?.joinTokenWorker ?? "";
    return { nodeId, clusterId, joinTokenWorker, addr: addresses.advertiseAddr };
  }

  /** The node has its manager's certificate. Where the group does not take it, the cluster is told that it will be no manager. */
  async #joinGroup(
    identity: NodeIdentity,
    at: { readonly addresses: NodeAddresses; readonly remotes: readonly string[] },
    signal: AbortSignal,
  ): Promise<ManagerPart> {
    const { addresses, remotes } = at;
    try {
      return await ManagerPart.join({ ...this.#options, identity, addresses }, remotes, signal);
    } catch (error) {
      await giveUpManager(identity, remotes).catch((failure: unknown) =>
        this.#options.logger.warn("the cluster could not be told that this node gave up", {
          error: errorText(failure),
        }),
      );
      throw new SwarmError(
        isSwarmError(error) ? error.code : "Internal",
        `this node could not become a manager: ${errorText(error)}; the other managers must reach it at its --advertise-addr, and a port of a firewall may be closed`,
        { cause: error },
      );
    }
  }

  /** Takes this manager out of its group where the others can be asked, so that they do not count on it. */
  async #leaveGroup(manager: GroupManager, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    if (manager.status().members.every((member) => member.isSelf)) return;
    const bound = { clock, ms: LEAVE_GROUP_MS, what: "leaving the group of managers", parent: signal };
    try {
      await withDeadline(bound, (until) => manager.leave(until));
    } catch (error) {
      signal.throwIfAborted();
      logger.warn("this manager leaves, but the group still counts it; demote it on another manager", {
        error: errorText(error),
      });
    }
  }

  async #open(
    identity: NodeIdentity,
    parts: { readonly addresses: NodeAddresses; readonly part: ManagerPart | undefined },
    signal: AbortSignal,
  ): Promise<Membership> {
    const membership = await Membership.open({ ...this.#options, ...parts, identity }, signal);
    this.#membership = membership;
    return membership;
  }

  /** Back to where nothing was joined. */
  async #undo(): Promise<void> {
    await this.close();
    await forgetCluster(this.#options.options.stateDir);
  }

  async #untilSession(membership: Membership, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + FIRST_SESSION_MS;
    while (membership.agent.connection.kind !== "connected" && clock.monotonicMs() < deadlineMs) {
      await clock.sleep(POLL_MS, signal);
    }
  }

  #addresses(wanted: { readonly listenAddr: string; readonly advertiseAddr: string }): NodeAddresses {
    const { options } = this.#options;
    const listen = splitHostPort(wanted.listenAddr === "" ? options.listenAddr : wanted.listenAddr, {
      flag: "--listen-addr",
    });
    const advertiseAddr = chooseAdvertiseAddr({
      wanted: wanted.advertiseAddr === "" ? options.advertiseAddr : wanted.advertiseAddr,
      listenPort: listen.port,
      addresses: Object.entries(networkInterfaces()).flatMap(([interfaceName, list = []]) =>
        list
          .filter((each) => !each.internal && !each.address.startsWith("fe80:") && !interfaceName.startsWith("tsswarm"))
          .map((each) => ({ interfaceName, address: each.address })),
      ),
    });
    return { listenAddr: joinHostPort(listen), advertiseAddr };
  }

  get #nodeDir(): string {
    return join(this.#options.options.stateDir, "node");
  }

  #identityOptions(): Parameters<typeof NodeIdentity.load>[0] {
    const { clock, random, logger } = this.#options;
    return { dir: this.#nodeDir, clock, random, logger: logger.child("identity") };
  }

  #mustBeOutside(): void {
    if (this.#membership !== undefined) {
      throw new SwarmError(
        "FailedPrecondition",
        'This node is already part of a swarm. Use "tsswarm swarm leave" to leave this swarm and join another one.',
      );
    }
    if (existsSync(join(this.#options.options.stateDir, "manager"))) {
      throw new SwarmError(
        "FailedPrecondition",
        `${join(this.#options.options.stateDir, "manager")} holds the state of a cluster, but this node has no identity in it: restore the node folder, or forget the cluster with 'tsswarm swarm leave --force'`,
      );
    }
  }

  /** One of init, join and leave at a time. */
  async #alone<T>(body: () => Promise<T>): Promise<T> {
    if (this.#busy)
      throw new SwarmError("FailedPrecondition", "another init, join or leave is under way on this node; wait for it");
    this.#busy = true;
    try {
      return await body();
    } finally {
      this.#busy = false;
    }
  }
}
