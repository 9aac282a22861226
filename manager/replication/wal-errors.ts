// The sentences for a log that cannot be trusted or cannot be written.

import { diskErrorCode } from "../../proto/base/disk.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";

/** What an operator does about a log that cannot be trusted. */
const RECOVERY =
  "Where the cluster has other managers, run `tsswarm swarm leave --force` on this node, then join it again as a manager; " +
  "where this is the only manager, restore a backup of its state";

/** The log on disk is not what was written: opening it is refused, nothing is cut. */
export function damaged(what: { readonly path: string; readonly detail: string }): SwarmError {
  return new SwarmError(
    "FailedPrecondition",
    `the manager's log is damaged at ${what.path}: ${what.detail}. Nothing was changed. ${RECOVERY}`,
  );
}

/** A write or sync failed: what is on disk is unknown until the log is read again. */
export function unwritable(what: { readonly path: string; readonly error: unknown }): SwarmError {
  const advice =
    diskErrorCode(what.error) === "ENOSPC" ? "free some space on its disk" : "check the disk and the kernel's log";
  return new SwarmError(
    "Unavailable",
    `cannot write the manager's log at ${what.path}: ${errorText(what.error)}. The manager stops, because nobody can know what was written; ${advice}, then start it again`,
    { cause: what.error },
  );
}
