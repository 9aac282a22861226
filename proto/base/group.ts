// Children that live and end together: the first failure stops the others, and nobody is left running behind.

import { AssertionError } from "./assert.ts";
import { type ChildAbort, childOf } from "./abort.ts";

/** Thrown into the children of a group that was stopped without a failure. */
export class GroupStopped extends Error {
  override readonly name = "GroupStopped";
}

export class Group {
  readonly #abort: ChildAbort;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(parent: AbortSignal) {
    this.#abort = childOf(parent);
  }

  /** Aborts when the parent does, when a child fails, or on stop(). */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Children that have not settled. */
  get size(): number {
    return this.#running.size;
  }

  /** Starts a child. What it throws after the group began to stop is the stopping and no error, unless it is a failed assertion. */
  spawn(child: (signal: AbortSignal) => Promise<void>): void {
    const promise = child(this.signal).then(
      () => undefined,
      (error: unknown) => {
        if (this.signal.aborted && !(error instanceof AssertionError)) return;
        this.#failure ??= { error };
        this.#abort.abort(error);
      },
    );
    this.#running.add(promise);
    void promise.then(() => this.#running.delete(promise));
  }

  stop(): void {
    this.#abort.abort(new GroupStopped("the group was stopped"));
  }

  /** Settles when every child has; rejects with the first failure. */
  async join(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.#abort.release();
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
