// What the driver asks of whatever carries Raft's messages, and what it is told in return. Production hands in gRPC streams, the
// simulator a network with faults. Nothing here waits for a peer: what cannot be sent is dropped, and Raft tries again.

import type { Message, RaftId } from "raft-ts";
import type { Member, Membership } from "./membership.ts";

/** A stored snapshot on its way to a peer. */
export interface OutgoingSnapshot {
  /** Of type "snap"; its snapshot's data is empty, the state follows in chunks. */
  readonly message: Message;
  readonly membership: Membership;
  /** The state, in pieces of at most 256 KiB. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface IncomingSnapshot {
  readonly message: Message;
  readonly membership: Membership;
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface Transport {
  /** From now on these are the peers (this node left out); connections to others end. */
  setPeers(peers: readonly Member[]): void;
  /** Queues messages for their peers, in order. What a full queue or an unknown peer costs is dropped, and reported as unreachable. */
  send(messages: readonly Message[]): void;
  /** Settles with true when the peer has stored it, with false when it was lost on the way. Never rejects. */
  sendSnapshot(snapshot: OutgoingSnapshot, signal: AbortSignal): Promise<boolean>;
  /** When the peer was last heard from over a connection that lives now, monotonic ms; undefined: not connected. */
  lastHeardMs(id: RaftId): number | undefined;
}

/** What the driver offers to a transport. */
export interface TransportReceiver {
  /** Messages from one peer, in order. Never throws; what is malformed is dropped and logged. */
  receive(messages: readonly Message[]): void;
  /** Settles when the state is durable here and the core knows. Rejects with a SwarmError when it could not be taken. */
  receiveSnapshot(snapshot: IncomingSnapshot, signal: AbortSignal): Promise<void>;
  /** The last messages to the peer were lost. */
  unreachable(id: RaftId): void;
  /** A peer says that this node was removed from the group. */
  removed(): void;
  /** Whether a message of this member may be taken: false for a removed one, which is to be told so. */
  isRemoved(id: RaftId): boolean;
  /** A peer has said who it is and where it listens, over a connection that proves it: it is answered even while this log does not name it. */
  introduced(member: Member): void;
}
