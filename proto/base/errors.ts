// The one error that crosses rooms. An operating error has a code from a closed list and a sentence a user can act on.
// Programmer errors are assertions (assert.ts) and are never caught.

/** What kind of trouble it is; proto/rpc/status.ts maps each to gRPC, HTTP and the command's exit status. */
export type ErrorCode =
  | "InvalidArgument"
  | "NotFound"
  | "AlreadyExists"
  | "FailedPrecondition"
  | "OutOfSequence"
  | "PermissionDenied"
  | "Unauthenticated"
  | "NotLeader"
  | "Unavailable"
  | "ResourceExhausted"
  | "DeadlineExceeded"
  | "Cancelled"
  | "Internal";

export interface SwarmErrorOptions {
  readonly cause?: unknown;
  /** Machine-readable facts beside the sentence (never needed to understand it). */
  readonly details?: Readonly<Record<string, string>>;
}

/** An operating error. `message` is a sentence that names the thing and, where there is one, the fix. */
export class SwarmError extends Error {
  override readonly name = "SwarmError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, options: SwarmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** True for a SwarmError, of one of the given codes where any are given. */
export function isSwarmError(error: unknown, ...codes: readonly ErrorCode[]): error is SwarmError {
  return error instanceof SwarmError && (codes.length === 0 || codes.includes(error.code));
}

/** The sentence of any thrown value, for messages that wrap it. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
