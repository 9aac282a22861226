// `tsswarm service pause|resume|promote`: a person's hand on an update that is under way.

import type { Command } from "commander";
import { SteerUpdateRequest_Action } from "../../../proto/gen/control.ts";
import { type Context, print } from "../context.ts";
import { detachable, quietable } from "./options.ts";
import { converge } from "./progress.ts";

interface Waiting {
  readonly detach?: boolean;
  readonly quiet?: boolean;
}

export function addSteering(command: Command, context: Context): void {
  const { PAUSE, PROMOTE, RESUME } = SteerUpdateRequest_Action;

  command
    .command("pause")
    .description("Hold the update of a service where it is")
    .argument("<service>")
    .action(async (ref: string) => {
      await steer(context, ref, PAUSE);
    });

  quietable(detachable(command.command("resume").description("Let a paused update of a service go on")))
    .argument("<service>")
    .action(async (ref: string, options: Waiting) => wait(context, await steer(context, ref, RESUME), options));

  quietable(detachable(command.command("promote").description("Let an update go on beyond its canary")))
    .argument("<service>")
    .action(async (ref: string, options: Waiting) => wait(context, await steer(context, ref, PROMOTE), options));
}

/** Answers the id of the service. */
async function steer(context: Context, ref: string, action: SteerUpdateRequest_Action): Promise<string> {
  const control = await context.control();
  const { id } = await control.steerUpdate({ ref, action }, { signal: context.signal });
  print(context, ref);
  return id;
}

async function wait(context: Context, serviceId: string, options: Waiting): Promise<void> {
  if (options.detach === true) return;
  await converge(context, { serviceId, quiet: options.quiet === true });
}
