// One manager of a group: the replicated log, the store that it fills, and the services, joined. The leader answers; the others pass
// calls on to it. It knows no socket and no process: the daemon registers it on its servers and runs it.

import { join } from "node:path";
import { Backoff } from "../proto/base/backoff.ts";
import { SwarmError, errorText } from "../proto/base/errors.ts";
import { Group } from "../proto/base/group.ts";
import { Notice } from "../proto/base/notice.ts";
import { NodeCaService } from "../proto/gen/ca.ts";
import { ControlService } from "../proto/gen/control.ts";
import { DispatcherService } from "../proto/gen/dispatcher.ts";
import { RaftMembershipService } from "../proto/gen/raft.ts";
import type { Caller } from "../proto/rpc/caller.ts";
import type { Handlers } from "../proto/rpc/methods.ts";
import type { RpcServer } from "../proto/rpc/serve.ts";
import { ACCESS } from "./access.ts";
import { checkForwarder, checkOperator } from "./admission.ts";
import type { GroupManager, GroupManagerOptions, JoinGroup, ManagerState, RestoreGroup } from "./api.ts";
import { encodeBackup } from "./backup.ts";
import { type Bootstrap, type Bootstrapped, bootstrap } from "./bootstrap.ts";
import { rootCertificate } from "./ca/serve.ts";
import type { ClusterControl } from "./control/cluster-control.ts";
import { dispatcherDoor } from "./dispatcher-door.ts";
import { draftStore, foundGroup } from "./found.ts";
import { grpcNetwork } from "./grpc-network.ts";
import { askToJoin } from "./join-group.ts";
import { leaderDoor } from "./leader-door.ts";
import { Leadership } from "./leadership.ts";
import { Leading } from "./leading.ts";
import { CONTROL_READS } from "./linear.ts";
import { memberFacts } from "./member-facts.ts";
import type { ManagerNetwork, RaftTransport } from "./network.ts";
import { type ManagerLink, Peers } from "./peers.ts";
import type { Member } from "./replication/membership.ts";
import { nodeDisk } from "./replication/node-disk.ts";
import { RaftStorage, type RaftStorageOptions } from "./replication/raft-storage.ts";
import { ReplicatedLog } from "./replication/replicated-log.ts";
import { forceNewCluster } from "./replication/replicated-log-offline.ts";
import { restoreGroup } from "./restore.ts";
import { Store } from "./store/store.ts";
import { discardLog } from "./unused-log.ts";

/** Entries of the log between two snapshots (SwarmKit's). */
const SNAPSHOT_EVERY = 10_000;
/** A changed address is told to the others again after this. */
const ANNOUNCE_FIRST_MS = 500;
const ANNOUNCE_MAX_MS = 30_000;
/** Longest wait for a manager that joins to be reached. */
const PROBE_MS = 3_000;

interface Parts {
  readonly network: ManagerNetwork;
  readonly store: Store;
  readonly log: ReplicatedLog;
  readonly raft: RaftTransport;
  readonly clusterId: string;
}

export class Manager implements GroupManager {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly control: ClusterControl;
  readonly #options: GroupManagerOptions;
  readonly #network: ManagerNetwork;
  readonly #store: Store;
  readonly #log: ReplicatedLog;
  readonly #raft: RaftTransport;
  readonly #peers: Peers;
  readonly #leadership: Leadership;
  readonly #dispatcher: Handlers<DispatcherService>;
  readonly #nodeCa: Handlers<NodeCaService>;
  readonly #membership: Handlers<RaftMembershipService>;
  readonly #removed: AbortController = new AbortController();

  private constructor(options: GroupManagerOptions, parts: Parts) {
    const { log, network, store } = parts;
    this.#options = options;
    this.#network = network;
    this.#store = store;
    this.#log = log;
    this.#raft = parts.raft;
    this.nodeId = log.self.nodeId;
    this.clusterId = parts.clusterId;
    const peers = new Peers((addr) => network.connect(addr));
    const leadership = new Leadership({ log, store, clock: options.clock });
    this.#peers = peers;
    this.#leadership = leadership;
    this.control = leaderDoor({
      service: ControlService,
      leadership,
      peers,
      local: (leading) => leading.control,
      admit: (context) => checkOperator(store.view(), context),
      repeatable: CONTROL_READS,
    });
    const nodeCa = leaderDoor({
      service: NodeCaService,
      leadership,
      peers,
      local: (leading) => leading.nodeCa,
      admit: (context) => checkForwarder(store.view(), context),
      repeatable: ["getRootCaCertificate"],
    });
    // The root never changes: any manager that has the state may show it.
    const getRootCaCertificate: typeof nodeCa.getRootCaCertificate = (request, context) => {
      const certificatePem = rootCertificate(store.view());
      return certificatePem === undefined
        ? nodeCa.getRootCaCertificate(request, context)
        : Promise.resolve({ certificatePem });
    };
    this.#nodeCa = { ...nodeCa, getRootCaCertificate };
    this.#membership = leaderDoor({
      service: RaftMembershipService,
      leadership,
      peers,
      local: (leading) => leading.membership,
      admit: (context) => checkForwarder(store.view(), context),
      repeatable: ["join", "leave"],
    });
    this.#dispatcher = dispatcherDoor({
      leadership,
      managers: () => log.members().flatMap((member) => (member.isLearner ? [] : [member.addr])),
    });
    log.subscribe(() => this.#noticeRemoval());
    this.#noticeRemoval();
  }

  /**
   * The member whose log is in the state folder, with the state that it holds; nothing runs yet. Undefined: there is no log, or one
   * that never received anything; join. Throws FailedPrecondition for a damaged log, Unavailable for a disk that cannot be written.
   */
  static async open(options: GroupManagerOptions, signal: AbortSignal): Promise<Manager | undefined> {
    const storage = await RaftStorage.open(storageOptions(options), signal);
    if (storage === undefined) return undefined;
    if (storage.lastIndex() > 0) return Manager.#over(storage, { options, contacts: [] }, signal);
    await storage.close();
    return undefined;
  }

  /**
   * `swarm init`: a cluster of one manager with its first node and that node's certificate. Throws AlreadyExists when there is
   * a log, InvalidArgument for a bad spec or signing request.
   */
  static async create(
    options: GroupManagerOptions,
    request: Bootstrap,
    signal: AbortSignal,
  ): Promise<{ readonly manager: Manager; readonly made: Bootstrapped }> {
    const { clock, random } = options;
    const draft = draftStore(clock, undefined);
    const made = await bootstrap({ store: draft, clock, random }, request);
    return { manager: await Manager.#found(options, { draft, made }, signal), made };
  }

  /** A node with a fresh manager's certificate becomes a member. Throws Unavailable when no manager took it within a minute. */
  static async join(options: GroupManagerOptions, request: JoinGroup, signal: AbortSignal): Promise<Manager> {
    const { advertiseAddr, clock, logger, random } = options;
    const { clusterId, managers, nodeId } = request;
    await discardUnused(options, signal);
    const network = networkOf(options);
    const connect = (addr: string): ManagerLink => network.connect(addr);
    const asked = { connect, managers, addr: advertiseAddr, clock, random, logger: logger.child("join") };
    const { clusterId: joined, members, raftId } = await askToJoin(asked, signal);
    if (joined !== clusterId)
      throw new SwarmError(
        "FailedPrecondition",
        `the managers ${managers.join(", ")} are of cluster ${joined}, and this node is of cluster ${clusterId}`,
      );
    const storage = await RaftStorage.create(
      storageOptions(options),
      { meta: { raftId, nodeId, clusterId }, hard: { term: 0, vote: 0, commit: 0 }, entries: [] },
      signal,
    );
    return Manager.#over(storage, { options, contacts: members.filter((member) => member.raftId !== raftId) }, signal);
  }

  /** The member in the state folder becomes the only one, with all that its log holds. Throws FailedPrecondition where there is none. */
  static async forceNewCluster(options: GroupManagerOptions, signal: AbortSignal): Promise<Manager> {
    const storage = await RaftStorage.open(storageOptions(options), signal);
    if (storage === undefined)
      throw new SwarmError(
        "FailedPrecondition",
        `${join(options.stateDir, "manager")} holds no manager's log: this node was no manager of a cluster, and cannot begin it anew`,
      );
    try {
      await forceNewCluster(storage, { self: { addr: options.advertiseAddr } });
    } catch (error) {
      await storage.close();
      throw error;
    }
    return Manager.#over(storage, { options, contacts: [] }, signal);
  }

  /** Throws InvalidArgument for what is no whole backup, AlreadyExists when the state folder holds a log. */
  static async restore(
    options: GroupManagerOptions,
    request: RestoreGroup,
    signal: AbortSignal,
  ): Promise<{ readonly manager: Manager; readonly made: Bootstrapped }> {
    const { advertiseAddr, clock, random } = options;
    const { draft, made } = await restoreGroup({ clock, random, advertiseAddr }, request);
    return { manager: await Manager.#found(options, { draft, made }, signal), made };
  }

  static async #found(
    options: GroupManagerOptions,
    founded: { readonly draft: Store; readonly made: Bootstrapped },
    signal: AbortSignal,
  ): Promise<Manager> {
    const { draft, made } = founded;
    await discardUnused(options, signal);
    const self = { nodeId: made.nodeId, addr: options.advertiseAddr };
    const storage = await foundGroup(storageOptions(options), { draft, self, clusterId: made.clusterId }, signal);
    return Manager.#over(storage, { options, contacts: [] }, signal);
  }

  static async #over(
    storage: RaftStorage,
    group: { readonly options: GroupManagerOptions; readonly contacts: readonly Member[] },
    signal: AbortSignal,
  ): Promise<Manager> {
    const { contacts, options } = group;
    const { clock, logger, random } = options;
    const network = networkOf(options);
    const store = new Store({ now: () => clock.now() });
    let raft: RaftTransport | undefined;
    try {
      const log = await ReplicatedLog.open(
        {
          storage,
          clock,
          random,
          logger: logger.child("log"),
          target: store,
          snapshot: () => store.save(),
          snapshotEvery: options.snapshotEvery ?? SNAPSHOT_EVERY,
          transport: (receiver) => {
            raft = network.raft(receiver, storage.meta);
            return raft.transport;
          },
          seeds: contacts,
        },
        signal,
      );
      store.attach(log);
      if (raft === undefined) throw new Error("the log took no transport");
      return new Manager(options, { network, store, log, raft, clusterId: storage.meta.clusterId });
    } catch (error) {
      raft?.close();
      await storage.close();
      throw error;
    }
  }

  get removed(): AbortSignal {
    return this.#removed.signal;
  }

  status(): ManagerState {
    const { leader, role } = this.#log.status();
    return {
      role,
      leader: leader === undefined ? undefined : { nodeId: leader.nodeId, addr: leader.addr },
      members: memberFacts(this.#log.members()),
    };
  }

  subscribe(listener: () => void): () => void {
    return this.#log.subscribe(listener);
  }

  register(server: Pick<RpcServer, "add">): void {
    server.add(ControlService, this.control, ACCESS.control);
    server.add(DispatcherService, this.#dispatcher, ACCESS.dispatcher);
    server.add(NodeCaService, this.#nodeCa, ACCESS.nodeCa);
    server.add(RaftMembershipService, this.#membership, ACCESS.raftMembership);
    this.#raft.register(server);
  }

  async run(signal: AbortSignal): Promise<void> {
    const group = new Group(signal);
    group.spawn((stop) => this.#log.run(stop));
    group.spawn((stop) => this.#lead(stop));
    group.spawn((stop) => this.#announce(stop));
    await group.join();
  }

  async leave(signal: AbortSignal): Promise<void> {
    await this.#membership.leave({}, { caller: this.#self, signal });
  }

  async handOver(signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const others = this.#log.members().filter((member) => !member.isSelf && !member.isLearner && member.reachable);
    if (this.#log.status().role !== "leader" || others.length === 0) return;
    const [result] = await Promise.allSettled([this.#log.transferLeadership(undefined, signal)]);
    if (result.status === "fulfilled") logger.info("another manager leads now: this one stops");
    else logger.warn("no other manager took over before the stop", { error: errorText(result.reason) });
  }

  async *backup(signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    await this.#log.readBarrier(signal);
    const header = { clusterId: this.clusterId, index: this.#store.version, createdAtMs: this.#options.clock.now() };
    yield* encodeBackup(header, this.#store.save());
  }

  identityChanged(): void {
    this.#peers.close();
    this.#raft.reconnect();
  }

  async close(): Promise<void> {
    this.#peers.close();
    this.#raft.close();
    await this.#log.close();
    this.#store.attach(undefined);
  }

  get #self(): Caller {
    const { clusterId, nodeId } = this;
    return { kind: "node", nodeId, role: "manager", clusterId, addr: this.#options.advertiseAddr };
  }

  #noticeRemoval(): void {
    if (this.#log.isRemoved && !this.removed.aborted)
      this.#removed.abort(new SwarmError("FailedPrecondition", "this manager was taken out of the group of managers"));
  }

  /** Leads whenever this manager is elected, until the signal aborts. */
  async #lead(signal: AbortSignal): Promise<void> {
    const changed = new Notice();
    const unsubscribe = this.#log.subscribe(() => {
      const { leading } = this.#leadership;
      if (leading !== undefined && leading.term !== this.#ledTerm()) this.#stopLeading(leading);
      changed.raise();
    });
    try {
      while (!signal.aborted) {
        const term = this.#ledTerm();
        if (term === undefined) await changed.wait(signal);
        else await this.#leadFor(term, signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      unsubscribe();
    }
  }

  async #leadFor(term: number, signal: AbortSignal): Promise<void> {
    const { clock, logger, random, strict = false } = this.#options;
    const probe = async (addr: string, parent: AbortSignal): Promise<void> => {
      const link = this.#network.connect(addr);
      try {
        await link.ready({ timeoutMs: PROBE_MS, signal: parent });
      } finally {
        link.close();
      }
    };
    const leading = new Leading({ term, store: this.#store, log: this.#log, clock, random, logger, strict, probe });
    logger.info("this manager leads", { term });
    const stop = (): void => this.#stopLeading(leading);
    signal.addEventListener("abort", stop, { once: true });
    this.#leadership.leading = leading;
    try {
      await leading.run();
    } finally {
      signal.removeEventListener("abort", stop);
      this.#stopLeading(leading);
      logger.info("this manager no longer leads", { term });
    }
  }

  #stopLeading(leading: Leading): void {
    if (this.#leadership.leading === leading) this.#leadership.leading = undefined;
    leading.end(new SwarmError("Unavailable", "this manager no longer leads the cluster; try again"));
  }

  /** The term in which this manager leads now. */
  #ledTerm(): number | undefined {
    const { role, term } = this.#log.status();
    return role === "leader" ? term : undefined;
  }

  /** Tells the others where this manager is reached, when that changed since it was last running. */
  async #announce(signal: AbortSignal): Promise<void> {
    const { advertiseAddr, clock, logger, random } = this.#options;
    const backoff = new Backoff({ firstMs: ANNOUNCE_FIRST_MS, maxMs: ANNOUNCE_MAX_MS, random });
    const { addr, raftId } = this.#log.self;
    while (addr !== "" && addr !== advertiseAddr && !this.removed.aborted) {
      try {
        await this.#membership.join({ addr: advertiseAddr, raftId }, { caller: this.#self, signal });
        logger.info("the other managers know the new address", { addr: advertiseAddr });
        return;
      } catch (error) {
        signal.throwIfAborted();
        logger.warn("the new address cannot be told to the other managers yet", { error: errorText(error) });
      }
      await clock.sleep(backoff.nextMs(), signal);
    }
  }
}

function storageOptions(options: GroupManagerOptions): RaftStorageOptions {
  const { disk = nodeDisk, logger, random, segmentBytes, stateDir } = options;
  return {
    disk,
    random,
    dir: join(stateDir, "manager"),
    logger: logger.child("log"),
    ...(segmentBytes !== undefined && { segmentBytes }),
  };
}

function networkOf(options: GroupManagerOptions): ManagerNetwork {
  return options.network ?? grpcNetwork(options);
}

/** A log that never received anything makes way. */
async function discardUnused(options: GroupManagerOptions, signal: AbortSignal): Promise<void> {
  const storage = await RaftStorage.open(storageOptions(options), signal);
  if (storage === undefined) return;
  const isUnused = storage.lastIndex() === 0;
  await storage.close();
  const { disk, dir } = storageOptions(options);
  if (isUnused) await discardLog(disk, dir);
}
