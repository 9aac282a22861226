// `tsswarm service`: what people deploy.

import type { Command } from "commander";
import { SwarmError } from "../../../proto/base/errors.ts";
import { type WholeService, wholeService } from "../../../proto/model/objects.ts";
import { serviceJson } from "../../docker/objects.ts";
import { type Context, print } from "../context.ts";
import { inspectObjects } from "../inspect.ts";
import { FORMAT_HELP, collect, filtersOf, wholeNumber } from "../options.ts";
import { forEachRef } from "../refs.ts";
import { createService } from "./create.ts";
import { type Given, addFlags } from "./flags.ts";
import { MODE_FLAG, MODE_HELP, withReplicas } from "./flags-mode.ts";
import { addListFlags } from "./list-flags.ts";
import { type LogsFlags, showLogs } from "./logs.ts";
import { listServices } from "./ls.ts";
import { detachable } from "./options.ts";
import { prettyService } from "./pretty.ts";
import { PLAN_HELP } from "./plan.ts";
import { converge } from "./progress.ts";
import { addRevisions } from "./revisions.ts";
import { addSteering } from "./steer.ts";
import { type TaskListOptions, printTasks } from "./tasks.ts";
import { updateService } from "./update.ts";

export function addService(command: Command, context: Context): void {
  const { signal } = context;

  addListFlags(addFlags(detachable(command.command("create").description("Create a new service"))), "create")
    .option("--name <name>", "Service name")
    .option(MODE_FLAG, MODE_HELP)
    .option("--plan", PLAN_HELP)
    .option("-q, --quiet", "Suppress progress output")
    .argument("<image>")
    .argument("[command...]")
    .passThroughOptions()
    .action((image: string, args: readonly string[], options: Given) =>
      createService(context, { image, args, given: options }),
    );

  addListFlags(addFlags(detachable(command.command("update").description("Update a service"))), "update")
    .option("--image <image>", "Service image tag")
    .option("--args <command>", "Service command args")
    .option("--force", "Force update even if no changes require it")
    .option("--plan", PLAN_HELP)
    .option("--rollback", "Rollback to previous specification")
    .option("--canary <number>", "Update so many tasks and then wait for `service promote`")
    .option("-q, --quiet", "Suppress progress output")
    .argument("<service>")
    .action((ref: string, options: Given) => updateService(context, ref, options));

  command
    .command("ls")
    .alias("list")
    .description("List services")
    .option("-f, --filter <filter>", "Filter output based on conditions provided (id, label, mode, name)", collect)
    .option("--format <template>", FORMAT_HELP)
    .option("-q, --quiet", "Only display IDs")
    .action((options: Parameters<typeof listServices>[1]) => listServices(context, options));

  command
    .command("ps")
    .description("List the tasks of one or more services")
    .option(
      "-f, --filter <filter>",
      "Filter output based on conditions provided (id, name, node, desired-state)",
      collect,
    )
    .option("--format <template>", FORMAT_HELP)
    .option("--no-trunc", "Do not truncate output")
    .option("-q, --quiet", "Only display task IDs")
    .argument("<service...>")
    .action(async (refs: readonly string[], options: TaskListOptions) => {
      const control = await context.control();
      const services: string[] = [];
      await forEachRef(context, refs, async (ref) => {
        services.push((await control.getService({ ref }, { signal })).id);
      });
      if (services.length === 0) return;
      const filters = [...filtersOf(options.filter), { key: "service", values: services }];
      const { tasks } = await control.listTasks({ filters }, { signal });
      await printTasks(context, tasks, options);
    });

  command
    .command("inspect")
    .description("Display detailed information on one or more services")
    .option("-f, --format <template>", FORMAT_HELP)
    .option("--pretty", "Print the information in a human friendly format")
    .argument("<service...>")
    .action(async (refs: readonly string[], options: { format?: string; pretty?: boolean }) => {
      const control = await context.control();
      await inspectObjects<WholeService>(context, {
        refs,
        format: options.format,
        get: async (ref) => wholeService(await control.getService({ ref }, { signal })),
        json: serviceJson,
        pretty: options.pretty === true ? (service) => prettyService(service, context.now()) : undefined,
      });
    });

  detachable(command.command("scale").description("Scale one or multiple replicated services"))
    .argument("<service=replicas...>")
    .action(async (pairs: readonly string[], options: { detach?: boolean }) => scale(context, pairs, options));

  command
    .command("logs")
    .description("Fetch the logs of a service or task")
    .option("-f, --follow", "Follow log output")
    .option("-n, --tail <lines>", "Number of lines to show from the end of the logs", "all")
    .option(
      "--since <time>",
      "Show logs since timestamp (e.g. 2026-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
    )
    .option("-t, --timestamps", "Show timestamps")
    .option("--raw", "Do not neatly format logs")
    .option("--no-task-ids", "Do not include task IDs in output")
    .option("--no-trunc", "Do not truncate output")
    .option("--no-resolve", "Do not map IDs to Names in output")
    .argument("<service|task>")
    .action((ref: string, options: LogsFlags) => showLogs(context, ref, options));

  addRevisions(command, context);
  addSteering(command, context);

  command
    .command("rm")
    .alias("remove")
    .description("Remove one or more services")
    .argument("<service...>")
    .action(async (refs: readonly string[]) => {
      const control = await context.control();
      await forEachRef(context, refs, async (ref) => {
        await control.removeService({ ref }, { signal });
        print(context, ref);
      });
    });
}

async function scale(
  context: Context,
  pairs: readonly string[],
  options: { readonly detach?: boolean },
): Promise<void> {
  const { signal } = context;
  const wanted = pairs.map((text) => {
    const at = text.indexOf("=");
    if (at <= 0)
      throw new SwarmError("InvalidArgument", `invalid scale specifier '${text}': it must be SERVICE=REPLICAS`);
    return {
      ref: text.slice(0, at),
      replicas: wholeNumber(text.slice(at + 1), { flag: "replicas", min: 0, max: 4_294_967_295 }),
    };
  });
  const control = await context.control();
  const scaled: string[] = [];
  await forEachRef(
    context,
    wanted.map(({ ref }) => ref),
    async (ref) => {
      const replicas = wanted.find((each) => each.ref === ref)?.replicas ?? 0;
      const service = wholeService(await control.getService({ ref }, { signal }));
      const refusal = "scale can only be used with replicated or replicated-job mode";
      const spec = { ...service.spec, mode: withReplicas(service.spec.mode, replicas, refusal) };
      await control.updateService({ id: service.id, version: service.meta.version, spec }, { signal });
      print(context, `${ref} scaled to ${replicas}`);
      scaled.push(service.id);
    },
  );
  if (options.detach === true) return;
  for (const id of scaled) await converge(context, { serviceId: id, quiet: false });
}
