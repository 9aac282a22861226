// What a caller streams, and its end. HTTP/2 tells a cancelled stream's end in the same way as a complete one's, an instant before
// it tells of the cancelling; so whoever has said everything says that too, with an empty message, and any other end is a loss.

import { SwarmError } from "../base/errors.ts";
import type { Method, Service } from "./methods.ts";

/** The last thing that is written to a stream whose producer has come to its end. No request that means anything is empty. */
export const END_OF_INPUT: unknown = Object.freeze({ end: true });

const NO_BYTES = Buffer.alloc(0);

/** How a client writes requests and their end. */
export function encoderOf(method: Method): (value: unknown) => Buffer {
  const encode = method.requestSerialize as (value: unknown) => Buffer;
  return (value) => (value === END_OF_INPUT ? NO_BYTES : encode(value));
}

/** The service as a server reads it: with the ends of its streams. */
export function withEnds<S extends Service>(service: S): S {
  const entries = Object.entries(service).map(([name, method]) => [
    name,
    method.requestStream ? reader(method) : method,
  ]);
  return Object.fromEntries(entries) as S;
}

function reader(method: Method): Method {
  const { requestDeserialize } = method;
  return {
    ...method,
    requestDeserialize: (bytes) => (bytes.length === 0 ? END_OF_INPUT : requestDeserialize(bytes)),
  };
}

/** What arrived up to the end. A stream that ends in any other way aborts the call and throws why: it is not whole. */
export async function* untilEnd(received: AsyncIterable<unknown>, call: AbortController): AsyncGenerator {
  let cause: unknown;
  try {
    for await (const message of received) {
      if (message === END_OF_INPUT) return;
      yield message;
    }
  } catch (error) {
    cause = error;
  }
  if (!call.signal.aborted) call.abort(callerGone(cause));
  throw call.signal.reason;
}

export function callerGone(cause?: unknown): SwarmError {
  return new SwarmError("Cancelled", "the caller has gone away", cause === undefined ? undefined : { cause });
}
