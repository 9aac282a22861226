// The end of Raft's streams that takes: each begins with who is there, and ends when that member is removed.

import { abortable } from "../../../proto/base/abort.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import type { Clock } from "../../../proto/base/clock.ts";
import type { Logger } from "../../../proto/base/log.ts";
import type {
  RaftFrame,
  RaftFrameAck,
  RaftHello,
  RaftMessages,
  RaftService,
  RaftSnapshotChunk,
  RaftSnapshotResult,
} from "../../../proto/gen/raft.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import { mustBeOwn } from "../../../proto/rpc/forwarded.ts";
import type { Handlers } from "../../../proto/rpc/methods.ts";
import type { TransportReceiver } from "../transport.ts";
import type { GrpcTransport } from "./grpc-transport.ts";
import { REMOVED } from "./peer-stream.ts";
import { messageFromWire } from "./raft-wire.ts";
import { readSnapshot } from "./snapshot-stream.ts";

export interface RaftHandlersOptions {
  readonly transport: Pick<GrpcTransport, "admit" | "prove" | "opened" | "heard">;
  readonly receiver: TransportReceiver;
  readonly clock: Clock;
  readonly logger: Logger;
}

const ACK_EVERY_MS = 500;
const ADDR_LENGTH_MAX = 300;

export function raftHandlers(options: RaftHandlersOptions): Handlers<typeof RaftService> {
  return {
    messages: (frames, context) => takeMessages(options, frames, context),
    snapshot: (parts, context) => takeSnapshot(options, parts, context),
  };
}

async function* takeMessages(
  { transport, receiver, clock, logger }: RaftHandlersOptions,
  frames: AsyncIterable<RaftFrame>,
  context: CallContext,
): AsyncGenerator<RaftFrameAck, void, undefined> {
  let raftId: number | undefined;
  let closed = (): void => undefined;
  let ackedMs = 0;
  try {
    for await (const { part } of untilAborted(frames, context.signal)) {
      if (raftId === undefined) {
        if (part?.$case !== "hello") throw new SwarmError("InvalidArgument", "a stream of Raft begins with a hello");
        raftId = part.value.raftId;
        admit({ transport, receiver }, part.value, context);
        closed = transport.opened(raftId);
      } else {
        if (receiver.isRemoved(raftId)) throw new SwarmError("PermissionDenied", REMOVED);
        transport.heard(raftId);
        if (part?.$case === "messages") receive({ receiver, logger }, { raftId, messages: part.value });
      }
      const nowMs = clock.monotonicMs();
      if (ackedMs !== 0 && nowMs - ackedMs < ACK_EVERY_MS) continue;
      ackedMs = nowMs;
      yield {};
    }
  } finally {
    closed();
  }
}

function admit(
  { transport, receiver }: Pick<RaftHandlersOptions, "transport" | "receiver">,
  hello: RaftHello,
  context: CallContext,
): void {
  if (hello.addr.length > ADDR_LENGTH_MAX)
    throw new SwarmError("InvalidArgument", `an address of ${hello.addr.length} letters is none`);
  if (receiver.isRemoved(hello.raftId)) throw new SwarmError("PermissionDenied", REMOVED);
  transport.admit({ ...hello, nodeId: nodeOf(context) });
}

function receive(
  { receiver, logger }: Pick<RaftHandlersOptions, "receiver" | "logger">,
  from: { readonly raftId: number; readonly messages: RaftMessages },
): void {
  const read = from.messages.messages.map((wire) => messageFromWire(wire)?.message);
  const taken = read.filter((each) => each !== undefined && each.from === from.raftId && each.type !== "snap");
  if (taken.length < read.length)
    logger.warn("messages of a manager make no sense and are dropped", {
      member: from.raftId,
      count: read.length - taken.length,
    });
  if (taken.length > 0) receiver.receive(taken.filter((each) => each !== undefined));
}

async function* takeSnapshot(
  { receiver, transport }: RaftHandlersOptions,
  parts: AsyncIterable<RaftSnapshotChunk>,
  context: CallContext,
): AsyncGenerator<RaftSnapshotResult, void, undefined> {
  const nodeId = nodeOf(context);
  const snapshot = await readSnapshot(untilAborted(parts, context.signal));
  const { from, to } = snapshot.message;
  transport.prove({ raftId: from, nodeId, to });
  if (receiver.isRemoved(from)) throw new SwarmError("PermissionDenied", REMOVED);
  await receiver.receiveSnapshot(snapshot, context.signal);
  yield {};
}

/** What arrives until the caller goes away or the daemon stops: it then throws at once, however quiet the stream is. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  const iterator = items[Symbol.asyncIterator]();
  for (;;) {
    const next = await abortable(iterator.next(), signal);
    if (next.done === true) return;
    yield next.value;
  }
}

function nodeOf(context: CallContext): string {
  mustBeOwn(context);
  const { caller } = context;
  if (caller.kind !== "node") throw new SwarmError("PermissionDenied", "only managers speak Raft");
  return caller.nodeId;
}
