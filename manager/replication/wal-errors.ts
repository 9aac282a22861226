// The sentences for a log that cannot be trusted or cannot be written.

import { diskErrorCode } from "../../proto/base/disk.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";

/** The log on disk is not what was written: opening it is refused, nothing is cut. */
export function damaged(what: { readonly path: string; readonly detail: string }): SwarmError {
  return new SwarmError(
    "FailedPrecondition",
    `the manager's log is damaged at ${what.path}: ${what.detail}. Nothing was changed. ` +
      "Restore the state folder from a backup, or, where the cluster has other managers, remove the state folder of this one and join it again",
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
