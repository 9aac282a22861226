// One registration of one node: its id, what its two streams must be told, and how it ends. A stream that the agent opens
// anew takes the place of the one before.

import { type ChildAbort, childOf } from "../../proto/base/abort.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { Notice } from "../../proto/base/notice.ts";

/** One of the session's streams. Its signal aborts with the caller, the session, or the stream that replaces it. */
export interface SessionStream {
  readonly signal: AbortSignal;
  /** Call it when the stream is over. */
  release(): void;
}

export class Session {
  readonly id: string;
  readonly nodeId: string;
  /** Raised when the session's message may have changed. */
  readonly news: Notice = new Notice();
  /** Raised when `dirty` grew. */
  readonly work: Notice = new Notice();
  /** Ids of tasks that may have to be told to the agent. */
  readonly dirty: Set<string> = new Set();
  readonly #ended = new AbortController();
  readonly #streams = new Map<"session" | "assignments", ChildAbort>();

  constructor(options: { readonly id: string; readonly nodeId: string }) {
    this.id = options.id;
    this.nodeId = options.nodeId;
  }

  /** Ends both streams with the reason; the agent hears it. */
  end(reason: SwarmError): void {
    this.#ended.abort(reason);
  }

  open(kind: "session" | "assignments", caller: AbortSignal): SessionStream {
    this.#streams.get(kind)?.abort(new SwarmError("FailedPrecondition", "the agent opened this stream anew"));
    const stream = childOf(caller);
    const end = (): void => stream.abort(this.#ended.signal.reason);
    if (this.#ended.signal.aborted) end();
    else this.#ended.signal.addEventListener("abort", end, { once: true });
    this.#streams.set(kind, stream);
    return {
      signal: stream.signal,
      release: () => {
        this.#ended.signal.removeEventListener("abort", end);
        stream.release();
        if (this.#streams.get(kind) === stream) this.#streams.delete(kind);
      },
    };
  }
}
