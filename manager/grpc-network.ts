// The network of production: calls and Raft's messages over gRPC, on connections that the daemon opens with this node's certificate.

import { type Clock, systemClock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { abortable } from "../proto/base/abort.ts";
import type { Logger } from "../proto/base/log.ts";
import type { Random } from "../proto/base/random.ts";
import { RaftService } from "../proto/gen/raft.ts";
import { createClient } from "../proto/rpc/call.ts";
import type { RpcChannel } from "../proto/rpc/channel.ts";
import { ACCESS } from "./access.ts";
import type { ManagerNetwork } from "./network.ts";
import type { ManagerLink } from "./peers.ts";
import { GrpcTransport } from "./replication/grpc/grpc-transport.ts";
import { raftHandlers } from "./replication/grpc/raft-handlers.ts";

export interface GrpcNetworkOptions {
  /** host:port of this manager. */
  readonly advertiseAddr: string;
  /** With this node's certificate of now. */
  readonly dial: (addr: string) => RpcChannel;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export function grpcNetwork(options: GrpcNetworkOptions): ManagerNetwork {
  const { advertiseAddr, clock, dial, random } = options;
  return {
    connect: (addr) => linkOver(dial(addr)),
    raft: (receiver, self) => {
      const logger = options.logger.child("raft");
      const transport = new GrpcTransport({
        self: { ...self, addr: advertiseAddr },
        receiver,
        dial,
        clock,
        random,
        logger,
      });
      return {
        transport,
        register: (server) =>
          server.add(RaftService, raftHandlers({ transport, receiver, clock, logger }), ACCESS.raft),
        reconnect: () => transport.reconnect(),
        close: () => transport.close(),
      };
    },
  };
}

function linkOver(channel: RpcChannel): ManagerLink {
  return {
    client: (service) => createClient(service, channel),
    ready: ({ signal, timeoutMs }) => {
      const connected = Promise.withResolvers<unknown>();
      channel.client.waitForReady(systemClock.now() + timeoutMs, (error) => {
        if (error === undefined) connected.resolve(undefined);
        else {
          const message = `no manager answers at ${channel.peer} (tried for ${timeoutMs / 1_000} s)`;
          connected.reject(new SwarmError("Unavailable", message, { cause: error }));
        }
      });
      return abortable(connected.promise, signal).then(() => undefined);
    },
    close: () => channel.close(),
  };
}
