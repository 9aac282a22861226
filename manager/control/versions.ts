// Optimistic locking: an update names the version it was made from.

import { SwarmError } from "../../proto/base/errors.ts";

/** Throws OutOfSequence with Docker's words when somebody else wrote in between. */
export function checkVersion(versions: { readonly found: number; readonly asked: number }): void {
  if (versions.found !== versions.asked) throw new SwarmError("OutOfSequence", "update out of sequence");
}
