// One manager: its log, its store, the leader's passes, the agents' door, the certificate authority and the cluster's API, joined.
// It knows no socket and no process: the daemon registers it on its servers and runs it.

import { join } from "node:path";
import { aborted } from "../proto/base/abort.ts";
import type { Clock } from "../proto/base/clock.ts";
import type { Disk } from "../proto/base/disk.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { Group } from "../proto/base/group.ts";
import type { Logger } from "../proto/base/log.ts";
import type { Random } from "../proto/base/random.ts";
import { NodeCaService } from "../proto/gen/ca.ts";
import { ControlService } from "../proto/gen/control.ts";
import { DispatcherService } from "../proto/gen/dispatcher.ts";
import { ManagerStatus_Reachability } from "../proto/gen/objects.ts";
import { NodeRole } from "../proto/gen/specs.ts";
import type { Handlers } from "../proto/rpc/methods.ts";
import type { RpcServer } from "../proto/rpc/serve.ts";
import { ACCESS } from "./access.ts";
import { type Bootstrap, type Bootstrapped, bootstrap } from "./bootstrap.ts";
import { nodeCaHandlers } from "./ca/serve.ts";
import { rotateTokens } from "./ca/tokens.ts";
import type { ClusterControl } from "./control/cluster-control.ts";
import { createControl } from "./control/create-control.ts";
import type { MemberFacts } from "./control/members.ts";
import { Dispatcher } from "./dispatcher/dispatcher.ts";
import { StreamBroker } from "./dispatcher/stream-broker.ts";
import { Leader } from "./leader.ts";
import { nodeDisk } from "./replication/node-disk.ts";
import { SingleLog } from "./replication/single-log.ts";
import { Store } from "./store/store.ts";

/** Entries of the log between two snapshots (SwarmKit's). */
const SNAPSHOT_EVERY = 10_000;

export interface ManagerOptions {
  /** The daemon's state folder; the manager has `manager/` in it. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Absent: the machine's. */
  readonly disk?: Disk;
  /** Absent: 10,000. */
  readonly snapshotEvery?: number;
  /** Size of a file of the log. Absent: 16 MiB. */
  readonly segmentBytes?: number;
  /** A pass that throws ends the manager instead of being left out of that run. For tests. */
  readonly strict?: boolean;
}

export class Manager {
  /** The cluster's API, for callers in this process and for the local socket. */
  readonly control: ClusterControl;
  readonly #options: ManagerOptions;
  readonly #store: Store;
  readonly #log: SingleLog;
  readonly #dispatcher: Dispatcher;
  readonly #nodeCa: Handlers<NodeCaService>;

  private constructor(options: ManagerOptions, parts: { readonly store: Store; readonly log: SingleLog }) {
    const { clock, random, logger } = options;
    const { store } = parts;
    const streams = new StreamBroker({ clock, random });
    this.#options = options;
    this.#store = store;
    this.#log = parts.log;
    this.#nodeCa = nodeCaHandlers({ store, clock, random, logger: logger.child("ca") });
    this.#dispatcher = new Dispatcher({ store, clock, random, streams, logger: logger.child("dispatcher") });
    this.control = createControl({
      store,
      random,
      streams,
      members: () => this.#members(),
      rotateTokens: (rootCa, roles) => rotateTokens(rootCa, roles, random),
    });
  }

  /**
   * Reads the log and answers with the state that it holds; nothing runs yet. Throws FailedPrecondition for a damaged log,
   * Unavailable for a disk that cannot be written. Close it when done with it.
   */
  static async open(options: ManagerOptions, signal: AbortSignal): Promise<Manager> {
    const { clock, logger, stateDir } = options;
    const store = new Store({ now: () => clock.now() });
    const log = await SingleLog.open(
      {
        disk: options.disk ?? nodeDisk,
        dir: join(stateDir, "manager"),
        clock,
        logger: logger.child("log"),
        target: store,
        snapshot: () => store.save(),
        snapshotEvery: options.snapshotEvery ?? SNAPSHOT_EVERY,
        ...(options.segmentBytes !== undefined && { segmentBytes: options.segmentBytes }),
      },
      signal,
    );
    store.attach(log);
    return new Manager(options, { store, log });
  }

  /** Id of the cluster whose state this is; undefined before bootstrap. */
  get clusterId(): string | undefined {
    return this.#store.view().clusters.all()[0]?.id;
  }

  /**
   * `swarm init`: makes the cluster and its first node, and that node's certificate, in one transaction. Throws
   * FailedPrecondition when the state holds a cluster already, InvalidArgument for a bad spec or signing request.
   */
  bootstrap(request: Bootstrap): Promise<Bootstrapped> {
    return bootstrap({ store: this.#store, clock: this.#options.clock, random: this.#options.random }, request);
  }

  /** Writes down where this manager is reached (host:port), if that changed since it last ran. */
  async announce(self: { readonly nodeId: string; readonly addr: string }): Promise<void> {
    const managerStatus = { addr: self.addr, leader: true, reachability: ManagerStatus_Reachability.REACHABLE };
    await this.#store.update((tx) => {
      const node = tx.nodes.get(self.nodeId);
      if (node === undefined)
        throw new SwarmError(
          "FailedPrecondition",
          `node ${self.nodeId} is not a member of the cluster whose state is here`,
        );
      const { managerStatus: known } = node;
      if (known?.addr !== self.addr || !known.leader) tx.nodes.update({ ...node, managerStatus });
    });
  }

  /** Adds all that a manager serves, with who may call it. */
  register(server: Pick<RpcServer, "add">): void {
    server.add(ControlService, this.control, ACCESS.control);
    server.add(DispatcherService, this.#dispatcher.handlers, ACCESS.dispatcher);
    server.add(NodeCaService, this.#nodeCa, ACCESS.nodeCa);
  }

  /** Manages until the signal aborts. Rejects when the log can no longer be written, or for a failed assertion. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, logger, strict = false } = this.#options;
    const group = new Group(signal);
    const leader = new Leader({ store: this.#store, clock, random, strict, logger: logger.child("leader") });
    group.spawn((stop) => leader.run(stop));
    group.spawn((stop) => this.#dispatcher.run(stop));
    group.spawn((stop) => this.#watchLog(stop));
    await group.join();
  }

  /** Finishes what is being written and lets the files go. Stop `run` first. */
  async close(): Promise<void> {
    await this.#log.close();
    this.#store.attach(undefined);
  }

  /** A log for one has one member. */
  #members(): readonly MemberFacts[] {
    const managers = this.#store
      .view()
      .nodes.all()
      .filter((node) => node.spec.role === NodeRole.MANAGER);
    return managers.map(({ id, managerStatus }) => ({
      nodeId: id,
      addr: managerStatus?.addr ?? "",
      isLeader: true,
      isReachable: true,
      isLearner: false,
    }));
  }

  async #watchLog(signal: AbortSignal): Promise<void> {
    await Promise.race([aborted(signal), aborted(this.#log.failure)]);
    if (!signal.aborted) throw this.#log.failure.reason;
  }
}
