// Serving: one listener (a unix socket or TLS) with its services. Who may call what is a table, checked before any handler
// runs; a method without a row cannot be registered.

import type { EventEmitter } from "node:events";
import { existsSync } from "node:fs";
import {
  type Server as GrpcServer,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { assert } from "../base/assert.ts";
import { systemClock } from "../base/clock.ts";
import { SwarmError, errorText, isSwarmError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { type CallContext, type Caller, type CallerKind, callerKind } from "./caller.ts";
import { MESSAGE_BYTES_MAX } from "./channel.ts";
import { originalCaller } from "./forwarded.ts";
import { callerGone, untilEnd, withEnds } from "./input.ts";
import type { Handlers, Method, Service } from "./methods.ts";
import { toWire } from "./status.ts";

/** For every method of a service, the kinds of callers that may use it. */
export type Access<S> = { readonly [K in keyof S]: readonly CallerKind[] };

type AnyCall =
  ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>;

export interface RpcServerOptions {
  readonly logger: Logger;
  /** Throws SwarmError for a caller that shows a bad certificate. */
  readonly callerOf: (call: AnyCall) => Caller;
}

/** Every call on the unix socket is root's. */
export const localCaller: RpcServerOptions["callerOf"] = () => ({ kind: "local" });

export class RpcServer {
  readonly #server: GrpcServer = new Server({
    "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
    "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.max_concurrent_streams": 1_000,
  });
  readonly #options: RpcServerOptions;
  readonly #stopping: AbortController = new AbortController();

  constructor(options: RpcServerOptions) {
    this.#options = options;
  }

  /** Adds a service. The table must have a row for every method. */
  add<S extends Service>(service: S, handlers: Handlers<S>, access: Access<S>): void {
    const implementation: Record<string, UntypedHandleCall> = {};
    for (const [name, method] of Object.entries(service)) {
      const allowed: readonly CallerKind[] | undefined = access[name];
      const handler = (handlers as Readonly<Record<string, unknown>>)[name];
      assert(
        allowed !== undefined && typeof handler === "function",
        `${method.path} has a handler and a row in the access table`,
      );
      implementation[name] = this.#wrap(method, handler as AnyHandler, allowed);
    }
    this.#server.addService(withEnds(service) as never, implementation as UntypedServiceImplementation);
  }

  /** Listens on a unix socket. The path must be free. */
  async listenUnix(path: string): Promise<void> {
    if (existsSync(path))
      throw new SwarmError("FailedPrecondition", `socket ${path} exists; another daemon may be using it`);
    await this.#bind(`unix:${path}`, ServerCredentials.createInsecure());
  }

  /** Listens on host:port; answers the port, which matters when 0 was asked for. */
  listenTls(addr: string, credentials: ServerCredentials): Promise<number> {
    return this.#bind(addr, credentials);
  }

  /** Ends every call: handlers see their signal abort, and what is left after `graceMs` is cut. */
  async close(graceMs: number): Promise<void> {
    this.#stopping.abort(new SwarmError("Unavailable", "the daemon is stopping"));
    let disarm: () => void = () => undefined;
    const forced = new Promise<void>((resolve) => {
      disarm = systemClock.after(graceMs, () => {
        this.#server.forceShutdown();
        resolve();
      });
    });
    const graceful = new Promise<void>((resolve) => {
      this.#server.tryShutdown(() => resolve());
    });
    await Promise.race([graceful, forced]);
    disarm();
  }

  #bind(addr: string, credentials: ServerCredentials): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(addr, credentials, (error, port) => {
        if (error === null) resolve(port);
        else
          reject(new SwarmError("FailedPrecondition", `cannot listen on ${addr}: ${error.message}`, { cause: error }));
      });
    });
  }

  #wrap(method: Method, handler: AnyHandler, allowed: readonly CallerKind[]): UntypedHandleCall {
    const admit = (call: AnyCall, gone = abortOnCancel(call)): CallContext => {
      const told = originalCaller(this.#options.callerOf(call), call.metadata);
      if (!allowed.includes(callerKind(told.caller)))
        throw new SwarmError("PermissionDenied", refusal(method.path, told.caller));
      return { ...told, signal: AbortSignal.any([this.#stopping.signal, gone.signal]) };
    };
    const report = (error: unknown): ReturnType<typeof toWire> => {
      if (!isSwarmError(error)) {
        this.#options.logger.error(`${method.path} failed`, {
          error: errorText(error),
          stack: (error as Error).stack ?? "",
        });
      }
      return toWire(error);
    };
    if (!method.requestStream && !method.responseStream) {
      return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
        void Promise.try(() => handler(call.request, admit(call))).then(
          (response) => callback(null, response),
          (error: unknown) => callback(report(error)),
        );
      };
    }
    return (call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>) => {
      call.on("error", () => undefined);
      void (async () => {
        const gone = abortOnCancel(call);
        const context = admit(call, gone);
        const input = "read" in call ? untilEnd(call.iterator({ destroyOnReturn: false }), gone) : call.request;
        const output = handler(input, context) as AsyncIterable<unknown>;
        for await (const message of output) {
          if (call.cancelled) return;
          if (!call.write(message)) await drainedOrAborted(call, context.signal);
        }
        call.end();
      })().catch((error: unknown) => call.emit("error", report(error)));
    };
  }
}

type AnyHandler = (input: unknown, context: CallContext) => unknown;

function abortOnCancel(call: AnyCall): AbortController {
  const controller = new AbortController();
  const emitter: EventEmitter = call;
  emitter.on("cancelled", () => controller.abort(callerGone()));
  return controller;
}

function drainedOrAborted(
  call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      call.removeListener("drain", settle);
      signal.removeEventListener("abort", settle);
      resolve();
    };
    call.on("drain", settle);
    signal.addEventListener("abort", settle, { once: true });
    if (signal.aborted) settle();
  });
}

function refusal(path: string, caller: Caller): string {
  const who =
    caller.kind === "node"
      ? `node ${caller.nodeId} (a ${caller.role})`
      : caller.kind === "local"
        ? "this socket"
        : "a caller without a certificate";
  return `${who} may not call ${path}`;
}
