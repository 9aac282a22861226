// The command `tsswarm`. It knows the nouns by name and loads only the one it is asked for, so that it answers at once; no
// code of the daemon is ever loaded.

import { Command, CommanderError } from "commander";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import { VERSION } from "../version.ts";
import type { Connection } from "./connection.ts";
import { type Context, socketPath } from "./context.ts";
import { plainSwitches } from "./options.ts";

/** Adds a noun's verbs to its command. */
export type AddVerbs = (command: Command, context: Context) => void;

interface Noun {
  readonly name: string;
  readonly description: string;
  readonly load: () => Promise<AddVerbs>;
}

const NOUNS: readonly Noun[] = [
  { name: "swarm", description: "Manage the cluster", load: async () => (await import("./swarm/swarm.ts")).addSwarm },
  {
    name: "node",
    description: "Manage the cluster's nodes",
    load: async () => (await import("./node/node.ts")).addNode,
  },
  {
    name: "service",
    description: "Manage services",
    load: async () => (await import("./service/service.ts")).addService,
  },
  {
    name: "image",
    description: "Manage this node's images",
    load: async () => (await import("./image/image.ts")).addImage,
  },
  {
    name: "exec",
    description: "Execute a command in a running task, wherever it runs",
    load: async () => (await import("./exec/exec.ts")).addExec,
  },
  {
    name: "why",
    description: "Say why a task or a service does not run, or where it does",
    load: async () => (await import("./why.ts")).addWhy,
  },
  {
    name: "info",
    description: "Display information about this node and its cluster",
    load: async () => (await import("./system/info.ts")).addInfo,
  },
  {
    name: "system",
    description: "Back up and restore the cluster's state",
    load: async () => (await import("./system/system.ts")).addSystem,
  },
  {
    name: "version",
    description: "Show the versions of the command and the daemon",
    load: async () => (await import("./system/version.ts")).addVersion,
  },
  {
    name: "doctor",
    description: "Check that this machine can run containers",
    load: async () => (await import("../doctor/doctor.ts")).addDoctor,
  },
  {
    name: "lab",
    description: "Try a whole cluster on this one machine",
    load: async () => (await import("../lab/cli.ts")).addLab,
  },
];

/** Exit status of a command that was not understood, as docker's. */
const USAGE_EXIT = 125;

/** The socket that -H names, read before anything is parsed: the verbs are built with their context at hand. */
function hostOption(argv: readonly string[]): string | undefined {
  const index = argv.findIndex((word) => word === "-H" || word === "--host" || word.startsWith("--host="));
  if (index < 0) return undefined;
  const word = argv[index];
  return word?.startsWith("--host=") === true ? word.slice("--host=".length) : argv[index + 1];
}

/** The first word that is neither a global flag nor its value. */
function nounOf(argv: readonly string[]): string | undefined {
  return argv.find((word, index) => !word.startsWith("-") && !["-H", "--host"].includes(argv[index - 1] ?? ""));
}

async function buildProgram(argv: readonly string[], context: Context): Promise<Command> {
  const program = new Command("tsswarm");
  program
    .description("Run containers on a cluster of machines")
    .version(`tsswarm version ${VERSION}`, "-v, --version", "Print version information and quit")
    .option("-H, --host <socket>", "Daemon socket to connect to (unix:///run/tsswarm/tsswarmd.sock)")
    .enablePositionalOptions()
    .exitOverride();
  const wanted = nounOf(argv);
  for (const noun of NOUNS) {
    const command = program.command(noun.name).description(noun.description).helpOption("--help", "Show this help");
    command.exitOverride();
    if (noun.name === wanted) (await noun.load())(command, context);
  }
  return program;
}

/** The context of this process. The connection is made by the first verb that needs one. */
function openContext(
  host: string | undefined,
  signal: AbortSignal,
): { readonly context: Context; readonly close: () => void } {
  let connection: Promise<Connection> | undefined;
  const connect = (): Promise<Connection> =>
    (connection ??= import("./connection.ts").then((module) =>
      module.openConnection(socketPath({ host, env: process.env })),
    ));
  const context: Context = {
    local: async () => (await connect()).local,
    control: async () => (await connect()).control,
    signal,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    now: () => Date.now(),
    exit: (code) => {
      process.exitCode = code;
    },
  };
  return { context, close: () => void connection?.then((open) => open.close()) };
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_EXIT;
  if (isSwarmError(error, "Cancelled")) return 130;
  const before = isSwarmError(error) && error.details["from"] === "daemon" ? "Error response from daemon: " : "";
  process.stderr.write(`${before}${errorText(error)}\n`);
  const unforeseen = !isSwarmError(error) || error.code === "Internal";
  if (unforeseen && process.env["TSSWARM_DEBUG"] !== undefined)
    process.stderr.write(`${(error as Error).stack ?? ""}\n`);
  return 1;
}

const interrupt = new AbortController();
const stop = (): void => interrupt.abort(new SwarmError("Cancelled", "interrupted"));
process.on("SIGINT", stop);
process.on("SIGTERM", stop);
// A reader that goes away (`| head`) ends the command quietly.
process.stdout.on("error", () => process.exit(0));

const argv = plainSwitches(process.argv.slice(2));
const { context, close } = openContext(hostOption(argv), interrupt.signal);
try {
  const program = await buildProgram(argv, context);
  if (argv.length === 0) program.outputHelp();
  else await program.parseAsync(argv, { from: "user" });
} catch (error) {
  process.exitCode = report(error);
} finally {
  close();
  process.removeListener("SIGINT", stop);
  process.removeListener("SIGTERM", stop);
}
