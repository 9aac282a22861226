// The shapes of generated methods, and what clients and servers look like over them.

import type { CallContext, Caller } from "./caller.ts";

export interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: never) => Buffer;
  readonly requestDeserialize: (value: Buffer) => unknown;
  readonly responseSerialize: (value: never) => Buffer;
  readonly responseDeserialize: (value: Buffer) => unknown;
}

export type Service = Readonly<Record<string, Method>>;

type Request<M extends Method> = ReturnType<M["requestDeserialize"]>;
type Response<M extends Method> = ReturnType<M["responseDeserialize"]>;

export interface CallOptions {
  readonly signal: AbortSignal;
  /** Unary calls only: the longest wait for the answer. Absent: 60 s. */
  readonly timeoutMs?: number;
  /** Managers only: the caller in whose name this call is passed on. */
  readonly forwardedFor?: Caller;
}

/** One function per method; every failure is a SwarmError with the server's code and sentence. */
export type Client<S> = {
  readonly [K in keyof S]: S[K] extends Method ? ClientMethod<S[K]> : never;
};

type ClientMethod<M extends Method> = M["requestStream"] extends true
  ? (requests: AsyncIterable<Request<M>>, options: CallOptions) => AsyncIterable<Response<M>>
  : M["responseStream"] extends true
    ? (request: Request<M>, options: CallOptions) => AsyncIterable<Response<M>>
    : (request: Request<M>, options: CallOptions) => Promise<Response<M>>;

/** What a server brings. A stream's producer is resumed only when the transport has room for more. */
export type Handlers<S> = {
  readonly [K in keyof S]: S[K] extends Method ? Handler<S[K]> : never;
};

type Handler<M extends Method> = M["requestStream"] extends true
  ? (requests: AsyncIterable<Request<M>>, context: CallContext) => AsyncIterable<Response<M>>
  : M["responseStream"] extends true
    ? (request: Request<M>, context: CallContext) => AsyncIterable<Response<M>>
    : (request: Request<M>, context: CallContext) => Promise<Response<M>>;
