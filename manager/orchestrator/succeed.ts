// The second half of every start-first replacement: the task before stops when its successor runs, and when it has ended by itself
// nobody waits for it any more. Which tasks are replaced so is said by the pass that made the successor.

import type { UnixMs } from "../../proto/base/clock.ts";
import { isEnded } from "../../proto/model/task-state.ts";
import { type Pass, type StepResult, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import { slotKey, slotNamed } from "../store/tables.ts";
import type { WriteTx } from "../store/tx.ts";
import { isServing, stopTask } from "./new-task.ts";
import { slotOf } from "./slots.ts";

export class SucceedPass implements Pass {
  readonly name = "succeed";
  /** Keys of slots. */
  readonly #dirty = new Set<string>();

  observe(event: StoreEvent): void {
    if (event.kind === "task") this.#dirty.add(slotKey(event.object));
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    return visit(this.#dirty, (key) => this.#slot(tx, key, limit)) ? null : now;
  }

  #slot(tx: WriteTx, key: string, limit: number): StepResult {
    const slot = slotOf(tx, slotNamed(key));
    if (slot?.outgoing !== undefined) {
      const { current, outgoing } = slot;
      const isDone = isServing(current) || isEnded(outgoing.status.state);
      if (isDone && !stopTask(tx, outgoing, limit)) return "full";
    }
    return 1;
  }
}
