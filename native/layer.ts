// Unpacks image layers in a Worker that is started on demand and ended when it has had nothing to do for a while. Knows
// nothing of images: a tar somewhere in a file goes into a folder.

import { Worker } from "node:worker_threads";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, type ErrorCode } from "../proto/base/errors.ts";

export interface LayerRequest {
  /** File that holds the layer's tar, plain or compressed with gzip or zstd. */
  readonly file: string;
  /** Where in the file it begins and how long it is there, in bytes. */
  readonly offset: number;
  readonly length: number;
  /** An existing empty folder to unpack into. */
  readonly folder: string;
  /** "sha256:<hex>" the uncompressed tar must have; undefined: any. */
  readonly diffId: string | undefined;
}

export interface LayerResult {
  /** "sha256:<hex>" of the uncompressed tar. */
  readonly diffId: string;
  /** Sum of the lengths of its files. */
  readonly fileBytes: number;
  readonly entries: number;
}

export type LayerMessage =
  | { readonly kind: "unpack"; readonly id: number; readonly request: LayerRequest }
  | { readonly kind: "cancel"; readonly id: number }
  | { readonly kind: "stop" };

export type LayerAnswer =
  | { readonly kind: "done"; readonly id: number; readonly result: LayerResult }
  | {
      readonly kind: "failed";
      readonly id: number;
      readonly code: ErrorCode;
      readonly message: string;
      readonly details: Readonly<Record<string, string>>;
    };

/** Layers that may wait for their turn; more are refused. */
const WAITING_MAX = 100;

interface Job {
  readonly id: number;
  readonly request: LayerRequest;
  readonly resolve: (result: LayerResult) => void;
  readonly reject: (error: unknown) => void;
}

export class LayerUnpacker {
  readonly #clock: Clock;
  readonly #idleMs: number;
  #worker: Worker | undefined;
  #running: Job | undefined;
  readonly #waiting: Job[] = [];
  #lastId = 0;
  #cancelIdle: () => void = () => undefined;

  constructor(options: {
    readonly clock: Clock;
    /** How long the Worker stays with nothing to do. */ readonly idleMs: number;
  }) {
    this.#clock = options.clock;
    this.#idleMs = options.idleMs;
  }

  /** True while a Worker is there. */
  get hasWorker(): boolean {
    return this.#worker !== undefined;
  }

  /**
   * Unpacks one layer and writes it to the disk. Settles after an abort only when the Worker has let go of the folder, so that
   * the caller may remove it; what was unpacked by then is in it, also after an error. Rejects with SwarmError.
   */
  async unpack(request: LayerRequest, signal: AbortSignal): Promise<LayerResult> {
    signal.throwIfAborted();
    if (this.#waiting.length >= WAITING_MAX) {
      throw new SwarmError("ResourceExhausted", `${WAITING_MAX} layers wait to be unpacked already; try again later.`);
    }
    const id = ++this.#lastId;
    const cancel = (): void => this.#cancel(id, signal);
    try {
      return await new Promise<LayerResult>((resolve, reject) => {
        this.#waiting.push({ id, request, resolve, reject });
        signal.addEventListener("abort", cancel, { once: true });
        this.#next();
      });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }

  /** Ends the Worker; layers in work are refused. */
  async close(): Promise<void> {
    this.#cancelIdle();
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
    this.#failAll(new SwarmError("Unavailable", "The daemon is stopping."));
  }

  #cancel(id: number, signal: AbortSignal): void {
    if (this.#running?.id === id) {
      this.#worker?.postMessage({ kind: "cancel", id } satisfies LayerMessage);
      return;
    }
    const index = this.#waiting.findIndex((job) => job.id === id);
    if (index >= 0) for (const job of this.#waiting.splice(index, 1)) job.reject(signal.reason);
  }

  #next(): void {
    if (this.#running !== undefined) return;
    this.#cancelIdle();
    const job = this.#waiting.shift();
    if (job === undefined) {
      this.#worker?.unref();
      this.#cancelIdle = this.#clock.after(this.#idleMs, () => this.#retire());
      return;
    }
    this.#running = job;
    this.#worker ??= this.#startWorker();
    this.#worker.ref();
    this.#worker.postMessage({ kind: "unpack", id: job.id, request: job.request } satisfies LayerMessage);
  }

  #retire(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.postMessage({ kind: "stop" } satisfies LayerMessage);
  }

  #startWorker(): Worker {
    // The bundle keeps the Worker beside the programs, compiled.
    const file = import.meta.url.endsWith(".ts") ? "./layer-worker.ts" : "./layer-worker.js";
    const worker = new Worker(new URL(file, import.meta.url), { name: "layer", execArgv: [] });
    worker.on("message", (answer: LayerAnswer) => {
      const job = this.#running;
      if (job?.id !== answer.id) return;
      this.#running = undefined;
      if (answer.kind === "done") job.resolve(answer.result);
      else job.reject(new SwarmError(answer.code, answer.message, { details: answer.details }));
      this.#next();
    });
    const lost = (cause: unknown): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#failAll(new SwarmError("Internal", "The thread that unpacks layers ended.", { cause }));
    };
    worker.on("error", lost);
    worker.on("exit", lost);
    return worker;
  }

  #failAll(error: SwarmError): void {
    const jobs = [...(this.#running === undefined ? [] : [this.#running]), ...this.#waiting.splice(0)];
    this.#running = undefined;
    for (const job of jobs) job.reject(error);
  }
}
