// Who is calling: decided once per call by the listener, never by what the request says.

/** The unix socket is for root alone; TLS callers are what their certificate says, or nobody. */
export type Caller =
  | { readonly kind: "local" }
  | { readonly kind: "anonymous"; readonly addr: string }
  | {
      readonly kind: "node";
      readonly nodeId: string;
      readonly role: "worker" | "manager";
      readonly clusterId: string;
      /** host:port of the other end. */
      readonly addr: string;
    };

/** What access tables name. */
export type CallerKind = "local" | "anonymous" | "worker" | "manager";

export function callerKind(caller: Caller): CallerKind {
  return caller.kind === "node" ? caller.role : caller.kind;
}

export interface CallContext {
  /** Aborts when the caller goes away, its deadline passes or the server stops. */
  readonly signal: AbortSignal;
  readonly caller: Caller;
  /** Id of the manager that passed the call on in the caller's name. */
  readonly forwardedBy?: string;
}
