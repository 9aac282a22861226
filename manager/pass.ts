// What the leader's behaviour is made of. leader.ts runs the passes in a fixed order inside one store transaction.

import type { UnixMs } from "../proto/base/clock.ts";
import type { StoreEvent } from "./store/events.ts";
import type { WriteTx } from "./store/tx.ts";

/** One concern of the leader. Pure: reads and writes only `tx`, knows no clock but `now`, never waits. */
export interface Pass {
  readonly name: string;
  /**
   * Marks what a change made dirty: a committed one, or one that an earlier pass made in this very run. Keeps ids, never objects,
   * for the change may be old. Idempotent; is fed every object once when leadership begins.
   */
  observe(event: StoreEvent): void;
  /**
   * Brings the dirty part in order; before each step it asks `tx.fits(limit, ...)`, and what does not fit stays dirty. Returns when
   * it wants to run again (ms since epoch; `now` when it stopped before the end), or null.
   */
  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null;
}

/** Fresh ids, handed in so that a seed replays a run. */
export type NewId = () => string;

/** What a step came to: objects looked at, or `full` when the transaction has no room for what it has to write. */
export type StepResult = number | "full";

/** Objects that one pass looks at in one run. A millisecond or two. */
const LOOKS_MAX = 2_000;

/**
 * Takes ids out of `dirty` one by one. False when it stopped before the end; the rest, and the id that did not fit, stay dirty. What
 * `step` marks is for the next run.
 */
export function visit(dirty: Set<string>, step: (id: string) => StepResult): boolean {
  let looks = 0;
  const ids = [...dirty];
  for (const [position, id] of ids.entries()) {
    dirty.delete(id);
    const result = step(id);
    if (result === "full") {
      dirty.add(id);
      return false;
    }
    looks += result + 1;
    if (looks >= LOOKS_MAX) return position === ids.length - 1;
  }
  return true;
}

/** The earlier of two times to wake; null: never. */
export function earlier(times: readonly (UnixMs | null)[]): UnixMs | null {
  let first: UnixMs | null = null;
  for (const time of times) if (time !== null && (first === null || time < first)) first = time;
  return first;
}
