// `tsswarm system`: the cluster's state as a file, and back.

import type { Command } from "commander";
import { printBytes } from "../../../proto/base/units.ts";
import { type Context, print } from "../context.ts";
import { readBackup, writeBackup } from "./backup-file.ts";

export function addSystem(command: Command, context: Context): void {
  const { signal } = context;

  command
    .command("backup")
    .description("Write the cluster's state to a file, while it runs (on a manager)")
    .requiredOption(
      "-o, --output <file>",
      "File to write; it must not exist. It holds the cluster's keys: keep it secret",
    )
    .action(async (options: { output: string }) => {
      const local = await context.local();
      const bytes = await writeBackup(options.output, () => local.backup({}, { signal }));
      print(context, `Backup of the swarm written to ${options.output} (${printBytes(bytes)}).`);
      print(context, "It holds the swarm's keys and join tokens: whoever can read it can join the swarm as a manager.");
    });

  command
    .command("restore")
    .description("Make this machine the one manager of a cluster with the state of a backup")
    .argument("<file>", "what 'tsswarm system backup' wrote")
    .option("--listen-addr <address>", "Listen address (format: ADDRESS[:PORT] or INTERFACE[:PORT])", "")
    .option("--advertise-addr <address>", "Advertised address (format: ADDRESS[:PORT] or INTERFACE[:PORT])", "")
    .action(async (file: string, options: { listenAddr: string; advertiseAddr: string }) => {
      const local = await context.local();
      for await (const restored of local.restoreCluster(readBackup(file, options), { signal })) {
        print(context, `Swarm restored: current node (${restored.nodeId}) is now its manager, at ${restored.addr}.`);
      }
    });
}
