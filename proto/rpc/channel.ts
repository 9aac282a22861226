// A connection to one daemon. It connects when first used, and again after a loss, by itself.

import { type ChannelCredentials, type ChannelOptions, Client, credentials } from "@grpc/grpc-js";

/** No message of ours is larger: images and logs travel in chunks, and a store transaction has at most 1.5 MiB. */
export const MESSAGE_BYTES_MAX = 4_194_304;

const OPTIONS: ChannelOptions = {
  "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.min_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.enable_http_proxy": 0,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.service_config_disable_resolution": 1,
};

export interface RpcChannel {
  /** How messages name the other end. */
  readonly peer: string;
  readonly client: Client;
  close(): void;
}

/** Over a unix socket; the path is absolute. */
export function unixChannel(path: string): RpcChannel {
  return open(`unix:${path}`, credentials.createInsecure(), {}, `the tsswarm daemon at unix://${path}`);
}

/** Over TLS to host:port, with what proto/rpc/tls.ts made. */
export function tlsChannel(
  addr: string,
  security: { readonly credentials: ChannelCredentials; readonly options: ChannelOptions },
): RpcChannel {
  return open(addr, security.credentials, security.options, addr);
}

function open(
  target: string,
  channelCredentials: ChannelCredentials,
  options: ChannelOptions,
  peer: string,
): RpcChannel {
  const client = new Client(target, channelCredentials, { ...OPTIONS, ...options });
  return { peer, client, close: () => client.close() };
}
