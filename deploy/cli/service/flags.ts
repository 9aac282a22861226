// The flags of `service create` and `service update` that set one thing each, and what they set. Both verbs read this table;
// list-like flags (which update has as -add and -rm) are in list-flags.ts.

import type { Command } from "commander";
import { SwarmError } from "../../../proto/base/errors.ts";
import { parseBytes, parseCpus, parseDuration } from "../../../proto/base/units.ts";
import { RestartPolicy_Condition } from "../../../proto/gen/specs.ts";
import type { WholeServiceSpec, WholeTaskSpec } from "../../../proto/model/objects.ts";
import { addSwitch, wholeNumber } from "../options.ts";
import { CONTAINER_FLAGS, addContainerFlags, withoutHealth } from "./flags-container.ts";
import { MODE_FLAGS } from "./flags-mode.ts";
import { STRATEGY } from "./flags-placement.ts";
import { UPDATE_FLAGS } from "./flags-update.ts";

type Change = (spec: WholeServiceSpec, value: string) => WholeServiceSpec;

export interface Flag {
  /** As commander writes it: "--limit-cpu <decimal>". */
  readonly flag: string;
  readonly help: string;
  readonly set: Change;
}

const COUNT_MAX = 4_294_967_295;

/** A change of the container alone. */
export function inContainer(set: (value: string) => Partial<WholeTaskSpec["container"]>): Change {
  return (spec, value) => ({ ...spec, task: { ...spec.task, container: { ...spec.task.container, ...set(value) } } });
}

function inTask<K extends "limits" | "reservations" | "restart" | "placement">(
  key: K,
  set: (value: string) => Partial<WholeTaskSpec[K]>,
): Change {
  return (spec, value) => ({ ...spec, task: { ...spec.task, [key]: { ...spec.task[key], ...set(value) } } });
}

function conditionOf(text: string): RestartPolicy_Condition {
  switch (text.toLowerCase()) {
    case "any":
      return RestartPolicy_Condition.ANY;
    case "on-failure":
      return RestartPolicy_Condition.ON_FAILURE;
    case "none":
      return RestartPolicy_Condition.NONE;
    default:
      throw new SwarmError(
        "InvalidArgument",
        `invalid restart condition "${text}", only none, on-failure and any are supported`,
      );
  }
}

function noNewPrivileges(option: string): boolean {
  const match = /^no-new-privileges(?:[:=](true|false))?$/.exec(option);
  if (match === null)
    throw new SwarmError("InvalidArgument", `invalid --security-opt "${option}": only no-new-privileges is supported`);
  return match[1] !== "false";
}

/** 0 is "take the limit away". */
const cpus = (value: string): { nanoCpus: number } => ({ nanoCpus: value === "0" ? 0 : parseCpus(value) });
const memory = (value: string): { memoryBytes: number } => ({ memoryBytes: value === "0" ? 0 : parseBytes(value) });
const count = (flag: string) => (value: string) => wholeNumber(value, { flag, min: 0, max: COUNT_MAX });

const VALUE_FLAGS: readonly Flag[] = [
  ...MODE_FLAGS,
  { flag: "--hostname <string>", help: "Container hostname", set: inContainer((hostname) => ({ hostname })) },
  {
    flag: "-w, --workdir <string>",
    help: "Working directory inside the container",
    set: inContainer((dir) => ({ dir })),
  },
  {
    flag: "-u, --user <string>",
    help: "Username or UID (format: <name|uid>[:<group|gid>])",
    set: inContainer((user) => ({ user })),
  },
  {
    flag: "--entrypoint <command>",
    help: "Overwrite the default ENTRYPOINT of the image",
    set: inContainer((text) => ({ command: splitWords(text) })),
  },
  {
    flag: "--security-opt <option>",
    help: "Security options (no-new-privileges)",
    set: inContainer((option) => ({ noNewPrivileges: noNewPrivileges(option) })),
  },
  {
    flag: "--stop-signal <string>",
    help: "Signal to stop the container",
    set: inContainer((stopSignal) => ({ stopSignal })),
  },
  {
    flag: "--stop-grace-period <duration>",
    help: "Time to wait before force killing a container (ns|us|ms|s|m|h) (default 10s)",
    set: inContainer((value) => ({ stopGraceMs: parseDuration(value) })),
  },
  { flag: "--limit-cpu <decimal>", help: "Limit CPUs", set: inTask("limits", cpus) },
  { flag: "--limit-memory <bytes>", help: "Limit Memory", set: inTask("limits", memory) },
  {
    flag: "--limit-pids <number>",
    help: "Limit maximum number of processes (default 0 = unlimited)",
    set: inTask("limits", (value) => ({ pids: count("--limit-pids")(value) })),
  },
  { flag: "--reserve-cpu <decimal>", help: "Reserve CPUs", set: inTask("reservations", cpus) },
  { flag: "--reserve-memory <bytes>", help: "Reserve Memory", set: inTask("reservations", memory) },
  {
    flag: "--replicas-max-per-node <number>",
    help: "Maximum number of tasks per node (default 0 = unlimited)",
    set: inTask("placement", (value) => ({ maxReplicasPerNode: count("--replicas-max-per-node")(value) })),
  },
  STRATEGY,
  {
    flag: "--restart-condition <condition>",
    help: 'Restart when condition is met ("none", "on-failure", "any") (default "any")',
    set: inTask("restart", (value) => ({ condition: conditionOf(value) })),
  },
  {
    flag: "--restart-delay <duration>",
    help: "Delay between restart attempts (ns|us|ms|s|m|h) (default 5s)",
    set: inTask("restart", (value) => ({ delayMs: parseDuration(value) })),
  },
  {
    flag: "--restart-max-attempts <number>",
    help: "Maximum number of restarts before giving up",
    set: inTask("restart", (value) => ({ maxAttempts: count("--restart-max-attempts")(value) })),
  },
  {
    flag: "--restart-window <duration>",
    help: "Window used to evaluate the restart policy (ns|us|ms|s|m|h)",
    set: inTask("restart", (value) => ({ windowMs: parseDuration(value) })),
  },
  ...CONTAINER_FLAGS,
  ...UPDATE_FLAGS,
];

const SWITCHES: readonly (Omit<Flag, "set"> & {
  readonly set: (on: boolean) => Partial<WholeTaskSpec["container"]>;
})[] = [
  {
    flag: "--read-only",
    help: "Mount the container's root filesystem as read only",
    set: (readOnly) => ({ readOnly }),
  },
  { flag: "-t, --tty", help: "Allocate a pseudo-TTY", set: (tty) => ({ tty }) },
  {
    flag: "--init",
    help: "Use an init inside each service container to forward signals and reap processes",
    set: (init) => ({ init }),
  },
];

/** What commander made of the flags: the camel-cased long name to its value. */
export type Given = Readonly<Record<string, unknown>>;

export function addFlags(command: Command): Command {
  for (const { flag, help } of VALUE_FLAGS) command.option(flag, help);
  for (const { flag, help } of SWITCHES) addSwitch(command, { flag, help });
  return addContainerFlags(command);
}

/** The spec with every given flag set. Throws InvalidArgument naming the flag's value. */
export function applyFlags(spec: WholeServiceSpec, given: Given): WholeServiceSpec {
  let changed = spec;
  for (const { flag, set } of VALUE_FLAGS) {
    const value = given[nameOf(flag)];
    if (typeof value === "string") changed = set(changed, value);
  }
  for (const { flag, set } of SWITCHES) {
    const value = given[nameOf(flag)];
    if (typeof value === "boolean") changed = inContainer(() => set(value))(changed, "");
  }
  return withoutHealth(changed, given);
}

/** "--limit-cpu <decimal>" as commander stores it: "limitCpu". */
function nameOf(flag: string): string {
  const long = /--([a-z-]+)/.exec(flag)?.[1] ?? "";
  return long.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A command line's words: blanks part them, quotes and backslashes keep blanks. Throws InvalidArgument for an open quote. */
export function splitWords(text: string): readonly string[] {
  const words: string[] = [];
  const pattern = /\s*((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+)/y;
  let position = 0;
  while (text.slice(position).trim() !== "") {
    pattern.lastIndex = position;
    const match = pattern.exec(text);
    if (match?.[1] === undefined)
      throw new SwarmError("InvalidArgument", `invalid command "${text}": a quote is not closed`);
    words.push(unquote(match[1]));
    position = pattern.lastIndex;
  }
  return words;
}

function unquote(word: string): string {
  return word.replace(
    /"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/g,
    (_, double?: string, single?: string, escaped?: string) =>
      double !== undefined ? double.replace(/\\(["\\$`])/g, "$1") : (single ?? escaped ?? ""),
  );
}
