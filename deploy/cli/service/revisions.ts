// The verbs of `tsswarm service` about its history: history, diff, rollback.

import type { Command } from "commander";
import type { Context } from "../context.ts";
import type { ListOptions } from "../format/list.ts";
import { FORMAT_HELP, wholeNumber } from "../options.ts";
import { serviceDiff, serviceHistory } from "./history.ts";
import { detachable, quietable } from "./options.ts";
import { rollbackService } from "./rollback.ts";

export function addRevisions(command: Command, context: Context): void {
  command
    .command("history")
    .description("Show the revisions of a service: when, by whom and how it was changed")
    .option("--format <template>", FORMAT_HELP)
    .option("-q, --quiet", "Only display revision numbers")
    .argument("<service>")
    .action((ref: string, options: ListOptions) => serviceHistory(context, ref, options));

  command
    .command("diff")
    .description("Show what differs between two revisions of a service (default: the last two)")
    .argument("<service>")
    .argument("[revision]")
    .argument("[revision2]")
    .action((ref: string, from: string | undefined, to: string | undefined) =>
      serviceDiff(
        context,
        ref,
        [from, to].filter((text) => text !== undefined),
      ),
    );

  quietable(detachable(command.command("rollback").description("Revert changes to a service's configuration")))
    .option("--to <revision>", "Revision to go back to (default: the one before)")
    .argument("<service>")
    .action((ref: string, options: { to?: string; detach?: boolean; quiet?: boolean }) =>
      rollbackService(context, ref, {
        to: options.to === undefined ? 0 : wholeNumber(options.to, { flag: "--to", min: 1, max: 4_294_967_295 }),
        detach: options.detach === true,
        quiet: options.quiet === true,
      }),
    );
}
