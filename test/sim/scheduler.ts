// Simulated time: events in the order of their times, one after another, each with all that it sets off in promises before the
// next. Nothing here waits for anything real, so the same events come in the same order every time.

interface Scheduled {
  readonly atMs: number;
  readonly order: number;
  readonly action: () => void;
  cancelled: boolean;
}

/** Called after each event with what it did settled. */
export type AfterEvent = () => void;

export class Scheduler {
  #nowMs = 0;
  #order = 0;
  /** A binary heap by time, then by the order in which they were asked for. */
  readonly #heap: Scheduled[] = [];
  #events = 0;

  /** Since the start, in simulated time. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events so far. */
  get events(): number {
    return this.#events;
  }

  /** Runs `action` after `ms`; the answer cancels it. */
  after(ms: number, action: () => void): () => void {
    const scheduled: Scheduled = {
      atMs: this.#nowMs + Math.max(0, ms),
      order: this.#order++,
      action,
      cancelled: false,
    };
    this.#push(scheduled);
    return () => {
      scheduled.cancelled = true;
    };
  }

  /** Runs what comes due within `ms`, until `isOver` says so. */
  async run(ms: number, options: { readonly afterEvent: AfterEvent; readonly isOver?: () => boolean }): Promise<void> {
    const endMs = this.#nowMs + ms;
    await drained();
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#pop();
      if (next.cancelled) continue;
      this.#nowMs = next.atMs;
      this.#events += 1;
      next.action();
      await drained();
      options.afterEvent();
      if (options.isOver?.() === true) return;
    }
    this.#nowMs = endMs;
  }

  #push(scheduled: Scheduled): void {
    const heap = this.#heap;
    let at = heap.push(scheduled) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(scheduled, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = scheduled;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      const least = right !== undefined && left !== undefined && isBefore(right, left) ? right : left;
      if (least === undefined || !isBefore(least, last)) break;
      heap[at] = least;
      at = 2 * at + (least === right ? 2 : 1);
    }
    heap[at] = last;
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** One turn of the event loop: before it comes round, every promise that can settle has. */
function drained(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
