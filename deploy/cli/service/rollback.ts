// `tsswarm service rollback`, and `service update --rollback`: back to the spec before, or to one of the history.

import type { Service } from "../../../proto/gen/objects.ts";
import { type Context, print, warn } from "../context.ts";
import { changeService } from "./change.ts";
import { converge } from "./progress.ts";

export interface RollbackOptions {
  /** Number of a revision; 0: the spec before. */
  readonly to: number;
  readonly detach: boolean;
  readonly quiet: boolean;
}

export async function rollbackService(context: Context, ref: string, options: RollbackOptions): Promise<void> {
  const { service, warnings } = await changeService(context, ref, () => ({ rollbackTo: options.to }));
  for (const warning of warnings) warn(context, warning);
  print(context, ref);
  if (options.detach) return;
  await converge(context, { ...waitFor(service), quiet: options.quiet, isRollback: true });
}

/** What the wait for a change begins with: an update that began before it is not its own. */
export function waitFor(service: Service | undefined): { readonly serviceId: string; readonly updateBeforeMs: number } {
  return { serviceId: service?.id ?? "", updateBeforeMs: service?.updateStatus?.startedAtMs ?? 0 };
}
