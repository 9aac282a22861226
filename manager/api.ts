// What the daemon sees of a manager that is one of several: how one begins, what it is told, what it tells. Types only; the
// class behind them is manager.ts's.

import type { Clock } from "../proto/base/clock.ts";
import type { Disk } from "../proto/base/disk.ts";
import type { Logger } from "../proto/base/log.ts";
import type { Random } from "../proto/base/random.ts";
import type { NodeSpec_Availability } from "../proto/gen/specs.ts";
import type { RpcChannel } from "../proto/rpc/channel.ts";
import type { RpcServer } from "../proto/rpc/serve.ts";
import type { Bootstrap, Bootstrapped } from "./bootstrap.ts";
import type { ManagerNetwork } from "./network.ts";
import type { ClusterControl } from "./control/cluster-control.ts";

export interface GroupManagerOptions {
  /** The daemon's state folder; the manager has `manager/` in it. */
  readonly stateDir: string;
  /** host:port where the other managers reach this one. One that changed since the last run is announced to them. */
  readonly advertiseAddr: string;
  /** Opens a connection to the manager at host:port, with this node's certificate as it is at the call. */
  readonly dial: (addr: string) => RpcChannel;
  /** How the other managers are reached. Absent: gRPC over `dial`. For tests and the simulator. */
  readonly network?: ManagerNetwork;
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

/** A node with a fresh manager certificate becomes a member. Its listener must be open: the others try it first. */
export interface JoinGroup {
  readonly nodeId: string;
  readonly clusterId: string;
  /** host:port of managers that are known; tried in turn. */
  readonly managers: readonly string[];
}

/** The state of a backup begins a cluster of one manager; the other managers of the backup become workers. */
export interface RestoreGroup {
  readonly backup: AsyncIterable<Uint8Array>;
  /** Of this node: one of the backup's nodes, or a fresh one. */
  readonly nodeId: string;
  readonly availability: NodeSpec_Availability;
  /** Of this node's key: it gets a manager's certificate of the restored cluster. */
  readonly csrPem: string;
}

export interface ManagerMember {
  readonly nodeId: string;
  /** host:port */
  readonly addr: string;
  readonly isSelf: boolean;
  readonly isLeader: boolean;
  readonly isReachable: boolean;
  /** It does not count for the quorum yet. */
  readonly isLearner: boolean;
}

export interface ManagerState {
  readonly role: "leader" | "follower" | "candidate";
  readonly leader: { readonly nodeId: string; readonly addr: string } | undefined;
  readonly members: readonly ManagerMember[];
}

export interface GroupManager {
  readonly nodeId: string;
  readonly clusterId: string;
  /** The cluster's API for the local socket: answered here by the leader, and by the leader through this one otherwise. */
  readonly control: ClusterControl;
  /** Aborts when the group has removed this member (a demotion, or its place was given to another): close the manager. */
  readonly removed: AbortSignal;
  status(): ManagerState;
  /** Calls the listener when `status` may have changed. The answer ends it. */
  subscribe(listener: () => void): () => void;
  /** Adds all that a manager serves. The server may be listening already. */
  register(server: Pick<RpcServer, "add">): void;
  /** Manages until the signal aborts. Rejects when the log can no longer be written, or for a failed assertion. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Before this node leaves the cluster: hands leadership over, takes this member out of the group and makes the node a worker.
   * Throws FailedPrecondition for the last manager and where the others would have no quorum, Unavailable without a leader.
   */
  leave(signal: AbortSignal): Promise<void>;
  /** Before this daemon stops: another manager leads, where this one does and another can. Never rejects. */
  handOver(signal: AbortSignal): Promise<void>;
  /** The whole state, as `restore` takes it. It holds the cluster's key and tokens. Throws Unavailable without a quorum. */
  backup(signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** This node's certificate was renewed: connections to other managers are opened anew. */
  identityChanged(): void;
  /** Finishes what is being written and lets the files go. Stop `run` first. */
  close(): Promise<void>;
}

export interface GroupManagers {
  /** The member whose log is in the state folder; undefined where there is none. Nothing runs yet. Throws FailedPrecondition for damage. */
  open(options: GroupManagerOptions, signal: AbortSignal): Promise<GroupManager | undefined>;
  /** `swarm init`: a cluster of one manager, its first node and that node's certificate, all or nothing. */
  create(
    options: GroupManagerOptions,
    request: Bootstrap,
    signal: AbortSignal,
  ): Promise<{ readonly manager: GroupManager; readonly made: Bootstrapped }>;
  /** Becomes a member; safe to call again after a crash. Gives up after a minute with Unavailable, at once when refused. */
  join(options: GroupManagerOptions, request: JoinGroup, signal: AbortSignal): Promise<GroupManager>;
  /** The member in the state folder becomes the only one, with all that its log holds. Throws FailedPrecondition where there is none. */
  forceNewCluster(options: GroupManagerOptions, signal: AbortSignal): Promise<GroupManager>;
  /** Throws InvalidArgument for what is no whole backup, AlreadyExists when the state folder holds a log. */
  restore(
    options: GroupManagerOptions,
    request: RestoreGroup,
    signal: AbortSignal,
  ): Promise<{ readonly manager: GroupManager; readonly made: Bootstrapped }>;
}
