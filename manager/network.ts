// What a manager needs of the network: connections to other managers for calls, and what carries Raft's messages. Production hands
// in gRPC (grpc-network.ts), tests and the simulator something in memory.

import type { RpcServer } from "../proto/rpc/serve.ts";
import type { ManagerLink } from "./peers.ts";
import type { Transport, TransportReceiver } from "./replication/transport.ts";

/** Who this manager is to the others. */
export interface NetworkSelf {
  readonly raftId: number;
  readonly nodeId: string;
  readonly clusterId: string;
}

export interface RaftTransport {
  readonly transport: Transport;
  /** Adds what the transports of other managers call here. */
  register(server: Pick<RpcServer, "add">): void;
  /** Connections are opened anew, with the certificate of now. */
  reconnect(): void;
  close(): void;
}

export interface ManagerNetwork {
  /** Opens lazily: an address where nobody listens is no error yet. */
  connect(addr: string): ManagerLink;
  raft(receiver: TransportReceiver, self: NetworkSelf): RaftTransport;
}
