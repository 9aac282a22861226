// The flags of `tsswarmd`.

import { isAbsolute } from "node:path";
import { Command, Option } from "commander";
import { SwarmError } from "../../proto/base/errors.ts";
import type { LogLevel } from "../../proto/base/log.ts";
import type { GenericResource } from "../../proto/gen/specs.ts";
import { parseNodeResources } from "../../proto/model/generic-resource.ts";
import { versionLine } from "../version.ts";

export interface DaemonOptions {
  readonly stateDir: string;
  readonly runDir: string;
  /** Path of the local socket. */
  readonly socket: string;
  /** ADDRESS[:PORT] others reach this node at; empty: to be chosen. */
  readonly advertiseAddr: string;
  readonly listenAddr: string;
  readonly cgroupParent: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Resources that only the operator knows. */
  readonly genericResources: readonly GenericResource[];
  readonly logLevel: LogLevel;
}

const RUN_DIR = "/run/tsswarm";

/** Reads a command line (without the program's name). Throws CommanderError or InvalidArgument. */
export function parseDaemonOptions(argv: readonly string[]): DaemonOptions {
  const command = new Command("tsswarmd")
    .description("The daemon of a tsswarm node: runs its containers and, on managers, the cluster")
    .version(versionLine("tsswarmd"), "-v, --version", "Print version information and quit")
    .option("--state-dir <folder>", "Where state is kept", "/var/lib/tsswarm")
    .option("--run-dir <folder>", "Where sockets live (short: their paths have at most 107 bytes)", RUN_DIR)
    .option("--socket <path>", `Socket for the command (default ${RUN_DIR}/tsswarmd.sock)`)
    .option("--listen-addr <address>", "Address for the other nodes (ADDRESS[:PORT])", "0.0.0.0:2377")
    .option("--advertise-addr <address>", "Address the other nodes reach this one at (ADDRESS[:PORT] or INTERFACE)", "")
    .option("--cgroup-parent <path>", "Parent of the containers' cgroups", "/tsswarm")
    .option(
      "--label <label>",
      "Engine label of this node (key=value)",
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option(
      "--node-generic-resource <resource>",
      "Resource that tasks can reserve (gpu=4, or single ones by name: gpu=UUID1)",
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .addOption(
      new Option("--log-level <level>", "What is logged").choices(["debug", "info", "warn", "error"]).default("info"),
    )
    .exitOverride()
    .parse(argv, { from: "user" });
  const given = command.opts<{
    stateDir: string;
    runDir: string;
    socket?: string;
    listenAddr: string;
    advertiseAddr: string;
    cgroupParent: string;
    label: readonly string[];
    nodeGenericResource: readonly string[];
    logLevel: LogLevel;
  }>();
  const { stateDir, runDir, listenAddr, advertiseAddr, cgroupParent, logLevel } = given;
  const socket = given.socket ?? `${runDir}/tsswarmd.sock`;
  for (const [flag, path] of Object.entries({
    "--state-dir": stateDir,
    "--run-dir": runDir,
    "--socket": socket,
    "--cgroup-parent": cgroupParent,
  })) {
    if (!isAbsolute(path)) throw new SwarmError("InvalidArgument", `${flag} ${path} must be an absolute path`);
  }
  const labels = labelsOf(given.label);
  const genericResources = parseNodeResources(given.nodeGenericResource);
  return { stateDir, runDir, socket, listenAddr, advertiseAddr, cgroupParent, labels, genericResources, logLevel };
}

function labelsOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf("=");
      if (at <= 0) throw new SwarmError("InvalidArgument", `invalid --label "${text}": it must be KEY=VALUE`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}
