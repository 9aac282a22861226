// Verbs that take many names (`rm a b c`) do what they can, say what failed, and exit with 1.

import { errorText, isSwarmError } from "../../proto/base/errors.ts";
import { type Context, warn } from "./context.ts";

export async function forEachRef(
  context: Context,
  refs: readonly string[],
  act: (ref: string) => Promise<void>,
): Promise<void> {
  for (const ref of refs) {
    try {
      await act(ref);
    } catch (error) {
      if (!isSwarmError(error) || error.code === "Unavailable" || error.code === "Cancelled") throw error;
      warn(context, `Error response from daemon: ${errorText(error)}`);
      context.exit(1);
    }
  }
}
