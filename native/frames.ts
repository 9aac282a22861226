// Frames on a shim's socket, `u32 length | u8 type | u32 stream | payload`, as native/src/frames.h has them. Bytes in, frames
// out; what they mean is the client's matter.

import { SwarmError } from "../proto/base/errors.ts";

export const FRAME = {
  STATE: 1,
  START: 2,
  KILL: 3,
  ATTACH: 4,
  STDIN: 5,
  STDIN_CLOSE: 6,
  RESIZE: 7,
  EXEC: 8,
  EXIT: 9,
  OUTPUT: 10,
  OOM: 11,
  SHUTDOWN: 12,
} as const;

/** Largest payload of one stdin frame. In bytes. */
export const FRAME_STDIN_MAX: number = 64 * 1024;

const HEAD = 9;
const LENGTH_MAX = 8 * 1024 * 1024;

export interface Frame {
  readonly type: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const frame = Buffer.alloc(HEAD + payload.length);
  frame.writeUInt32LE(HEAD - 4 + payload.length, 0);
  frame.writeUInt8(type, 4);
  frame.set(payload, HEAD);
  return frame;
}

/** Takes pieces as they come off the socket and gives whole frames. */
export class FrameReader {
  #pieces: Buffer[] = [];
  #length = 0;

  /** The frames that `piece` completes. Throws Internal when it is no frame. */
  take(piece: Buffer): Frame[] {
    this.#pieces.push(piece);
    this.#length += piece.length;
    const frames: Frame[] = [];
    for (let wanted = this.#wanted(); wanted !== undefined && this.#length >= wanted; wanted = this.#wanted()) {
      const all = this.#joined();
      frames.push({ type: all.readUInt8(4), stream: all.readUInt32LE(5), payload: all.subarray(HEAD, wanted) });
      this.#pieces = all.length > wanted ? [all.subarray(wanted)] : [];
      this.#length = all.length - wanted;
    }
    return frames;
  }

  /** Length of the frame that has begun, head included; undefined before its length is there. */
  #wanted(): number | undefined {
    if (this.#length < HEAD) return undefined;
    const first = this.#pieces[0];
    const head = first !== undefined && first.length >= HEAD ? first : this.#joined();
    const length = head.readUInt32LE(0);
    if (length < HEAD - 4 || length > LENGTH_MAX)
      throw new SwarmError("Internal", "the container's shim sent what is no frame");
    return length + 4;
  }

  #joined(): Buffer {
    const first = this.#pieces[0];
    if (this.#pieces.length === 1 && first !== undefined) return first;
    const all = Buffer.concat(this.#pieces);
    this.#pieces = [all];
    return all;
  }
}
