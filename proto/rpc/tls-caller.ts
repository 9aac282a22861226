// Who is behind a TLS connection, by its certificate. No certificate: nobody. A bad or expired one: an error, and never nobody.

import { TLSSocket } from "node:tls";
import { assert } from "../base/assert.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { SwarmError } from "../base/errors.ts";
import type { Caller } from "./caller.ts";
import { ROLE_UNITS } from "./tls.ts";

type NodeCaller = Extract<Caller, { readonly kind: "node" }>;

/** What a handshake proved; kept for the life of the connection. */
type Proof =
  | { readonly kind: "anonymous" }
  | { readonly kind: "node"; readonly node: Omit<NodeCaller, "kind" | "addr">; readonly expiresAtMs: number }
  | { readonly kind: "refused"; readonly reason: string };

const proofs = new WeakMap<object, Proof>();

/**
 * The caller of a call on a listener with `serverCredentials`. Throws Unauthenticated for a certificate that is not of this
 * cluster, says no role, or has expired (also on a connection that stood before it did).
 */
export function callerOf(call: { getPeer(): string }, clock: Pick<Clock, "now"> = systemClock): Caller {
  const session = sessionOf(call);
  let proof = proofs.get(session);
  if (proof === undefined) {
    proof = prove(session.socket);
    proofs.set(session, proof);
  }
  const addr = call.getPeer();
  switch (proof.kind) {
    case "anonymous":
      return { kind: "anonymous", addr };
    case "node":
      if (proof.expiresAtMs > clock.now()) return { kind: "node", ...proof.node, addr };
      throw unauthenticated(
        `the certificate of node ${proof.node.nodeId} has expired; the node must renew it or join again`,
      );
    case "refused":
      throw unauthenticated(proof.reason);
  }
}

interface Session {
  readonly socket: TLSSocket;
}

/** grpc-js answers the same empty context for "no certificate" and "a bad one", so the socket itself is looked at. */
function sessionOf(call: object): Session {
  const session = at(at(at(call, "call"), "stream"), "session");
  const socket = at(session, "socket");
  if (socket === undefined) throw new SwarmError("Unavailable", "the caller has gone away");
  assert(socket instanceof TLSSocket, "callers are known by certificate on TLS listeners only");
  return session as Session;
}

function at(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined;
}

function prove(socket: TLSSocket): Proof {
  // Typed as always there, but without a certificate it is empty, and without a connection null.
  const certificate = socket.getPeerCertificate() as Partial<ReturnType<TLSSocket["getPeerCertificate"]>> | null;
  if (certificate?.raw === undefined) {
    return socket.authorized ? { kind: "refused", reason: "the connection is over" } : { kind: "anonymous" };
  }
  if (!socket.authorized) return { kind: "refused", reason: refusal(String(socket.authorizationError)) };
  const { CN, OU, O } = (certificate.subject ?? {}) as Readonly<Record<string, unknown>>;
  const role = OU === ROLE_UNITS.manager ? "manager" : OU === ROLE_UNITS.worker ? "worker" : undefined;
  if (role === undefined || typeof CN !== "string" || typeof O !== "string" || CN === "" || O === "") {
    return {
      kind: "refused",
      reason: "the certificate does not say which node of which cluster this is, and its role",
    };
  }
  return {
    kind: "node",
    node: { nodeId: CN, role, clusterId: O },
    expiresAtMs: Date.parse(certificate.valid_to ?? ""),
  };
}

function refusal(code: string): string {
  return code.includes("CERT_HAS_EXPIRED")
    ? "the node's certificate has expired; the node must join again"
    : `the node's certificate is not one of this cluster (${code}); the node must leave its old cluster and join this one`;
}

function unauthenticated(reason: string): SwarmError {
  return new SwarmError("Unauthenticated", reason);
}
