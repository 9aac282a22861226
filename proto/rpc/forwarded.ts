// In whose name a manager passes a call on. It says so in one header, which is believed of managers alone; the access tables then
// look at the caller it names.

import { Metadata } from "@grpc/grpc-js";
import { SwarmError } from "../base/errors.ts";
import type { CallContext, Caller } from "./caller.ts";

const HEADER = "tsswarm-forwarded-from";
const LENGTH_MAX = 1_024;

/** The headers of a call, in the name of another caller where one is given. */
export function headersFor(caller: Caller | undefined): Metadata {
  const headers = new Metadata();
  if (caller !== undefined) headers.set(HEADER, encodeURIComponent(JSON.stringify(caller)));
  return headers;
}

/** Who a call is to be answered as. Throws PermissionDenied where somebody else than a manager names another caller. */
export function originalCaller(caller: Caller, headers: Metadata): Pick<CallContext, "caller" | "forwardedBy"> {
  const [value] = headers.get(HEADER);
  if (value === undefined) return { caller };
  if (caller.kind !== "node" || caller.role !== "manager")
    throw new SwarmError("PermissionDenied", "only a manager may call in the name of another");
  const original = typeof value === "string" && value.length <= LENGTH_MAX ? readCaller(value) : undefined;
  if (original === undefined)
    throw new SwarmError(
      "InvalidArgument",
      "the forwarded call does not say who made it; are all managers of one version?",
    );
  return { caller: original, forwardedBy: caller.nodeId };
}

/** Throws PermissionDenied for a call in the name of another, where nodes speak only for themselves. */
export function mustBeOwn({ forwardedBy }: CallContext): void {
  if (forwardedBy !== undefined)
    throw new SwarmError("PermissionDenied", `node ${forwardedBy} may not make this call in the name of another`);
}

function readCaller(value: string): Caller | undefined {
  let read: Readonly<Record<string, unknown>>;
  try {
    read = Object(JSON.parse(decodeURIComponent(value))) as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof URIError) return undefined;
    throw error;
  }
  const { kind, addr, nodeId, role, clusterId } = read;
  if (kind === "local") return { kind };
  if (typeof addr !== "string") return undefined;
  if (kind === "anonymous") return { kind, addr };
  const isRole = role === "worker" || role === "manager";
  if (kind !== "node" || !isRole || typeof nodeId !== "string" || typeof clusterId !== "string") return undefined;
  return { kind, nodeId, role, clusterId, addr };
}
