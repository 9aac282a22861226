// `tsswarm node`: the machines of the cluster.

import type { Command } from "commander";
import { SwarmError } from "../../../proto/base/errors.ts";
import { wholeNode } from "../../../proto/model/objects.ts";
import { nodeJson } from "../../docker/objects.ts";
import { type Context, print } from "../context.ts";
import { inspectObjects } from "../inspect.ts";
import { FORMAT_HELP, collect } from "../options.ts";
import { forEachRef } from "../refs.ts";
import { listNodes } from "./ls.ts";
import { prettyNode } from "./pretty.ts";
import { listNodeTasks } from "./ps.ts";
import { changeRoles } from "./role.ts";
import { updateNode } from "./update.ts";

export function addNode(command: Command, context: Context): void {
  const { signal } = context;

  command
    .command("ls")
    .alias("list")
    .description("List nodes in the cluster")
    .option(
      "-f, --filter <filter>",
      "Filter output based on conditions provided (id, label, node.label, membership, name, role)",
      collect,
    )
    .option("--format <template>", FORMAT_HELP)
    .option("-q, --quiet", "Only display IDs")
    .action((options: Parameters<typeof listNodes>[1]) => listNodes(context, options));

  command
    .command("inspect")
    .description("Display detailed information on one or more nodes")
    .argument("<node...>", "'self' is this node")
    .option("-f, --format <template>", FORMAT_HELP)
    .option("--pretty", "Print the information in a human friendly format")
    .action(async (refs: readonly string[], options: { format?: string; pretty?: boolean }) => {
      const control = await context.control();
      await inspectObjects(context, {
        refs,
        format: options.format,
        get: async (ref) => wholeNode(await control.getNode({ ref: await nodeRef(context, ref) }, { signal })),
        json: nodeJson,
        pretty: options.pretty === true ? prettyNode : undefined,
      });
    });

  command
    .command("ps")
    .description("List tasks running on one or more nodes, defaults to current node")
    .argument("[node...]")
    .option("-f, --filter <filter>", "Filter output based on conditions provided (id, name, desired-state)", collect)
    .option("--format <template>", FORMAT_HELP)
    .option("--no-trunc", "Do not truncate output")
    .option("-q, --quiet", "Only display task IDs")
    .action((refs: readonly string[], options: Parameters<typeof listNodeTasks>[1]) =>
      listNodeTasks(context, { ...options, refs: refs.length === 0 ? ["self"] : refs }),
    );

  command
    .command("update")
    .description("Update a node")
    .argument("<node>")
    .option("--availability <mode>", "Availability of the node (active, pause, drain)")
    .option("--label-add <label>", "Add or update a node label (key=value)", collect)
    .option("--label-rm <key>", "Remove a node label if exists", collect)
    .option("--role <role>", "Role of the node (worker, manager)")
    .action((ref: string, options: Parameters<typeof updateNode>[2]) => updateNode(context, ref, options));

  command
    .command("promote")
    .description("Promote one or more nodes to manager in the cluster")
    .argument("<node...>")
    .action((refs: readonly string[]) => changeRoles(context, refs, "manager"));

  command
    .command("demote")
    .description("Demote one or more nodes from manager in the cluster")
    .argument("<node...>")
    .action((refs: readonly string[]) => changeRoles(context, refs, "worker"));

  command
    .command("rm")
    .alias("remove")
    .description("Remove one or more nodes from the cluster")
    .argument("<node...>")
    .option("-f, --force", "Force remove a node from the cluster")
    .action(async (refs: readonly string[], options: { force?: boolean }) => {
      const control = await context.control();
      await forEachRef(context, refs, async (ref) => {
        await control.removeNode({ ref, force: options.force === true }, { signal });
        print(context, ref);
      });
    });
}

/** "self" is the node the command runs on. */
export async function nodeRef(context: Context, ref: string): Promise<string> {
  if (ref !== "self") return ref;
  const info = await (await context.local()).info({}, { signal: context.signal });
  if (info.nodeId === "")
    throw new SwarmError(
      "FailedPrecondition",
      "this node is not part of a swarm; use 'tsswarm swarm init' or 'tsswarm swarm join' first",
    );
  return info.nodeId;
}
