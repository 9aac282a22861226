// What waits to be sent to one peer: messages in order, bounded in number and bytes. Full, it takes no more; Raft tries again.

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

  /** False: it is full. */
  add(message: Message): boolean {
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

  clear(): void {
    this.#messages = [];
    this.#bytes = 0;
  }
}
