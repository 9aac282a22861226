// When a leader should not lead any longer: its event loop or its disk is too slow for the others' patience, or the disk is full.
// It only judges; the driver hands over.

import type { Clock } from "../../proto/base/clock.ts";
import { ELECTION_MS } from "./ticker.ts";

const LOOP_DELAY_MAX_MS = ELECTION_MS / 3;
/** Ticks in a row with such a delay. */
const LOOP_DELAY_TICKS = 5;
const APPEND_MAX_MS = ELECTION_MS;
const APPEND_MEAN_MAX_MS = ELECTION_MS / 3;
/** Weight of the newest append in the mean. */
const APPEND_WEIGHT = 0.2;
const APPENDS_LEAST = 5;
/** Between two tries; doubled each time, so that a group of slow machines does not pass leadership around. */
const AGAIN_FIRST_MS = 10_000;
const AGAIN_MAX_MS = 160_000;
/** After so long without a reason the waits begin anew. */
const CALM_MS = 300_000;

export interface LeaderHealth {
  /** Largest delay of the event loop since the last tick. */
  readonly loopDelayMs: number;
  /** Since when a write is under way. */
  readonly appendSinceMs: number | undefined;
  /** Why the disk takes nothing. */
  readonly full: string | undefined;
}

export class HandOver {
  readonly #clock: Clock;
  #slowTicks = 0;
  #appends = 0;
  #appendMeanMs = 0;
  #againMs = AGAIN_FIRST_MS;
  #triedMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A write became durable. */
  appended(tookMs: number): void {
    this.#appends += 1;
    this.#appendMeanMs += APPEND_WEIGHT * (tookMs - this.#appendMeanMs);
  }

  /** Asked with every tick, leading or not. Why this node should hand leadership over now; undefined: it need not. */
  check(health: LeaderHealth): string | undefined {
    this.#slowTicks = health.loopDelayMs > LOOP_DELAY_MAX_MS ? this.#slowTicks + 1 : 0;
    return this.#reason(health);
  }

  /** Whether it is time to try, and notes that it is tried. */
  mayTry(): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (this.#triedMs !== undefined && nowMs - this.#triedMs < this.#againMs) return false;
    const isCalm = this.#triedMs === undefined || nowMs - this.#triedMs > CALM_MS;
    this.#againMs = isCalm ? AGAIN_FIRST_MS : Math.min(AGAIN_MAX_MS, this.#againMs * 2);
    this.#triedMs = nowMs;
    return true;
  }

  #reason(health: LeaderHealth): string | undefined {
    if (health.full !== undefined) return `its disk takes nothing: ${health.full}`;
    if (this.#slowTicks >= LOOP_DELAY_TICKS)
      return `its event loop is held up for ${Math.round(health.loopDelayMs)} ms`;
    const { appendSinceMs } = health;
    if (appendSinceMs !== undefined && this.#clock.monotonicMs() - appendSinceMs > APPEND_MAX_MS)
      return `a write to its disk takes more than ${APPEND_MAX_MS} ms`;
    if (this.#appends >= APPENDS_LEAST && this.#appendMeanMs > APPEND_MEAN_MAX_MS)
      return `writes to its disk take ${Math.round(this.#appendMeanMs)} ms`;
    return undefined;
  }
}
