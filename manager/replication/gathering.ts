// How long proposals wait for company. While the node's own disk is busy they could not become durable here anyway, so they enter
// the log together when it is free: one write, one frame to each peer and one answer for all of them. A slow disk holds them up
// only shortly, since the others can commit without it.

import type { Clock } from "../../proto/base/clock.ts";

/** Of a write, within which what comes up waits for its end. */
const GATHER_MS = 10;

export interface GatheringOptions {
  readonly clock: Clock;
  /** Since when a write is under way; undefined: none is. Its end brings a turn. */
  readonly busySinceMs: () => number | undefined;
  /** A turn is wanted. */
  readonly wake: () => void;
}

export class Gathering {
  readonly #options: GatheringOptions;
  #cancel: (() => void) | undefined;

  constructor(options: GatheringOptions) {
    this.#options = options;
  }

  /** Whether to wait for another turn, which then comes. */
  shouldWait(): boolean {
    const { clock, busySinceMs, wake } = this.#options;
    const sinceMs = busySinceMs();
    const leftMs = sinceMs === undefined ? 0 : sinceMs + GATHER_MS - clock.monotonicMs();
    if (leftMs <= 0) return false;
    // One for many writes: a turn too many costs less than a timer each.
    // Whole milliseconds: what is left of a fraction would come up again and again.
    this.#cancel ??= clock.after(Math.ceil(leftMs), () => {
      this.#cancel = undefined;
      wake();
    });
    return true;
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
