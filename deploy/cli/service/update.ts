// `tsswarm service update`.

import { SwarmError } from "../../../proto/base/errors.ts";
import type { ServiceSpec } from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeService } from "../../../proto/model/objects.ts";
import { type Context, print, warn } from "../context.ts";
import { wholeNumber } from "../options.ts";
import { changeService } from "./change.ts";
import { type Given, applyFlags, inContainer, splitWords } from "./flags.ts";
import { applyListFlags } from "./list-flags.ts";
import { showPlan } from "./plan.ts";
import { converge } from "./progress.ts";
import { rollbackService, waitFor } from "./rollback.ts";

/** Flags that say nothing of the service. */
const WITH_ROLLBACK: readonly string[] = ["rollback", "detach", "quiet"];

/** The spec after the flags. Pure. Throws InvalidArgument. */
export function updatedSpec(spec: WholeServiceSpec, given: Given, shell: Context["env"]): ServiceSpec {
  let changed = applyListFlags(applyFlags(spec, given), given, shell);
  const { image, args } = given;
  if (typeof image === "string") {
    if (image === "") throw new SwarmError("InvalidArgument", "--image must not be empty");
    changed = inContainer(() => ({ image }))(changed, "");
  }
  if (typeof args === "string") changed = inContainer(() => ({ args: splitWords(args) }))(changed, "");
  if (given["force"] !== true) return changed;
  return { ...changed, task: { ...changed.task, forceUpdate: changed.task.forceUpdate + 1 } };
}

export async function updateService(context: Context, ref: string, given: Given): Promise<void> {
  if (given["rollback"] === true) return goBack(context, ref, given);
  if (given["plan"] === true) return planUpdate(context, ref, given);
  const canary = canaryOf(given);
  const { service, warnings } = await changeService(context, ref, ({ spec }) => ({
    spec: updatedSpec(spec, given, context.env),
    ...canary,
  }));
  for (const warning of warnings) warn(context, warning);
  print(context, ref);
  if (given["detach"] === true) return;
  await converge(context, { ...waitFor(service), quiet: given["quiet"] === true });
}

async function planUpdate(context: Context, ref: string, given: Given): Promise<void> {
  const control = await context.control();
  const service = wholeService(await control.getService({ ref }, { signal: context.signal }));
  await showPlan(context, { id: service.id, spec: updatedSpec(service.spec, given, context.env) });
}

function goBack(context: Context, ref: string, given: Given): Promise<void> {
  const others = Object.keys(given).filter((name) => !WITH_ROLLBACK.includes(name));
  if (others.length > 0) throw new SwarmError("InvalidArgument", "other flags may not be combined with --rollback");
  return rollbackService(context, ref, { to: 0, detach: given["detach"] === true, quiet: given["quiet"] === true });
}

function canaryOf({ canary }: Given): { readonly canary?: number } {
  if (typeof canary !== "string") return {};
  return { canary: wholeNumber(canary, { flag: "--canary", min: 1, max: 100_000 }) };
}
