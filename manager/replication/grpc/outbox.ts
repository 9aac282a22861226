// What waits to be sent to one peer: messages in order, bounded in number and bytes. Full, it takes no more; Raft tries again. An
// append that carries no entries only tells how far the leader has committed: the next append tells that too, and takes its place.

import type { Message } from "raft-ts";
import { messageBytes } from "./raft-wire.ts";

const MESSAGES_MAX = 4_096;
const BYTES_MAX = 64 * 1_048_576;
/** Of one frame; a single message may be larger, and gRPC takes up to 4 MiB. */
const FRAME_BYTES_MAX = 1_048_576;

export class Outbox {
  #messages: { readonly message: Message; readonly bytes: number }[] = [];
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** Whether nothing is lost by waiting a moment for an append that carries more. */
  get canWait(): boolean {
    return this.#messages.length > 0 && this.#messages.every(({ message }) => isBare(message));
  }

  /** False: it is full. */
  add(message: Message): boolean {
    this.#dropBare(message);
    const bytes = messageBytes(message);
    if (this.#messages.length >= MESSAGES_MAX || this.#bytes + bytes > BYTES_MAX) return false;
    this.#messages.push({ message, bytes });
    this.#bytes += bytes;
    return true;
  }

  /** The oldest messages that fit one frame, at least one where there are any. */
  take(): readonly Message[] {
    let count = 0;
    let bytes = 0;
    for (const each of this.#messages) {
      if (count > 0 && bytes + each.bytes > FRAME_BYTES_MAX) break;
      bytes += each.bytes;
      count += 1;
    }
    this.#bytes -= bytes;
    return this.#messages.splice(0, count).map((each) => each.message);
  }

  /** Takes the newest message out where the coming one says all that it says. */
  #dropBare(coming: Message): void {
    const newest = this.#messages.at(-1);
    if (newest === undefined || !isBare(newest.message) || coming.type !== "app") return;
    const { term, index, commit } = newest.message;
    if (coming.term !== term || coming.index < index || coming.commit < commit) return;
    this.#bytes -= newest.bytes;
    this.#messages.pop();
  }

  clear(): void {
    this.#messages = [];
    this.#bytes = 0;
  }
}

function isBare({ type, entries }: Message): boolean {
  return type === "app" && entries.length === 0;
}
