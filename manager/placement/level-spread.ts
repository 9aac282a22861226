// Spread without preferences, without looking at every node: the nodes are walked in the order of all their tasks, and of them the
// ones are taken that have the least of this service. Filters are asked of no node but those that come into question.

import type { Choice, Chooser } from "./choose.ts";
import { acceptsAll } from "./filters.ts";
import type { NodeLoad } from "./node-load.ts";

export class LevelSpread implements Chooser {
  readonly looks = 0;
  readonly #choice: Choice;
  #walk: Iterator<NodeLoad>;
  /** Tasks of the service on the nodes that are taken now. Invariant: no node that is accepted and not faulty has fewer. */
  #level = 0;
  /** The least that an accepted node beyond the level was seen to have. */
  #nextLevel = Number.POSITIVE_INFINITY;
  /** Nodes where the service keeps failing are passed over, until no others are left. */
  #faultyTurn = false;
  #faultySeen = false;
  #current: NodeLoad | undefined;

  constructor(choice: Choice) {
    this.#choice = choice;
    this.#walk = choice.book.byTasks();
  }

  next(): NodeLoad | undefined {
    this.#current ??= this.#find();
    return this.#current;
  }

  taken(): void {
    this.#current = undefined;
  }

  #find(): NodeLoad | undefined {
    for (;;) {
      for (let step = this.#walk.next(); step.done !== true; step = this.#walk.next())
        if (this.#isNext(step.value)) return step.value;
      if (!this.#again()) return undefined;
    }
  }

  /** Each walk after the first finds a node: the level is one that an accepted node has. */
  #isNext(load: NodeLoad): boolean {
    const { wish, filters, now } = this.#choice;
    const { serviceId } = wish.task;
    const tasks = load.tasksOf(serviceId);
    if (tasks !== this.#level && tasks >= this.#nextLevel) return false;
    if (load.isFaulty(serviceId, now) !== this.#faultyTurn) {
      this.#faultySeen ||= !this.#faultyTurn;
      return false;
    }
    if (!acceptsAll(filters, load)) return false;
    if (tasks === this.#level) return true;
    if (tasks > this.#level) this.#nextLevel = tasks;
    return false;
  }

  #again(): boolean {
    if (this.#nextLevel !== Number.POSITIVE_INFINITY) this.#level = this.#nextLevel;
    else if (this.#faultySeen && !this.#faultyTurn) {
      this.#faultyTurn = true;
      this.#level = 0;
    } else return false;
    this.#nextLevel = Number.POSITIVE_INFINITY;
    this.#walk = this.#choice.book.byTasks();
    return true;
  }
}
