// The window of one peer: appends that were sent ahead and are not acknowledged, oldest first. It bounds what a slow
// or silent peer costs, in messages and in bytes (thesis 10.2.1).
//
// Invariants: indices never decrease; count <= maxMessages, as nothing is sent while the window is full.

import { invariant } from "../assert.ts";
import type { Index } from "../ids.ts";

export interface WindowSize {
  readonly maxMessages: number;
  /** 0 where bytes are not limited. The message that reaches the limit still fits: one is always sent. */
  readonly maxBytes: number;
}

interface Inflight {
  /** Of the message's last entry. */
  readonly index: Index;
  readonly bytes: number;
}

export class Inflights {
  readonly #size: WindowSize;
  #sent: Inflight[] = [];
  #bytes = 0;

  constructor(size: WindowSize) {
    this.#size = size;
  }

  get count(): number {
    return this.#sent.length;
  }

  full(): boolean {
    const { maxMessages, maxBytes } = this.#size;
    return this.#sent.length >= maxMessages || (maxBytes !== 0 && this.#bytes >= maxBytes);
  }

  /** A message was sent whose last entry has the index. Asserts that the window had room. */
  add(message: Inflight): void {
    invariant(!this.full(), `an append up to ${message.index} is sent into a full window`);
    invariant(message.index >= (this.#sent.at(-1)?.index ?? 0), `appends are sent out of order at ${message.index}`);
    this.#sent.push(message);
    this.#bytes += message.bytes;
  }

  /** The peer holds everything up to the index. */
  freeUpTo(index: Index): void {
    let count = 0;
    for (const message of this.#sent) {
      if (message.index > index) break;
      this.#bytes -= message.bytes;
      count++;
    }
    this.#sent.splice(0, count);
  }

  reset(): void {
    this.#sent = [];
    this.#bytes = 0;
  }
}
