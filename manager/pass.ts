// What the leader's behaviour is made of. leader.ts runs the passes in a fixed order inside one store transaction.

import type { UnixMs } from "../proto/base/clock.ts";
import type { StoreEvent } from "./store/events.ts";
import type { WriteTx } from "./store/tx.ts";

/** One concern of the leader. Pure: reads and writes only `tx`, knows no clock but `now`, never waits. */
export interface Pass {
  readonly name: string;
  /** It carries on what other passes began: they leave it half of a run's changes, so that what they begin does not pile up. */
  readonly carriesOn?: true;
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

/** Objects that one pass looks at in one run. Half a millisecond or one. */
const LOOKS_MAX = 500;

/**
 * Takes ids out of `dirty` one by one. False when it stopped before the end; the rest, and the id that did not fit, stay dirty. What
 * `step` marks is for the next run.
 */
export function visit(dirty: Set<string>, step: (id: string) => StepResult): boolean {
  const isAll = dirty.size <= LOOKS_MAX;
  const ids = firstOf(dirty);
  let looks = 0;
  for (const [position, id] of ids.entries()) {
    dirty.delete(id);
    const result = step(id);
    if (result === "full") {
      dirty.add(id);
      return false;
    }
    looks += result + 1;
    if (looks >= LOOKS_MAX) return isAll && position === ids.length - 1;
  }
  return isAll;
}

/** As many as one run may look at: a copy of all would cost more than the looks. */
function firstOf(dirty: ReadonlySet<string>): readonly string[] {
  const ids: string[] = [];
  for (const id of dirty) {
    if (ids.length >= LOOKS_MAX) break;
    ids.push(id);
  }
  return ids;
}

/** The earlier of two times to wake; null: never. */
export function earlier(times: readonly (UnixMs | null)[]): UnixMs | null {
  let first: UnixMs | null = null;
  for (const time of times) if (time !== null && (first === null || time < first)) first = time;
  return first;
}
