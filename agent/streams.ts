// Serves exec, logs and attach for people elsewhere: a manager asks for a stream on the session, this opens it towards the
// manager and joins it to the task. What a stream carries is the task's controller's matter.

import { AssertionError } from "../proto/base/assert.ts";
import { childOf } from "../proto/base/abort.ts";
import { SwarmError, errorText, isSwarmError } from "../proto/base/errors.ts";
import { Group } from "../proto/base/group.ts";
import type { Logger } from "../proto/base/log.ts";
import { Queue } from "../proto/base/queue.ts";
import type { DispatcherService, StreamRequest } from "../proto/gen/dispatcher.ts";
import type { StreamFrame } from "../proto/gen/streams.ts";
import type { Client } from "../proto/rpc/methods.ts";
import type { Worker } from "./worker.ts";

/** Streams served at the same time; more are refused with a sentence. */
const STREAMS_MAX = 256;
/** Refusals under way; beyond this a request is left unanswered and the manager gives it up. */
const REFUSALS_MAX = 64;
/** Frames of input that wait for the task. */
const INPUT_FRAMES_MAX = 16;
/** Ids remembered so that a request that is announced twice is served once. */
const SEEN_MAX = 4_096;

/** Streams over one connection to a manager. */
export class Streams {
  readonly #client: Client<typeof DispatcherService>;
  readonly #worker: Pick<Worker, "stream">;
  readonly #logger: Logger;
  readonly #group: Group;
  readonly #seen = new Set<string>();

  constructor(options: {
    readonly client: Client<typeof DispatcherService>;
    readonly worker: Pick<Worker, "stream">;
    readonly logger: Logger;
    readonly signal: AbortSignal;
  }) {
    this.#client = options.client;
    this.#worker = options.worker;
    this.#logger = options.logger;
    this.#group = new Group(options.signal);
  }

  /** Aborts when the streams stop, also because an assertion failed in one. */
  get signal(): AbortSignal {
    return this.#group.signal;
  }

  /** Opens what was asked for, unless it was before. */
  open(request: StreamRequest): void {
    if (this.#seen.has(request.streamId)) return;
    this.#seen.add(request.streamId);
    for (const id of this.#seen) if (this.#seen.size > SEEN_MAX) this.#seen.delete(id);
    if (this.#group.size >= STREAMS_MAX + REFUSALS_MAX) {
      this.#logger.warn("too many streams at once: one is not opened", { stream: request.streamId });
      return;
    }
    const refused = this.#group.size >= STREAMS_MAX;
    this.#group.spawn((signal) => this.#serve(request, { refused, signal }));
  }

  /** Ends every stream. */
  async close(): Promise<void> {
    this.#group.stop();
    await this.#group.join();
  }

  async #serve(
    request: StreamRequest,
    options: { readonly refused: boolean; readonly signal: AbortSignal },
  ): Promise<void> {
    const child = childOf(options.signal);
    const input = new Queue<StreamFrame>(INPUT_FRAMES_MAX);
    const output = this.#output(request, { input, refused: options.refused, signal: child.signal });
    try {
      for await (const frame of this.#client.stream(output, { signal: child.signal })) {
        await input.put(frame, child.signal);
      }
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      this.#logger.debug("a stream broke off", { stream: request.streamId, error: errorText(error) });
    } finally {
      // The manager's side is over: nobody reads what the task still says.
      child.abort(new SwarmError("Cancelled", "the other end of the stream is gone"));
      child.release();
      input.end();
    }
  }

  async *#output(
    request: StreamRequest,
    options: { readonly input: Queue<StreamFrame>; readonly refused: boolean; readonly signal: AbortSignal },
  ): AsyncGenerator<StreamFrame, void, undefined> {
    yield { frame: { $case: "accept", value: request.streamId } };
    try {
      if (options.refused) {
        throw new SwarmError("ResourceExhausted", `this node serves ${STREAMS_MAX} streams already; try again later`);
      }
      if (request.open === undefined) throw new SwarmError("InvalidArgument", "the stream names no task");
      yield* this.#worker.stream(request.open, options.input, options.signal);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const code = isSwarmError(error) ? error.code : "Internal";
      yield { frame: { $case: "error", value: { code, message: errorText(error) } } };
    } finally {
      // Input that nobody will read must not hold the pump.
      options.input.end();
    }
  }
}
