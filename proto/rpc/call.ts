// Typed clients over a channel: promises and async iterables instead of callbacks and events.

import type { ClientDuplexStream, ClientReadableStream } from "@grpc/grpc-js";
import { systemClock } from "../base/clock.ts";
import { SwarmError } from "../base/errors.ts";
import type { RpcChannel } from "./channel.ts";
import { headersFor } from "./forwarded.ts";
import { END_OF_INPUT, encoderOf } from "./input.ts";
import type { CallOptions, Client, Method, Service } from "./methods.ts";
import { fromWire } from "./status.ts";

const UNARY_TIMEOUT_MS = 60_000;

/** A client of one service. It holds nothing: closing the channel ends it. */
export function createClient<S extends Service>(service: S, channel: RpcChannel): Client<S> {
  const entries = Object.entries(service).map(([name, method]) => [name, clientMethod(method, channel)]);
  return Object.fromEntries(entries) as Client<S>;
}

function clientMethod(method: Method, channel: RpcChannel): unknown {
  const encode = encoderOf(method);
  const decode = method.responseDeserialize;
  if (method.requestStream) {
    return (requests: AsyncIterable<unknown>, options: CallOptions) => {
      const call = channel.client.makeBidiStreamRequest(method.path, encode, decode, headersFor(options.forwardedFor));
      return exchange(call, requests, { channel, signal: options.signal });
    };
  }
  if (method.responseStream) {
    return (request: unknown, options: CallOptions) => {
      const call = channel.client.makeServerStreamRequest(
        method.path,
        encode,
        decode,
        request,
        headersFor(options.forwardedFor),
      );
      return receive(call, { channel, signal: options.signal });
    };
  }
  return (request: unknown, options: CallOptions) =>
    new Promise((resolve, reject) => {
      if (options.signal.aborted) {
        reject(cancelled(options.signal));
        return;
      }
      const deadline = systemClock.now() + (options.timeoutMs ?? UNARY_TIMEOUT_MS);
      const call = channel.client.makeUnaryRequest(
        method.path,
        encode,
        decode,
        request,
        headersFor(options.forwardedFor),
        { deadline },
        (error, response) => {
          options.signal.removeEventListener("abort", cancel);
          if (error === null) resolve(response);
          else reject(options.signal.aborted ? cancelled(options.signal) : fromWire(error, channel.peer));
        },
      );
      const cancel = (): void => call.cancel();
      options.signal.addEventListener("abort", cancel, { once: true });
    });
}

interface StreamContext {
  readonly channel: RpcChannel;
  readonly signal: AbortSignal;
}

/** The answers of a call. Leaving the loop early cancels the call. */
async function* receive(call: ClientReadableStream<unknown>, context: StreamContext): AsyncGenerator {
  const cancel = (): void => call.cancel();
  // A cancelled call emits an error that nobody may be waiting for any more.
  call.on("error", () => undefined);
  if (context.signal.aborted) cancel();
  context.signal.addEventListener("abort", cancel, { once: true });
  let ended = false;
  try {
    yield* call.iterator({ destroyOnReturn: false });
    ended = true;
  } catch (error) {
    ended = true;
    throw context.signal.aborted ? cancelled(context.signal) : fromWire(error, context.channel.peer);
  } finally {
    context.signal.removeEventListener("abort", cancel);
    if (!ended) cancel();
  }
}

/** Sends `requests` at the pace of the transport while the answers are read. A failing producer cancels the call and is the error. */
async function* exchange(
  call: ClientDuplexStream<unknown, unknown>,
  requests: AsyncIterable<unknown>,
  context: StreamContext,
): AsyncGenerator {
  let failure: unknown;
  const source = requests[Symbol.asyncIterator]();
  const over = new AbortController();
  const sending = (async () => {
    try {
      for (;;) {
        const next = await source.next();
        if (over.signal.aborted) break;
        if (!call.write(next.done === true ? END_OF_INPUT : next.value)) await drained(call);
        if (next.done === true) break;
      }
      call.end();
    } catch (error) {
      failure = error;
      call.cancel();
    }
  })();
  try {
    yield* receive(call, context);
  } catch (error) {
    throw failure ?? error;
  } finally {
    over.abort();
    // Lets a producer that waits for its next item go; its end is not waited for, it may be waiting for a person.
    void source.return?.().catch(() => undefined);
    void sending;
  }
}

/** Settles when the call takes more, or is over (a later write is then without effect). */
function drained(call: ClientDuplexStream<unknown, unknown>): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      for (const event of ["drain", "close", "error", "end"]) call.removeListener(event, settle);
      resolve();
    };
    for (const event of ["drain", "close", "error", "end"]) call.on(event, settle);
  });
}

function cancelled(signal: AbortSignal): SwarmError {
  return new SwarmError("Cancelled", "the call was cancelled", { cause: signal.reason });
}
