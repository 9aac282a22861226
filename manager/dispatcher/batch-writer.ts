// What agents report, written in batches: many small changes of many callers in one transaction, each caller answered when its
// own are durable. It knows the store and a window; what a change does is the caller's.

import { AssertionError } from "../../proto/base/assert.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { Notice } from "../../proto/base/notice.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { Store } from "../store/store.ts";
import type { WriteTx } from "../store/tx.ts";
import type { BatchWindow } from "./batch-window.ts";

/**
 * Changes at most one object and answers about how many bytes it wrote, 0 for nothing. It must look at the transaction anew: what
 * was true when it was queued may no longer be. Never throws.
 */
export type Write = (tx: WriteTx) => number;

const WAITING_MAX = 200_000;
const BYTES_MAX = DEFAULTS.transactionBytesMax / 2;

interface Caller {
  left: number;
  readonly done: PromiseWithResolvers<unknown>;
}

interface Item {
  readonly write: Write;
  readonly caller: Caller;
}

export class BatchWriter {
  readonly #store: Store;
  readonly #window: BatchWindow;
  readonly #notice = new Notice();
  #waiting: Item[] = [];

  constructor(options: { readonly store: Store; readonly window: BatchWindow }) {
    this.#store = options.store;
    this.#window = options.window;
  }

  /** Settles when all the writes are durable. Rejects as the store does, or with ResourceExhausted when too many wait. */
  async write(writes: readonly Write[]): Promise<void> {
    if (writes.length === 0) return;
    if (this.#waiting.length + writes.length > WAITING_MAX)
      throw new SwarmError("ResourceExhausted", "the manager has too many reports waiting; report again later");
    const caller: Caller = { left: writes.length, done: Promise.withResolvers() };
    for (const write of writes) this.#waiting.push({ write, caller });
    this.#notice.raise();
    await caller.done.promise;
  }

  /** Writes until the signal aborts; those who wait then are told. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        while (this.#waiting.length === 0) await this.#notice.wait(signal);
        await this.#window.turn(signal);
        await this.#flush();
      }
    } finally {
      const stopped = new SwarmError("Unavailable", "the manager is stopping");
      for (const { caller } of this.#waiting) caller.done.reject(stopped);
      this.#waiting = [];
    }
  }

  async #flush(): Promise<void> {
    let taken = 0;
    let failure: { readonly error: unknown } | undefined;
    try {
      await this.#store.update((tx) => {
        taken = 0;
        let changes = 0;
        for (let bytes = 0; taken < this.#waiting.length; taken += 1) {
          if (changes >= DEFAULTS.transactionChangesMax || bytes >= BYTES_MAX) break;
          const written = this.#waiting[taken]?.write(tx) ?? 0;
          bytes += written;
          changes += written > 0 ? 1 : 0;
        }
      });
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      failure = { error };
    }
    for (const { caller } of this.#waiting.splice(0, taken)) {
      caller.left -= 1;
      if (failure !== undefined) caller.done.reject(failure.error);
      else if (caller.left === 0) caller.done.resolve(undefined);
    }
  }
}
