// Joins a person's stream (exec, attach, logs) with the one that the task's agent opens for it (ARCHITECTURE 4b). The broker
// announces, waits for the agent, and then each end pulls from the other, so the slower one sets the pace and nothing is
// held here. It knows nodes and frames, not what a frame means beyond which one is the last.

import { abortable, childOf } from "../../proto/base/abort.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import type { StreamRequest } from "../../proto/gen/dispatcher.ts";
import type { StreamFrame, StreamOpen } from "../../proto/gen/streams.ts";
import { newId } from "../../proto/model/ids.ts";

/** Longest wait for the agent to open a stream, and for its first frame when it has. */
const OPEN_MS_MAX = 10_000;
/** Streams of one node, opening or open; less than the agent serves. */
const NODE_STREAMS_MAX = 200;

export interface StreamTarget {
  readonly nodeId: string;
  /** How messages name the node. */
  readonly nodeName: string;
}

interface Joint {
  readonly request: StreamRequest;
  readonly target: StreamTarget;
  /** What the client sends. */
  readonly input: AsyncIterable<StreamFrame>;
  /** Settles with what the agent sends, when it has opened the stream. */
  readonly opened: PromiseWithResolvers<AsyncIterator<StreamFrame>>;
  /** Aborts when either end is over; the reason says which and why. */
  readonly over: AbortController;
  accepted: boolean;
}

export class StreamBroker {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #joints = new Map<string, Joint>();
  /** By node: told when its announcements changed. */
  readonly #listeners = new Map<string, Set<() => void>>();

  constructor(options: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** Streams that the node's agent has yet to open. */
  announced(nodeId: string): readonly StreamRequest[] {
    return this.#of(nodeId)
      .filter((joint) => !joint.accepted)
      .map((joint) => joint.request);
  }

  /** Calls `listener` when `announced` has more; the answer stops that. */
  listen(nodeId: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(nodeId) ?? new Set();
    this.#listeners.set(nodeId, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(nodeId) === listeners) this.#listeners.delete(nodeId);
    };
  }

  /**
   * Asks the node for a stream, hands it `input`, and gives what it answers until its last frame (exit or error). Throws
   * "Unavailable" when the agent does not open it in time or goes away before the end, "ResourceExhausted" when the node has
   * too many. Leaving the loop ends the agent's side.
   */
  async *connect(
    target: StreamTarget,
    request: { readonly open: StreamOpen; readonly input: AsyncIterable<StreamFrame> },
    signal: AbortSignal,
  ): AsyncGenerator<StreamFrame, void, undefined> {
    const joint = this.#announce(target, request);
    const child = childOf(signal);
    const giveUp = (): void => child.abort(joint.over.signal.reason);
    joint.over.signal.addEventListener("abort", giveUp, { once: true });
    const cancel = this.#clock.after(OPEN_MS_MAX, () => joint.over.abort(silent(target)));
    try {
      const frames = await abortable(joint.opened.promise, child.signal);
      cancel();
      for (;;) {
        const frame = await abortable(pull(frames, target), child.signal);
        yield frame;
        if (isLast(frame)) return;
      }
    } finally {
      cancel();
      this.#joints.delete(joint.request.streamId);
      joint.over.abort(new SwarmError("Cancelled", "the client has gone away"));
      child.release();
    }
  }

  /** The agent's end (Dispatcher.Stream). Its first frame must accept a stream that was announced to this very node. */
  async *accept(
    nodeId: string,
    frames: AsyncIterable<StreamFrame>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamFrame, void, undefined> {
    const iterator = frames[Symbol.asyncIterator]();
    const joint = this.#claim(nodeId, await this.#firstFrame(iterator, signal));
    const child = childOf(signal);
    joint.over.signal.addEventListener("abort", () => child.abort(joint.over.signal.reason), { once: true });
    joint.opened.resolve(iterator);
    const input = joint.input[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await abortable(input.next(), child.signal);
        if (next.done === true) break;
        yield next.value;
      }
      // The client has no more to say; the agent goes on until its own last frame.
      await abortable(new Promise<never>(() => undefined), child.signal);
    } catch (error) {
      // The client's end, whether it left or heard the last frame, is an ordinary end here.
      if (joint.over.signal.aborted) return;
      // What the client sent was refused: it is the one to hear why.
      if (!signal.aborted) joint.over.abort(error);
      throw error;
    } finally {
      joint.over.abort(lost(joint.target));
      child.release();
    }
  }

  #announce(
    target: StreamTarget,
    { open, input }: { readonly open: StreamOpen; readonly input: AsyncIterable<StreamFrame> },
  ): Joint {
    if (this.#of(target.nodeId).length >= NODE_STREAMS_MAX) {
      throw new SwarmError(
        "ResourceExhausted",
        `node ${target.nodeName} has ${NODE_STREAMS_MAX} streams open already; close some and try again`,
      );
    }
    const request: StreamRequest = { streamId: newId(this.#random), open };
    const opened = Promise.withResolvers<AsyncIterator<StreamFrame>>();
    const joint = { request, target, input, opened, over: new AbortController(), accepted: false };
    this.#joints.set(request.streamId, joint);
    for (const listener of this.#listeners.get(target.nodeId) ?? []) listener();
    return joint;
  }

  async #firstFrame(frames: AsyncIterator<StreamFrame>, signal: AbortSignal): Promise<string> {
    const child = childOf(signal);
    const cancel = this.#clock.after(OPEN_MS_MAX, () =>
      child.abort(new SwarmError("DeadlineExceeded", "the stream's first frame did not come")),
    );
    try {
      const first = await abortable(frames.next(), child.signal);
      if (first.done === true || first.value.frame?.$case !== "accept")
        throw new SwarmError("InvalidArgument", "the first frame of a stream must accept it");
      return first.value.frame.value;
    } finally {
      cancel();
      child.release();
    }
  }

  #claim(nodeId: string, streamId: string): Joint {
    const joint = this.#joints.get(streamId);
    if (joint === undefined || joint.accepted || joint.over.signal.aborted)
      throw new SwarmError("NotFound", "nobody waits for this stream any more");
    if (joint.target.nodeId !== nodeId)
      throw new SwarmError("PermissionDenied", "this stream was announced to another node");
    joint.accepted = true;
    return joint;
  }

  #of(nodeId: string): Joint[] {
    return [...this.#joints.values()].filter((joint) => joint.target.nodeId === nodeId);
  }
}

/** The agent's next frame; a stream that ends or breaks before its last frame means that the agent is gone. */
async function pull(frames: AsyncIterator<StreamFrame>, target: StreamTarget): Promise<StreamFrame> {
  const next = await frames.next().catch((cause: unknown) => {
    throw lost(target, cause);
  });
  if (next.done === true) throw lost(target);
  return next.value;
}

function isLast({ frame }: StreamFrame): boolean {
  return frame?.$case === "exit" || frame?.$case === "error";
}

function silent({ nodeName }: StreamTarget): SwarmError {
  return new SwarmError(
    "Unavailable",
    `node ${nodeName} did not open the stream within ${OPEN_MS_MAX / 1000} s: it may be down or cut off; see tsswarm node ls`,
  );
}

function lost({ nodeName }: StreamTarget, cause?: unknown): SwarmError {
  return new SwarmError(
    "Unavailable",
    `node ${nodeName} went away before the stream ended; try again when it is back`,
    cause === undefined ? {} : { cause },
  );
}
