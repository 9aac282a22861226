// An exec or an attach: one connection to the shim of its own, so that a slow reader slows nobody else. Output is read off the
// socket only as fast as the streams are read; input goes in pieces, each acknowledged once the process's pipe took it.

import { Readable } from "node:stream";

import { abortable } from "../proto/base/abort.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { FRAME, FRAME_STDIN_MAX, type Frame } from "./frames.ts";
import { ShimConnection, connectShim, resultError } from "./shim-connection.ts";
import type { Session } from "./types.ts";

/** Bytes of one stream that wait for their reader in the agent. */
const STREAM_BYTES = 64 * 1024;

interface SessionOptions {
  readonly path: string;
  readonly open: { readonly type: number; readonly payload: Uint8Array };
  /** Standard input may be written. */
  readonly stdin: boolean;
}

/** Opens a session: settles when the shim said yes (an exec's command runs by then), rejects with what it said. */
export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<Session> {
  const session = new ShimSession(await connectShim(options.path, signal), options);
  try {
    await abortable(session.opened, signal);
  } catch (error) {
    session.close();
    throw error;
  }
  return session;
}

class ShimSession implements Session {
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly #connection: ShimConnection;
  readonly #stdin: boolean;
  readonly #opened = Promise.withResolvers<undefined>();
  readonly #exit = Promise.withResolvers<number>();
  readonly #openType: number;
  /** Streams whose reader is behind. */
  readonly #full = new Set<Readable>();
  #taken: PromiseWithResolvers<undefined> | undefined;
  #writes: Promise<void> = Promise.resolve();
  #inputEnded = false;

  constructor(socket: ConstructorParameters<typeof ShimConnection>[0], options: SessionOptions) {
    this.#stdin = options.stdin;
    this.#openType = options.open.type;
    this.stdout = this.#stream();
    this.stderr = this.#stream();
    this.#connection = new ShimConnection(socket, {
      onFrame: (frame) => this.#onFrame(frame),
      onClose: () => this.#onClose(),
    });
    this.#opened.promise.catch(() => undefined);
    this.#exit.promise.catch(() => undefined);
    this.#connection.send(options.open.type, options.open.payload);
  }

  get opened(): Promise<undefined> {
    return this.#opened.promise;
  }

  write(data: Uint8Array): Promise<void> {
    const written = this.#writes.then(() => this.#send(data));
    this.#writes = written.catch(() => undefined);
    return written;
  }

  endInput(): void {
    void this.#writes.then(() => {
      if (this.#inputEnded) return;
      this.#inputEnded = true;
      this.#connection.send(FRAME.STDIN_CLOSE);
    });
  }

  resize(size: { readonly columns: number; readonly rows: number }): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt16LE(size.rows & 0xffff, 0);
    payload.writeUInt16LE(size.columns & 0xffff, 2);
    this.#connection.send(FRAME.RESIZE, payload);
  }

  kill(signalNumber: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(signalNumber);
    this.#connection.send(FRAME.KILL, payload);
  }

  wait(): Promise<number> {
    return this.#exit.promise;
  }

  close(): void {
    this.#connection.close();
  }

  async #send(data: Uint8Array): Promise<void> {
    if (!this.#stdin) throw new SwarmError("FailedPrecondition", "standard input is not open");
    for (let from = 0; from < data.length; from += FRAME_STDIN_MAX) {
      if (this.#connection.closed) throw cut();
      this.#taken = Promise.withResolvers();
      this.#connection.send(FRAME.STDIN, data.subarray(from, from + FRAME_STDIN_MAX));
      await this.#taken.promise;
    }
  }

  #onFrame(frame: Frame): void {
    if (frame.type === this.#openType) {
      const error = frame.type === FRAME.EXEC ? resultError(frame.payload) : undefined;
      if (error === undefined) this.#opened.resolve(undefined);
      else this.#opened.reject(error);
    } else if (frame.type === FRAME.OUTPUT) {
      const stream = frame.stream === 2 ? this.stderr : this.stdout;
      if (!stream.push(Buffer.from(frame.payload))) {
        this.#full.add(stream);
        this.#connection.pause();
      }
    } else if (frame.type === FRAME.STDIN) {
      this.#taken?.resolve(undefined);
    } else if (frame.type === FRAME.EXIT) {
      this.#exit.resolve(frame.payload.readUInt32LE(0));
      this.#connection.close();
    }
  }

  /** A stream that asks for more when it is no longer full; the socket flows while neither is. */
  #stream(): Readable {
    const stream: Readable = new Readable({
      highWaterMark: STREAM_BYTES,
      autoDestroy: false,
      read: () => {
        this.#full.delete(stream);
        if (this.#full.size === 0) this.#connection.resume();
      },
    });
    return stream;
  }

  #onClose(): void {
    this.stdout.push(null);
    this.stderr.push(null);
    this.#opened.reject(cut());
    this.#exit.reject(cut());
    this.#taken?.reject(cut());
  }
}

function cut(): SwarmError {
  return new SwarmError(
    "Unavailable",
    "the session was cut off: its output was not read fast enough, or the container's shim ended",
  );
}
