// The way to the network Worker: jobs go in, answers come back in order. It is started with the first job and lives as long as
// the daemon.

import { stat } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { type ErrorCode, SwarmError } from "../proto/base/errors.ts";
import type { NetlinkMessage, ReceivedMessage } from "./netlink-bytes.ts";

export interface NetworkJob {
  readonly protocol: "route" | "nftables";
  readonly messages: readonly NetlinkMessage[];
  /** In the network namespace of this process; absent: the daemon's. */
  readonly pid?: number;
}

export type NetworkRequest =
  { readonly kind: "run"; readonly id: number; readonly jobs: readonly NetworkJob[] } | { readonly kind: "stop" };

export type NetworkAnswer =
  | { readonly kind: "done"; readonly id: number; readonly results: readonly (readonly ReceivedMessage[])[] }
  | {
      readonly kind: "failed";
      readonly id: number;
      readonly code: ErrorCode;
      readonly message: string;
      readonly details: Readonly<Record<string, string>>;
    };

interface Waiting {
  readonly resolve: (results: readonly (readonly ReceivedMessage[])[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Requests under way; more are refused. */
const WAITING_MAX = 10_000;

export class NetworkWorker {
  readonly #waiting: Map<number, Waiting> = new Map();
  #worker: Worker | undefined;
  #nextId = 1;

  /** Runs the jobs one after the other; the first refusal ends them and is thrown. */
  async run(jobs: readonly NetworkJob[]): Promise<readonly (readonly ReceivedMessage[])[]> {
    if (this.#waiting.size >= WAITING_MAX)
      throw new SwarmError("ResourceExhausted", `${WAITING_MAX} changes of the network are under way already`);
    // The threads of libuv's pool are born in the namespace of whoever uses it first: that must be the main thread.
    if (this.#worker === undefined) await stat("/");
    const worker = (this.#worker ??= this.#start());
    const id = this.#nextId++;
    // An answer that is waited for keeps the process alive: a daemon that starts has nothing else that would.
    worker.ref();
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.postMessage({ kind: "run", id, jobs } satisfies NetworkRequest);
    });
  }

  /** Ends the Worker once it has done what it was given. */
  async stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    worker.ref();
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    worker.postMessage({ kind: "stop" } satisfies NetworkRequest);
    await ended;
  }

  #start(): Worker {
    const name = import.meta.url.endsWith(".ts") ? "./network-worker.ts" : "./network-worker.js";
    const worker = new Worker(new URL(name, import.meta.url), { name: "tsswarm-network" });
    worker.on("message", (answer: NetworkAnswer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (this.#waiting.size === 0 && this.#worker === worker) worker.unref();
      if (answer.kind === "done") waiting?.resolve(answer.results.map((messages) => messages.map(buffered)));
      else waiting?.reject(new SwarmError(answer.code, answer.message, { details: answer.details }));
    });
    worker.on("error", (error) => this.#fail(worker, error));
    worker.on("exit", () => this.#fail(worker, new Error("the network Worker has ended")));
    return worker;
  }

  /** One that another has taken the place of fails nobody. */
  #fail(worker: Worker, error: unknown): void {
    if (this.#worker !== undefined && this.#worker !== worker) return;
    this.#worker = undefined;
    for (const waiting of this.#waiting.values())
      waiting.reject(new SwarmError("Internal", "the network Worker has failed", { cause: error }));
    this.#waiting.clear();
  }
}

/** Buffers cross between threads as plain byte arrays. */
function buffered(message: ReceivedMessage): ReceivedMessage {
  const { payload } = message;
  return { ...message, payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength) };
}
