// The core's apply thread: committed entries, one after another, in slices short enough that the node goes on voting and
// answering between them. What an entry means is the caller's.

import type { Entry, Message } from "raft-ts";
import { defined } from "../../proto/base/assert.ts";
import type { Clock } from "../../proto/base/clock.ts";

/** Of the event loop's time in one go. */
const SLICE_MS = 10;
/** Entries between two looks at the clock. */
const LOOK_EVERY = 32;

export interface ApplyLoopOptions {
  readonly clock: Clock;
  readonly apply: (entry: Entry) => void;
  readonly deliver: (responses: readonly Message[]) => void;
  /** Runs the rest of the work later, in a turn. */
  readonly resume: (work: () => void) => void;
}

export class ApplyLoop {
  readonly #options: ApplyLoopOptions;
  readonly #queue: Message[] = [];
  /** Of the first work's entries. */
  #done = 0;
  #isPaused = false;
  #cancel: (() => void) | undefined;

  constructor(options: ApplyLoopOptions) {
    this.#options = options;
  }

  /** Takes a storageApply. */
  push(work: Message): void {
    this.#queue.push(work);
    if (!this.#isPaused) this.#slice();
  }

  /** Applies everything now, however long it takes: while the log is opened. */
  finish(): void {
    this.stop();
    while (this.#queue.length > 0) this.#slice(Infinity);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#isPaused = false;
  }

  #slice(lengthMs: number = SLICE_MS): void {
    const { clock, apply, deliver } = this.#options;
    const endMs = clock.monotonicMs() + lengthMs;
    while (this.#queue.length > 0) {
      const work = defined(this.#queue[0], "the first work");
      while (this.#done < work.entries.length) {
        apply(defined(work.entries[this.#done], "an entry to apply"));
        this.#done += 1;
        if (this.#done % LOOK_EVERY === 0 && clock.monotonicMs() >= endMs) {
          this.#pause();
          return;
        }
      }
      this.#queue.shift();
      this.#done = 0;
      deliver(work.responses);
    }
  }

  #pause(): void {
    this.#isPaused = true;
    this.#cancel = this.#options.clock.after(0, () =>
      this.#options.resume(() => {
        this.#isPaused = false;
        this.#slice();
      }),
    );
  }
}
