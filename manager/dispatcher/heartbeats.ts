// When each node must be heard of next. A node that is silent for `grace` periods is given up: the owner is told once. It
// knows ids and times only.

import type { Clock } from "../../proto/base/clock.ts";
import type { Random } from "../../proto/base/random.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";

export interface HeartbeatsOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** The cluster's period at this moment, before the draw. */
  readonly periodMs: () => number;
  /** The node was silent for too long. */
  readonly onSilence: (nodeId: string) => void;
}

/** Part of the period that the draw may add or take. */
const SPREAD = DEFAULTS.heartbeatEpsilonMs / DEFAULTS.heartbeatPeriodMs;
/** A manager whose deadlines come so late was held up itself: stopped, suspended, or out of processor time. */
const LATE_MS = 1_000;

export class Heartbeats {
  readonly #options: HeartbeatsOptions;
  /** By node: cancels the deadline. */
  readonly #deadlines = new Map<string, () => void>();
  #closed = false;

  constructor(options: HeartbeatsOptions) {
    this.#options = options;
  }

  /** The node was heard of: answers the period until its next beat, drawn anew, and sets the deadline to `grace` of them. */
  beat(nodeId: string, grace: number = DEFAULTS.heartbeatGrace): number {
    const { random } = this.#options;
    const base = this.#options.periodMs();
    const periodMs = Math.round(base + (random.float() * 2 - 1) * base * SPREAD);
    this.forget(nodeId);
    if (this.#closed) return periodMs;
    this.#expect(nodeId, periodMs * grace);
    return periodMs;
  }

  /** Waits so long for the node. A wake-up that comes late shows that nobody could be heard meanwhile: the wait begins anew. */
  #expect(nodeId: string, ms: number): void {
    const { clock, onSilence } = this.#options;
    const dueMs = clock.monotonicMs() + ms;
    const cancel = clock.after(ms, () => {
      this.#deadlines.delete(nodeId);
      if (clock.monotonicMs() - dueMs > LATE_MS) this.#expect(nodeId, ms);
      else onSilence(nodeId);
    });
    this.#deadlines.set(nodeId, cancel);
  }

  forget(nodeId: string): void {
    this.#deadlines.get(nodeId)?.();
    this.#deadlines.delete(nodeId);
  }

  /** No deadline is left behind, and none begins. */
  close(): void {
    this.#closed = true;
    for (const cancel of this.#deadlines.values()) cancel();
    this.#deadlines.clear();
  }
}
