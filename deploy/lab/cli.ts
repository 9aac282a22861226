// `tsswarm lab`: a whole cluster on this machine, each node a network namespace with its own daemon, to try things and to
// break them.

import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Option, type Command } from "commander";
import { SwarmError } from "../../proto/base/errors.ts";
import { humanDuration, parseDuration } from "../../proto/base/units.ts";
import { type Context, print } from "../cli/context.ts";
import { formatList } from "../cli/format/list.ts";
import { collect, wholeNumber } from "../cli/options.ts";
import { untilUp } from "./cluster.ts";
import { type Lab, MANAGERS_MAX, NODES_MAX, listLabs, nodeOf, placesOf, planLab, readLab } from "./lab.ts";
import { type Direction, cutNode, healNode } from "./network.ts";
import { BIN_DIR, daemonPid, forgetPid, killDaemon, powerOff, startDaemon } from "./process.ts";
import { labDown, labUp } from "./up-down.ts";

interface Named {
  readonly name: string;
}

interface UpOptions extends Named {
  readonly managers: string;
  readonly workers: string;
  readonly dispatcherHeartbeat?: string;
  readonly nodeGenericResource?: readonly string[];
}

export function addLab(command: Command, context: Context): void {
  const { signal } = context;
  const named = (verb: Command): Command => verb.option("--name <name>", "Name of the lab", "lab");
  /** A verb on one node. */
  const onNode = (name: string, description: string, act: (lab: Lab, node: string) => Promise<void>): void => {
    named(command.command(name).description(description).argument("<node>")).action(
      async (node: string, options: Named) => {
        const lab = await readLab(options.name);
        await act(lab, nodeOf(lab, node).name);
      },
    );
  };

  named(command.command("up").description("Make a cluster of nodes on this machine"))
    .option("--managers <number>", "Number of managers", "1")
    .option("--workers <number>", "Number of workers", "2")
    .option(
      "--dispatcher-heartbeat <duration>",
      "Heartbeat period of the nodes; down after three are missed (default 5s)",
    )
    .option(
      "--node-generic-resource <resource>",
      "What the nodes declare beside their machine ([NODE:]gpu=4, [NODE:]gpu=UUID1)",
      collect,
    )
    .action(async (options: UpOptions) => {
      mustBeRoot();
      const managers = wholeNumber(options.managers, { flag: "--managers", min: 1, max: MANAGERS_MAX });
      const workers = wholeNumber(options.workers, { flag: "--workers", min: 0, max: NODES_MAX });
      const heartbeat = options.dispatcherHeartbeat;
      const heartbeatPeriodMs = heartbeat === undefined ? undefined : parseDuration(heartbeat);
      const lab = planLab({
        name: options.name,
        managers,
        workers,
        nowMs: context.now(),
        heartbeatPeriodMs,
        genericResources: options.nodeGenericResource,
      });
      await labUp(lab, signal);
      const flag = options.name === "lab" ? "" : ` --name ${options.name}`;
      print(
        context,
        `Lab "${lab.name}" is up: ${lab.nodes.map((node) => `${node.name} (${node.address})`).join(", ")}.`,
      );
      print(context, `Try: tsswarm lab exec${flag} m1 -- tsswarm node ls`);
    });

  command
    .command("ls")
    .alias("list")
    .description("List labs and their nodes")
    .action(async () => {
      const rows = (await listLabs()).flatMap((lab) =>
        lab.nodes.map((node) => {
          const pid = daemonPid(lab, node.name);
          return {
            Lab: lab.name,
            Node: node.name,
            Role: node.role,
            Address: node.address,
            Daemon: pid === undefined ? "stopped" : `running (${pid})`,
            Created: `${humanDuration(context.now() - lab.createdAtMs)} ago`,
          };
        }),
      );
      const columns = ["Lab", "Node", "Role", "Address", "Daemon", "Created"].map(
        (field) => [field.toUpperCase(), field] as const,
      );
      context.stdout.write(formatList({ rows, columns, id: "Node" }, {}));
    });

  named(
    command.command("exec").description("Run a command on a node (in its network, with tsswarm talking to its daemon)"),
  )
    .argument("<node>")
    .argument("<command...>")
    .passThroughOptions()
    .action(async (node: string, words: readonly string[], options: Named) => {
      const lab = await readLab(options.name);
      const command = words[0] === "--" ? words.slice(1) : words;
      await execOn(context, { lab, node: nodeOf(lab, node).name, words: command });
    });

  onNode("kill", "Kill a node's daemon (-9) and nothing else", killDaemon);
  onNode("power-off", "End daemon, shims and containers of a node at once", powerOff);
  onNode("start", "Start a node's daemon again", async (lab, name) => {
    await forgetPidIfDead(lab, name);
    await startDaemon(lab, nodeOf(lab, name));
    await untilUp(lab, nodeOf(lab, name), signal);
  });
  onNode("heal", "Mend a node's cable", (lab, node) => healNode(lab, node, signal));
  onNode("logs", "Show the log of a node's daemon", async (lab, node) => {
    await pipeline(createReadStream(placesOf(lab.name, node).log), context.stdout, { end: false, signal });
  });

  named(command.command("cut").description("Cut a node's cable: nothing passes, and nobody is told"))
    .argument("<node>")
    .addOption(new Option("--direction <direction>", "What is lost").choices(["in", "out", "both"]).default("both"))
    .action(async (node: string, options: Named & { direction: Direction }) => {
      const lab = await readLab(options.name);
      await cutNode(lab, { node: nodeOf(lab, node).name, direction: options.direction }, signal);
    });

  named(command.command("down").description("Take a lab down; nothing of it is left"))
    .option("--all", "Take all labs down")
    .action(async (options: Named & { all?: boolean }) => {
      const labs = options.all === true ? await listLabs() : [await readLab(options.name)];
      for (const lab of labs) {
        await labDown(lab, signal);
        print(context, `Lab "${lab.name}" is down.`);
      }
    });
}

async function forgetPidIfDead(lab: Lab, node: string): Promise<void> {
  if (daemonPid(lab, node) === undefined) await forgetPid(lab, node);
}

function mustBeRoot(): void {
  if (process.getuid?.() !== 0)
    throw new SwarmError(
      "PermissionDenied",
      "a lab needs root (it makes namespaces, cgroups and containers): run it again with sudo",
    );
}

/** Runs the command with this terminal, in this working directory, and ends with its exit status. */
async function execOn(
  context: Context,
  request: { readonly lab: Lab; readonly node: string; readonly words: readonly string[] },
): Promise<void> {
  const places = placesOf(request.lab.name, request.node);
  const env = {
    ...context.env,
    TSSWARM_HOST: `unix://${places.socket}`,
    PATH: `${BIN_DIR}:${context.env["PATH"] ?? "/usr/bin:/bin"}`,
  };
  const child = spawn("nsenter", [`--net=/run/netns/${places.netns}`, "--", ...request.words], {
    stdio: "inherit",
    env,
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    // A signal from the terminal reaches the child by itself; its end is the answer.
    child.on("close", (exitCode, exitSignal) => resolve(exitCode ?? (exitSignal === null ? 1 : 128)));
  });
  context.exit(code);
}
