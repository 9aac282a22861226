// A snapshot to one peer, on a connection of its own so that messages do not wait behind it: the message first, then the state in
// chunks, then the peer's word that it is durable.

import type { Clock } from "../../../proto/base/clock.ts";
import { childOf } from "../../../proto/base/abort.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { RaftService, type RaftSnapshotChunk } from "../../../proto/gen/raft.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import type { RpcChannel } from "../../../proto/rpc/channel.ts";
import type { IncomingSnapshot, OutgoingSnapshot } from "../transport.ts";
import { messageFromWire, messageToWire } from "./raft-wire.ts";

/** Longest wait for the peer to take the next chunk, and for its answer at the end. */
const PROGRESS_MS_MAX = 30_000;

/** Settles when the peer has stored it; rejects with why it did not. */
export async function sendSnapshot(
  snapshot: OutgoingSnapshot,
  options: { readonly channel: RpcChannel; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const { channel, clock } = options;
  const child = childOf(options.signal);
  let disarm = (): void => undefined;
  const progress = (): void => {
    disarm();
    // The producer may be asked for one more chunk when all is over.
    if (child.signal.aborted) return;
    const stuck = new SwarmError("Unavailable", `${channel.peer} takes nothing of a snapshot`);
    disarm = clock.after(PROGRESS_MS_MAX, () => child.abort(stuck));
  };
  try {
    progress();
    const results = createClient(RaftService, channel).snapshot(chunksOf(snapshot, progress), { signal: child.signal });
    for await (const _ of results) return;
    throw new SwarmError("Unavailable", `${channel.peer} did not say that it has stored the snapshot`);
  } finally {
    child.abort();
    disarm();
    child.release();
  }
}

async function* chunksOf(
  snapshot: OutgoingSnapshot,
  progress: () => void,
): AsyncGenerator<RaftSnapshotChunk, void, undefined> {
  const message = messageToWire(snapshot.message, snapshot.membership);
  if (message === undefined) throw new SwarmError("Internal", "a snapshot goes with a message of Raft");
  yield { part: { $case: "message", value: message } };
  for await (const chunk of snapshot.chunks) {
    progress();
    yield { part: { $case: "chunk", value: chunk } };
  }
  progress();
}

/** The snapshot that comes in these parts. Throws InvalidArgument when they do not begin with its message. */
export async function readSnapshot(parts: AsyncIterable<RaftSnapshotChunk>): Promise<IncomingSnapshot> {
  const iterator = parts[Symbol.asyncIterator]();
  const first = await iterator.next();
  const part = first.done === true ? undefined : first.value.part;
  const read = part?.$case === "message" ? messageFromWire(part.value) : undefined;
  if (read?.message.type !== "snap")
    throw new SwarmError("InvalidArgument", "a snapshot begins with its message; are all managers of one version?");
  return { ...read, chunks: chunks(iterator) };
}

async function* chunks(iterator: AsyncIterator<RaftSnapshotChunk>): AsyncGenerator<Uint8Array, void, undefined> {
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
    const { part } = next.value;
    if (part?.$case !== "chunk")
      throw new SwarmError("InvalidArgument", "after its message a snapshot has chunks only");
    yield part.value;
  }
}
