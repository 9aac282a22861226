// This machine as a node: alone, or a member of one cluster. The local socket's calls end here.

import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { NodeIdentity, createImageDoor, joinCluster } from "../../agent/index.ts";
import type { ClusterControl, Manager } from "../../manager/index.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import {
  InfoResponse,
  InfoResponse_LocalNodeState,
  type SwarmInitRequest,
  type SwarmInitResponse,
  type SwarmJoinRequest,
  type SwarmJoinResponse,
} from "../../proto/gen/local.ts";
import { NodeRole } from "../../proto/gen/specs.ts";
import { newId } from "../../proto/model/ids.ts";
import { tlsChannel } from "../../proto/rpc/channel.ts";
import { clientCredentials } from "../../proto/rpc/tls.ts";
import { openCgroups } from "../../native/index.ts";
import { VERSION } from "../version.ts";
import { chooseAdvertiseAddr, joinHostPort, splitHostPort } from "./addresses.ts";
import { type NodeAddresses, forgetCluster, readAddresses, writeAddresses } from "./config.ts";
import { notManager } from "./door.ts";
import type { Machine, Surroundings } from "./machine.ts";
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
    if (role === "worker") {
      await this.#open(identity, { addresses, manager: undefined }, signal);
      return;
    }
    const { Manager } = await import("../../manager/index.ts");
    const manager = await Manager.open(
      this.#managerOptions(addresses, () => identity),
      signal,
    );
    if (manager === undefined)
      throw new SwarmError(
        "FailedPrecondition",
        `this node is a manager, but ${join(this.#options.options.stateDir, "manager")} holds no log; leave the cluster with 'tsswarm swarm leave --force' and join it again`,
      );
    await this.#open(identity, { addresses, manager }, signal);
  }

  /** Stops; containers run on. */
  async close(): Promise<void> {
    await this.#membership?.close();
    this.#membership = undefined;
  }

  /** Throws FailedPrecondition on a node that is no manager. */
  control(): ClusterControl {
    const control = this.#membership?.control;
    if (control === undefined) throw notManager(this.#membership !== undefined);
    return control;
  }

  init(request: SwarmInitRequest, signal: AbortSignal): Promise<SwarmInitResponse> {
    return this.#alone(async () => {
      this.#mustBeOutside();
      const addresses = this.#addresses(request);
      const nodeId = newId(this.#options.random);
      const { Manager } = await import("../../manager/index.ts");
      let identity: NodeIdentity | undefined;
      let begun: Awaited<ReturnType<typeof Manager.create>> | undefined;
      try {
        const managerOptions = this.#managerOptions(addresses, () => {
          if (identity === undefined) throw new SwarmError("Unavailable", "this node has no certificate yet");
          return identity;
        });
        const issuer = async (csrPem: string): Promise<{ certPem: string; caPem: string }> => {
          const { availability, spec } = request;
          const { advertiseAddr } = addresses;
          begun = await Manager.create(managerOptions, { nodeId, spec, availability, csrPem, advertiseAddr }, signal);
          return { certPem: begun.made.certificatePem, caPem: begun.made.caCertificatePem };
        };
        await writeAddresses(this.#nodeDir, addresses);
        identity = await NodeIdentity.create(
          this.#identityOptions(),
          { issuer, managers: [addresses.advertiseAddr] },
          signal,
        );
        const manager = begun?.manager;
        const membership = await this.#open(identity, { addresses, manager }, signal);
        await this.#untilSession(membership, signal);
        const { clusterId } = identity.facts;
        return { nodeId, clusterId, joinTokenWorker: begun?.made.joinTokenWorker ?? "", addr: addresses.advertiseAddr };
      } catch (error) {
        if (this.#membership === undefined) await begun?.manager.close();
        await this.#undo();
        throw error;
      }
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
        const membership = await this.#open(identity, { addresses, manager: undefined }, signal);
        await this.#untilSession(membership, signal);
        return { nodeId: identity.facts.nodeId, role: NodeRole.WORKER };
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
      if (membership?.control !== undefined && !request.force) {
        throw new SwarmError(
          "FailedPrecondition",
          "You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message.",
        );
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

  async info(): Promise<InfoResponse> {
    const { machine, options } = this.#options;
    const membership = this.#membership;
    const description = await machine.describe();
    const common = {
      description,
      containersRunning: membership?.agent.counts().running ?? 0,
      images: (await machine.images.list()).length,
      stateDir: options.stateDir,
      cgroupVersion: openCgroups().version,
      version: VERSION,
    };
    if (membership === undefined)
      return InfoResponse.create({ ...common, state: InfoResponse_LocalNodeState.INACTIVE });
    const { connection, managers } = membership.agent;
    const nodes = await this.#knownNodes(membership);
    const isManager = membership.control !== undefined;
    const { host } = splitHostPort(membership.addresses.advertiseAddr, { flag: "--advertise-addr" });
    return InfoResponse.create({
      ...common,
      state:
        connection.kind === "connected" || isManager
          ? InfoResponse_LocalNodeState.ACTIVE
          : InfoResponse_LocalNodeState.PENDING,
      nodeId: membership.identity.facts.nodeId,
      clusterId: membership.identity.facts.clusterId,
      nodeAddr: host,
      advertiseAddr: membership.addresses.advertiseAddr,
      isManager,
      managers,
      managerCount: nodes.filter((node) => node.managerStatus !== undefined).length,
      nodeCount: nodes.length,
      error: connection.kind === "connecting" ? connection.error : "",
    });
  }

  async #knownNodes(membership: Membership): Promise<readonly { readonly managerStatus: unknown }[]> {
    const { control } = membership;
    if (control === undefined) return [];
    const context = { caller: { kind: "local" } as const, signal: new AbortController().signal };
    return (await control.listNodes({ filters: [] }, context)).nodes;
  }

  #managerOptions(addresses: NodeAddresses, identity: () => NodeIdentity): Parameters<typeof Manager.open>[0] {
    const { clock, logger, options, random } = this.#options;
    return {
      stateDir: options.stateDir,
      advertiseAddr: addresses.advertiseAddr,
      dial: (addr) => tlsChannel(addr, clientCredentials(identity().tls)),
      clock,
      random,
      logger: logger.child("manager"),
    };
  }

  async #open(
    identity: NodeIdentity,
    parts: { readonly addresses: NodeAddresses; readonly manager: Manager | undefined },
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
