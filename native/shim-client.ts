// The control connection to a container's shim: its state, start, signals, the end. Requests are answered in order.

import { abortable } from "../proto/base/abort.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { FRAME, type Frame } from "./frames.ts";
import { ShimConnection, connectShim, resultError } from "./shim-connection.ts";

export interface ShimState {
  readonly status: "created" | "running" | "stopped";
  readonly pid: number;
  readonly startedAtMs: number;
  readonly oomKills: number;
}

interface Waiting {
  resolve(payload: Buffer): void;
  reject(error: Error): void;
}

const ESRCH = 3;

export class ShimClient {
  readonly #connection: ShimConnection;
  readonly #waiting = new Map<number, Waiting[]>();
  readonly #over = Promise.withResolvers<undefined>();
  readonly #closing = Promise.withResolvers<undefined>();

  private constructor(socket: ConstructorParameters<typeof ShimConnection>[0]) {
    this.#connection = new ShimConnection(socket, {
      onFrame: (frame) => this.#onFrame(frame),
      onClose: () => this.#onClose(),
    });
  }

  /** Rejects Unavailable when no shim listens at `path`. */
  static async connect(path: string, signal: AbortSignal): Promise<ShimClient> {
    return new ShimClient(await connectShim(path, signal));
  }

  /** Settles once the container has ended (its exit record is written by then) or the connection is gone. */
  get over(): Promise<undefined> {
    return this.#over.promise;
  }

  get closed(): boolean {
    return this.#connection.closed;
  }

  async state(signal: AbortSignal): Promise<ShimState> {
    const text = (await this.#ask(FRAME.STATE, undefined, signal)).toString("latin1");
    const [status, pid, startedAtMs, oomKills] = text.split(" ");
    if (status !== "created" && status !== "running" && status !== "stopped") {
      throw new SwarmError("Internal", `the container's shim told a state that is none: ${text.slice(0, 80)}`);
    }
    return { status, pid: Number(pid), startedAtMs: Number(startedAtMs), oomKills: Number(oomKills) };
  }

  /** Settles when the program runs; rejects with what kept it from running. */
  async start(signal: AbortSignal): Promise<void> {
    const error = resultError(await this.#ask(FRAME.START, undefined, signal));
    if (error !== undefined) throw error;
  }

  /** Sends a signal to the first process. False: it has ended. */
  async kill(signalNumber: number, signal: AbortSignal): Promise<boolean> {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(signalNumber);
    const errno = (await this.#ask(FRAME.KILL, payload, signal)).readUInt32LE(0);
    if (errno !== 0 && errno !== ESRCH) {
      throw new SwarmError("InvalidArgument", `signal ${signalNumber} cannot be sent (errno ${errno})`);
    }
    return errno === 0;
  }

  /** Kills the container if it runs and ends the shim; settles when it is gone. */
  async shutdown(signal: AbortSignal): Promise<void> {
    this.#connection.send(FRAME.SHUTDOWN);
    await abortable(this.#closing.promise, signal);
  }

  close(): void {
    this.#connection.close();
  }

  #ask(type: number, payload: Uint8Array | undefined, signal: AbortSignal): Promise<Buffer> {
    if (this.#connection.closed) return Promise.reject(gone());
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const queue = this.#waiting.get(type) ?? [];
    this.#waiting.set(type, queue);
    queue.push({ resolve, reject });
    this.#connection.send(type, payload);
    return abortable(promise, signal);
  }

  #onFrame(frame: Frame): void {
    if (frame.type === FRAME.EXIT) this.#over.resolve(undefined);
    else this.#waiting.get(frame.type)?.shift()?.resolve(frame.payload);
  }

  #onClose(): void {
    for (const queue of this.#waiting.values()) for (const waiting of queue.splice(0)) waiting.reject(gone());
    this.#over.resolve(undefined);
    this.#closing.resolve(undefined);
  }
}

function gone(): SwarmError {
  return new SwarmError("Unavailable", "the container's shim has ended");
}
