// One connection to a shim's socket: sends frames, hands out those that come, tells when it is over. No meaning in here.

import { type Socket, connect } from "node:net";

import { SwarmError, errorText } from "../proto/base/errors.ts";
import { type Frame, FrameReader, encodeFrame } from "./frames.ts";

export interface ConnectionEvents {
  onFrame(frame: Frame): void;
  /** Once, whoever ended it. No frame comes afterwards. */
  onClose(): void;
}

export class ShimConnection {
  readonly #socket: Socket;
  #closed = false;

  constructor(socket: Socket, events: ConnectionEvents) {
    this.#socket = socket;
    const reader = new FrameReader();
    socket.on("data", (piece: Buffer) => {
      try {
        for (const frame of reader.take(piece)) events.onFrame(frame);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined);
      }
    });
    // "close" follows and says all there is to say.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#closed = true;
      events.onClose();
    });
    socket.resume();
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(type: number, payload?: Uint8Array): void {
    if (!this.#closed) this.#socket.write(encodeFrame(type, payload));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** Connects to the shim. Rejects Unavailable when no shim listens there. */
export function connectShim(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const settle = (): void => {
      socket.removeListener("error", fail);
      socket.removeListener("connect", succeed);
      signal.removeEventListener("abort", abort);
    };
    const succeed = (): void => {
      settle();
      socket.pause();
      resolve(socket);
    };
    const fail = (error: Error): void => {
      settle();
      socket.destroy();
      reject(
        new SwarmError("Unavailable", `the container's shim does not answer: ${errorText(error)}`, { cause: error }),
      );
    };
    const abort = (): void => {
      settle();
      socket.on("error", () => undefined);
      socket.destroy();
      reject(signal.reason as Error);
    };
    socket.on("error", fail);
    socket.on("connect", succeed);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** The error in the answer to a start or an exec: `u8 exit code | sentence`. The exit code is also in `details.exitCode`. */
export function resultError(payload: Buffer): SwarmError | undefined {
  const code = payload.readUInt8(0);
  if (code === 0) return undefined;
  const kind = code === 127 ? "NotFound" : code === 126 ? "PermissionDenied" : "FailedPrecondition";
  return new SwarmError(kind, payload.toString("utf8", 1), { details: { exitCode: String(code) } });
}
