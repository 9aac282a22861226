// Raft's messages over gRPC: a stream to each peer, kept open, and a connection apart for each snapshot. Both ends prove who they are by
// their certificates before a message is taken.

import type { Message, RaftId } from "raft-ts";
import type { Clock } from "../../../proto/base/clock.ts";
import { SwarmError, errorText } from "../../../proto/base/errors.ts";
import type { Logger } from "../../../proto/base/log.ts";
import type { Random } from "../../../proto/base/random.ts";
import type { RpcChannel } from "../../../proto/rpc/channel.ts";
import type { Member } from "../membership.ts";
import type { OutgoingSnapshot, Transport, TransportReceiver } from "../transport.ts";
import { PeerStream } from "./peer-stream.ts";
import { sendSnapshot } from "./snapshot-stream.ts";

export interface GrpcTransportOptions {
  readonly self: Member & { readonly clusterId: string };
  readonly receiver: TransportReceiver;
  /** With this node's certificate of now. */
  readonly dial: (addr: string) => RpcChannel;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export class GrpcTransport implements Transport {
  readonly #options: GrpcTransportOptions;
  readonly #peers = new Map<RaftId, PeerStream>();
  /** Streams from peers that are open, and when each was last heard. */
  readonly #heard = new Map<RaftId, { streams: number; atMs: number }>();
  readonly #lost = new Set<RaftId>();
  #isClosed = false;

  constructor(options: GrpcTransportOptions) {
    this.#options = options;
  }

  setPeers(peers: readonly Member[]): void {
    if (this.#isClosed) return;
    const wanted = new Map(peers.filter((peer) => peer.addr !== "").map((peer) => [peer.raftId, peer]));
    for (const [id, stream] of this.#peers) {
      if (wanted.get(id)?.addr === stream.peer.addr) continue;
      stream.close();
      this.#peers.delete(id);
    }
    for (const [id, peer] of wanted) if (!this.#peers.has(id)) this.#peers.set(id, this.#open(peer));
  }

  send(messages: readonly Message[]): void {
    for (const message of messages) {
      if (this.#peers.get(message.to)?.send(message) !== true) this.#reportLost(message.to);
    }
  }

  async sendSnapshot(snapshot: OutgoingSnapshot, signal: AbortSignal): Promise<boolean> {
    const { clock, dial, logger } = this.#options;
    const peer = this.#peers.get(snapshot.message.to)?.peer;
    if (peer === undefined) return false;
    let channel: RpcChannel | undefined;
    try {
      channel = dial(peer.addr);
      await sendSnapshot(snapshot, { channel, clock, signal });
      return true;
    } catch (error) {
      logger.warn("a snapshot did not reach a manager", { peer: peer.addr, error: errorText(error) });
      return false;
    } finally {
      channel?.close();
    }
  }

  lastHeardMs(id: RaftId): number | undefined {
    return this.#heard.get(id)?.atMs;
  }

  /** The peer that a stream to this member comes from. Throws when it is no peer, and tells a removed one so. */
  admit(hello: Member & { readonly clusterId: string; readonly to: RaftId }): void {
    const { receiver, self } = this.#options;
    if (hello.clusterId !== self.clusterId)
      throw new SwarmError(
        "FailedPrecondition",
        `this manager belongs to cluster ${self.clusterId}, not ${hello.clusterId}`,
      );
    this.prove(hello);
    receiver.introduced({ raftId: hello.raftId, nodeId: hello.nodeId, addr: hello.addr });
  }

  /** Throws when the node is known not to be this member, or speaks to another one than this: who was at this address before. */
  prove({ raftId, nodeId, to }: Pick<Member, "raftId" | "nodeId"> & { readonly to: RaftId }): void {
    const { self } = this.#options;
    if (to !== self.raftId)
      throw new SwarmError("FailedPrecondition", `raft member ${to} is not, or no longer, at ${self.addr}`);
    const known = this.#peers.get(raftId)?.peer.nodeId ?? "";
    if (raftId === self.raftId || (known !== "" && known !== nodeId))
      throw new SwarmError("PermissionDenied", `node ${nodeId} is not raft member ${raftId}`);
  }

  /** A stream of the peer is open from now until the answer is called. */
  opened(id: RaftId): () => void {
    const heard = this.#heard.get(id) ?? { streams: 0, atMs: 0 };
    heard.streams += 1;
    this.#heard.set(id, heard);
    this.heard(id);
    return () => {
      heard.streams -= 1;
      if (heard.streams === 0) this.#heard.delete(id);
    };
  }

  heard(id: RaftId): void {
    const heard = this.#heard.get(id);
    if (heard !== undefined) heard.atMs = this.#options.clock.monotonicMs();
  }

  /** Streams are opened anew, with the certificate of now. */
  reconnect(): void {
    for (const stream of this.#peers.values()) stream.reconnect();
  }

  close(): void {
    this.#isClosed = true;
    for (const stream of this.#peers.values()) stream.close();
    this.#peers.clear();
  }

  #open(peer: Member): PeerStream {
    const { receiver, ...rest } = this.#options;
    return new PeerStream({
      ...rest,
      peer,
      onLost: () => this.#reportLost(peer.raftId),
      onRemoved: () => receiver.removed(),
    });
  }

  /** Later, once for many: the driver may be in the midst of sending. */
  #reportLost(id: RaftId): void {
    if (this.#lost.has(id)) return;
    this.#lost.add(id);
    queueMicrotask(() => {
      this.#lost.delete(id);
      if (!this.#isClosed) this.#options.receiver.unreachable(id);
    });
  }
}
