// Errors that say for certain that nothing was changed: whoever made the call may make it again, here or elsewhere.

import { SwarmError, isSwarmError } from "../../proto/base/errors.ts";

const MARK = "taken";

/** Unavailable, and nothing has happened. */
export function notTaken(message: string, cause?: unknown): SwarmError {
  return new SwarmError("Unavailable", message, { details: { [MARK]: "no" }, ...(cause !== undefined && { cause }) });
}

/** True when the call that failed so has changed nothing. NotLeader is how one manager says it to another. */
export function isNotTaken(error: unknown): error is SwarmError {
  return isSwarmError(error, "NotLeader") || (isSwarmError(error) && error.details[MARK] === "no");
}
