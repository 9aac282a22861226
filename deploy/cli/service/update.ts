// `tsswarm service update`.

import { SwarmError } from "../../../proto/base/errors.ts";
import type { ServiceSpec } from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeService } from "../../../proto/model/objects.ts";
import { type Context, print, warn } from "../context.ts";
import { type Given, applyFlags, inContainer, splitWords } from "./flags.ts";
import { applyListFlags } from "./list-flags.ts";
import { converge } from "./progress.ts";

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
  const { signal } = context;
  const control = await context.control();
  const service = wholeService(await control.getService({ ref }, { signal }));
  const spec = updatedSpec(service.spec, given, context.env);
  const { warnings } = await control.updateService({ id: service.id, version: service.meta.version, spec }, { signal });
  for (const warning of warnings) warn(context, warning);
  print(context, ref);
  if (given["detach"] === true) return;
  await converge(context, { serviceId: service.id, quiet: given["quiet"] === true });
}
