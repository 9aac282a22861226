// A log in the memory of one test. It commits at once, synchronously, or holds proposals until the test says what becomes of them.

import { StoreChanges } from "../../proto/gen/control.ts";
import type { ProposalResult, Proposer } from "../../manager/store/proposer.ts";

interface Held {
  readonly changes: StoreChanges;
  readonly onCommit: (index: number) => void;
  readonly resolve: (result: ProposalResult) => void;
}

export class FakeProposer implements Proposer {
  /** What is durable, as a real log would read it back, by index from 1. */
  readonly log: StoreChanges[] = [];
  /** Proposals wait for `commit` or `fail`. */
  hold = false;
  readonly #held: Held[] = [];

  get held(): number {
    return this.#held.length;
  }

  propose(changes: StoreChanges, onCommit: (index: number) => void): Promise<ProposalResult> {
    return new Promise((resolve) => {
      this.#held.push({ changes, onCommit, resolve });
      if (!this.hold) this.commit();
    });
  }

  /** Makes the oldest `count` durable, all of them unless said otherwise. */
  commit(count: number = this.#held.length): void {
    for (const { changes, onCommit, resolve } of this.#held.splice(0, count)) {
      const index = this.log.push(StoreChanges.decode(StoreChanges.encode(changes).finish()));
      onCommit(index);
      resolve({ kind: "committed", index });
    }
  }

  /** Loses all that is held. */
  fail(kind: "dropped" | "ambiguous"): void {
    for (const { resolve } of this.#held.splice(0)) resolve({ kind, reason: `the test said ${kind}` });
  }
}
