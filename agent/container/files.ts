// Names of what lies in a container's folder.

/** Output of the container; rotated ones get ".1", ".2" ... */
export const LOG_FILE = "output.log";
/** Of the overlay: the container's own changes to its root. */
export const ROOT_PARTS: readonly string[] = ["upper", "work"];
