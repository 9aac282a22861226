// Optimistic locking: an update names the version it was made from.

import { SwarmError } from "../../proto/base/errors.ts";

/**
 * Throws OutOfSequence with Docker's words when somebody else wrote in between. `found` is the version in the transaction; an
 * object whose change is on its way through the log has one below 0 there, which nobody can have read.
 */
export function checkVersion({ found, asked }: { readonly found: number; readonly asked: number }): void {
  if (found !== asked || found < 0) throw new SwarmError("OutOfSequence", "update out of sequence");
}
