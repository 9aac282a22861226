// The second half of every start-first replacement: the task before stops when its successor runs, and when it has ended by itself
// nobody waits for it any more. Which tasks are replaced so is said by the pass that made the successor.

import type { UnixMs } from "../../proto/base/clock.ts";
import { isEnded } from "../../proto/model/task-state.ts";
import { type Pass, type StepResult, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import { type SlotName, slotKey } from "../store/tables.ts";
import type { WriteTx } from "../store/tx.ts";
import { isServing, slotName, stopTask } from "./new-task.ts";
import { slotOf } from "./slots.ts";

export class SucceedPass implements Pass {
  readonly name = "succeed";
  /** Keys of slots, and how to take them apart again. */
  readonly #dirty = new Set<string>();
  readonly #slots = new Map<string, SlotName>();

  observe(event: StoreEvent): void {
    if (event.kind !== "task") return;
    const key = slotKey(event.object);
    this.#dirty.add(key);
    this.#slots.set(key, slotName(event.object));
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    return visit(this.#dirty, (key) => this.#slot(tx, key, limit)) ? null : now;
  }

  #slot(tx: WriteTx, key: string, limit: number): StepResult {
    const name = this.#slots.get(key);
    const slot = name === undefined ? undefined : slotOf(tx, name);
    if (slot?.outgoing !== undefined) {
      const { current, outgoing } = slot;
      const isDone = isServing(current) || isEnded(outgoing.status.state);
      if (isDone && !stopTask(tx, outgoing, limit)) return "full";
    }
    this.#slots.delete(key);
    return 1;
  }
}
