// Statuses on their way to a manager: the newest of each task, in batches, kept until a manager took it. While no manager is
// there they wait; the bound is the number of tasks on the node. A step on the way up is told only when nothing weightier comes
// within a window: most tasks run sooner than that, and then it is one batch, at once, and one commit of the managers.
// It does not know what a session is: it is handed `send`.

import { AssertionError } from "../proto/base/assert.ts";
import type { Clock } from "../proto/base/clock.ts";
import { Notice } from "../proto/base/notice.ts";
import { TaskStatusUpdate } from "../proto/gen/dispatcher.ts";
import type { TaskStatus } from "../proto/gen/objects.ts";
import { TaskState } from "../proto/model/task-state.ts";

/** After a batch, the next one gathers this long; so long a step on the way up waits for what follows. */
const WINDOW_MS = 100;
const BATCH_ITEMS_MAX = 10_000;
/** A message of 4 MiB is refused by the other end. */
const BATCH_BYTES_MAX = 1_048_576;

export type Send = (updates: readonly TaskStatusUpdate[], signal: AbortSignal) => Promise<void>;

export class Reporter {
  readonly #clock: Clock;
  readonly #wake = new Notice();
  /** Every task's newest status. */
  readonly #statuses = new Map<string, TaskStatus>();
  /** Ids of those that no manager took. Invariant: each is in #statuses. */
  readonly #pending = new Set<string>();
  /** Something pending has waited long enough, or must not wait. */
  #due = false;

  constructor(options: { readonly clock: Clock }) {
    this.#clock = options.clock;
  }

  /** Statuses that no manager has taken. */
  get pending(): number {
    return this.#pending.size;
  }

  report(taskId: string, status: TaskStatus): void {
    this.#statuses.set(taskId, status);
    this.#pending.add(taskId);
    this.#due ||= status.state >= TaskState.RUNNING || status.error !== "";
    this.#wake.raise();
  }

  /** The task is gone from this node: nobody wants to hear of it. */
  forget(taskId: string): void {
    this.#statuses.delete(taskId);
    this.#pending.delete(taskId);
  }

  /** A manager was met anew: it is told of every task, whatever an earlier one took. */
  repeatAll(): void {
    for (const id of this.#statuses.keys()) this.#pending.add(id);
    this.#due = true;
    this.#wake.raise();
  }

  /** Sends until `signal` aborts or a batch fails (rejects with that; what it held stays pending). */
  async run(send: Send, signal: AbortSignal): Promise<void> {
    for (;;) {
      while (this.#pending.size === 0) await this.#wake.wait(signal);
      await this.#untilDue(signal);
      const startedMs = this.#clock.monotonicMs();
      await this.#sendBatch(send, signal);
      if (this.#pending.size >= BATCH_ITEMS_MAX) continue;
      const restMs = WINDOW_MS - (this.#clock.monotonicMs() - startedMs);
      if (restMs > 0) await this.#clock.sleep(restMs, signal);
    }
  }

  async #untilDue(signal: AbortSignal): Promise<void> {
    const cancel = this.#clock.after(WINDOW_MS, () => {
      this.#due = true;
      this.#wake.raise();
    });
    try {
      while (!this.#due) await this.#wake.wait(signal);
    } finally {
      cancel();
    }
  }

  async #sendBatch(send: Send, signal: AbortSignal): Promise<void> {
    const batch = this.#take();
    try {
      await send(batch, signal);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      for (const { taskId } of batch) if (this.#statuses.has(taskId)) this.#pending.add(taskId);
      throw error;
    }
  }

  #take(): TaskStatusUpdate[] {
    const batch: TaskStatusUpdate[] = [];
    this.#due = false;
    let bytes = 0;
    for (const taskId of this.#pending) {
      const update = { taskId, status: this.#statuses.get(taskId) };
      bytes += TaskStatusUpdate.encode(update).finish().length;
      if (batch.length > 0 && (batch.length >= BATCH_ITEMS_MAX || bytes > BATCH_BYTES_MAX)) break;
      batch.push(update);
      this.#pending.delete(taskId);
    }
    return batch;
  }
}
