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
    const { clock, random, onSilence } = this.#options;
    const base = this.#options.periodMs();
    const periodMs = Math.round(base + (random.float() * 2 - 1) * base * SPREAD);
    this.forget(nodeId);
    if (this.#closed) return periodMs;
    const cancel = clock.after(periodMs * grace, () => {
      this.#deadlines.delete(nodeId);
      onSilence(nodeId);
    });
    this.#deadlines.set(nodeId, cancel);
    return periodMs;
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
