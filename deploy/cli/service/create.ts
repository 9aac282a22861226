// `tsswarm service create`.

import { SwarmError } from "../../../proto/base/errors.ts";
import { systemRandom } from "../../../proto/base/random.ts";
import { ContainerSpec, ServiceSpec, TaskSpec } from "../../../proto/gen/specs.ts";
import { wholeServiceSpec } from "../../../proto/model/objects.ts";
import { type Context, print, warn } from "../context.ts";
import { type Given, applyFlags } from "./flags.ts";
import { modeNamed } from "./flags-mode.ts";
import { applyListFlags } from "./list-flags.ts";
import { showPlan } from "./plan.ts";
import { converge } from "./progress.ts";
import { randomName } from "./random-name.ts";

/** The spec that a command line asks for. Pure but for --env-file. Throws InvalidArgument. */
export function createSpec(request: {
  readonly image: string;
  readonly args: readonly string[];
  readonly given: Given;
  readonly shell: Context["env"];
}): ServiceSpec {
  const { image, args, given, shell } = request;
  const { mode, name } = given;
  const bare = wholeServiceSpec(
    ServiceSpec.create({
      name: typeof name === "string" ? name : randomName(systemRandom),
      mode: modeNamed(typeof mode === "string" ? mode : "replicated"),
      task: TaskSpec.create({ container: ContainerSpec.create({ image, args }) }),
    }),
  );
  return applyListFlags(applyFlags(bare, given), given, shell);
}

export async function createService(
  context: Context,
  request: { readonly image: string; readonly args: readonly string[]; readonly given: Given },
): Promise<void> {
  const { given } = request;
  if (given["name"] === "")
    throw new SwarmError("InvalidArgument", "--name must not be empty; leave it out for a name made up");
  const spec = createSpec({ ...request, shell: context.env });
  if (given["plan"] === true) return showPlan(context, { id: "", spec });
  const control = await context.control();
  const { service, warnings } = await control.createService({ spec }, { signal: context.signal });
  for (const warning of warnings) warn(context, warning);
  print(context, service?.id ?? "");
  if (given["detach"] === true) return;
  await converge(context, { serviceId: service?.id ?? "", quiet: given["quiet"] === true });
}
