// Errors on the wire: the code of a SwarmError as a gRPC status, and exactly in a trailer, so that both ends throw the same.

import { Metadata, status } from "@grpc/grpc-js";
import { type ErrorCode, SwarmError, errorText, isSwarmError } from "../base/errors.ts";

const TRAILER = "tsswarm-code";

const GRPC_STATUS: Readonly<Record<ErrorCode, status>> = {
  InvalidArgument: status.INVALID_ARGUMENT,
  NotFound: status.NOT_FOUND,
  AlreadyExists: status.ALREADY_EXISTS,
  FailedPrecondition: status.FAILED_PRECONDITION,
  OutOfSequence: status.ABORTED,
  PermissionDenied: status.PERMISSION_DENIED,
  Unauthenticated: status.UNAUTHENTICATED,
  NotLeader: status.FAILED_PRECONDITION,
  Unavailable: status.UNAVAILABLE,
  ResourceExhausted: status.RESOURCE_EXHAUSTED,
  DeadlineExceeded: status.DEADLINE_EXCEEDED,
  Cancelled: status.CANCELLED,
  Internal: status.INTERNAL,
};

/** Longest sentence that fits a header with room for what else is there. */
const MESSAGE_LENGTH_MAX = 4096;

export interface WireError {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** What the server sends for a thrown value. Anything but a SwarmError is a bug and says only its message. */
export function toWire(error: unknown): WireError {
  const code = isSwarmError(error) ? error.code : "Internal";
  const metadata = new Metadata();
  metadata.set(TRAILER, code);
  return { code: GRPC_STATUS[code], details: errorText(error).slice(0, MESSAGE_LENGTH_MAX), metadata };
}

/** The SwarmError behind what a call failed with. `peer` names the server for failures of the connection itself. */
export function fromWire(error: unknown, peer: string): SwarmError {
  if (isSwarmError(error)) return error;
  const wire = error as Partial<WireError>;
  const exact = wire.metadata?.get(TRAILER)[0];
  const message = wire.details ?? errorText(error);
  if (typeof exact === "string" && exact in GRPC_STATUS) return new SwarmError(exact as ErrorCode, message);
  switch (wire.code) {
    case status.UNAVAILABLE:
      return new SwarmError("Unavailable", `Cannot connect to ${peer}: ${message}`, { cause: error });
    case status.CANCELLED:
      return new SwarmError("Cancelled", message, { cause: error });
    case status.DEADLINE_EXCEEDED:
      return new SwarmError("DeadlineExceeded", `${peer} did not answer in time: ${message}`, { cause: error });
    case status.RESOURCE_EXHAUSTED:
      return new SwarmError("ResourceExhausted", message, { cause: error });
    case status.UNIMPLEMENTED:
      return new SwarmError("FailedPrecondition", `${peer} does not offer this call: ${message}`, { cause: error });
    default:
      return new SwarmError("Internal", `call to ${peer} failed: ${message}`, { cause: error });
  }
}
