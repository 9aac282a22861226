// The list-like flags: `--env` at create, `--env-add` and `--env-rm` at update. One table; an entry says how a value is read,
// where it is kept and by which key it is found again.

import type { Command } from "commander";
import { SwarmError } from "../../../proto/base/errors.ts";
import type { PortConfig, Ulimit } from "../../../proto/gen/specs.ts";
import type { WholeServiceSpec, WholeTaskSpec } from "../../../proto/model/objects.ts";
import { protocolName } from "../../docker/spec.ts";
import { collect, envFile, envOf, labelsOf } from "../options.ts";
import { AFFINITIES, GENERIC_RESOURCES, PLATFORMS, PREFERENCES } from "./flags-placement.ts";
import type { Given } from "./flags.ts";
import { parseMount } from "./parse-mount.ts";
import { parsePublish } from "./parse-port.ts";

type Shell = Readonly<Record<string, string | undefined>>;

export interface ListFlag<T> {
  /** The flag at create; update has NAME-add and NAME-rm. */
  readonly name: string;
  readonly short?: string;
  readonly help: string;
  readonly parse: (text: string, shell: Shell) => readonly T[];
  readonly get: (spec: WholeServiceSpec) => readonly T[];
  readonly set: (spec: WholeServiceSpec, items: readonly T[]) => WholeServiceSpec;
  /** Two entries with the same key are the same thing; -rm names it. */
  readonly key: (item: T) => string;
  /** Whether -rm's value names the item. Absent: it is the key. */
  readonly matches?: (item: T, text: string) => boolean;
}

/** A list flag with its items' type closed in. */
interface AnyListFlag {
  readonly name: string;
  readonly short: string | undefined;
  readonly help: string;
  readonly apply: (spec: WholeServiceSpec, change: ListChange) => WholeServiceSpec;
}

interface ListChange {
  readonly add: readonly string[];
  readonly remove: readonly string[];
  readonly shell: Shell;
}

function listFlag<T>(flag: ListFlag<T>): AnyListFlag {
  const matches = flag.matches ?? ((item, text) => flag.key(item) === text);
  return {
    name: flag.name,
    short: flag.short,
    help: flag.help,
    apply: (spec, { add, remove, shell }) => {
      if (add.length === 0 && remove.length === 0) return spec;
      const kept = flag.get(spec).filter((item) => !remove.some((text) => matches(item, text)));
      // A later entry takes the place of an earlier one with the same key.
      const byKey = new Map<string, T>();
      for (const item of [...kept, ...add.flatMap((text) => flag.parse(text, shell))]) byKey.set(flag.key(item), item);
      return flag.set(spec, [...byKey.values()]);
    },
  };
}

type ContainerList = {
  [K in keyof WholeTaskSpec["container"]]-?: WholeTaskSpec["container"][K] extends readonly string[] ? K : never;
}[keyof WholeTaskSpec["container"]];

const identity = (text: string): string => text;
const one = (text: string): readonly string[] => [text];
const withoutBlanks = (text: string): string => text.replace(/\s+/g, "");
const beforeEquals = (text: string): string => text.split("=", 1)[0] ?? "";

function container<K extends keyof WholeTaskSpec["container"]>(
  spec: WholeServiceSpec,
  key: K,
  value: WholeTaskSpec["container"][K],
): WholeServiceSpec {
  return { ...spec, task: { ...spec.task, container: { ...spec.task.container, [key]: value } } };
}

function textList(
  name: string,
  field: ContainerList,
  help: string,
  extra: Partial<ListFlag<string>> = {},
): ListFlag<string> {
  return {
    name,
    help,
    parse: one,
    get: (spec) => spec.task.container[field],
    set: (spec, items) => container(spec, field, items),
    key: identity,
    ...extra,
  };
}

type Pair = readonly [key: string, value: string];

function pairs(
  name: string,
  help: string,
  place: Pick<ListFlag<Pair>, "get" | "set">,
  extra: Partial<ListFlag<Pair>> = {},
): ListFlag<Pair> {
  return { name, help, parse: (text) => Object.entries(labelsOf([text])), key: ([key]) => key, ...place, ...extra };
}

function parseUlimit(text: string): readonly Ulimit[] {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (match === null) throw new SwarmError("InvalidArgument", `invalid ulimit "${text}": it must be NAME=SOFT[:HARD]`);
  const [, name = "", soft = "", hard] = match;
  return [{ name, soft: Number(soft), hard: Number(hard ?? soft) }];
}

/** "name:ip" as docker writes it, kept as "ip name" as /etc/hosts does. */
function parseHost(text: string): readonly string[] {
  const match = /^([^:=]+)[:=](.+)$/.exec(text);
  if (match === null) throw new SwarmError("InvalidArgument", `bad format for --host: "${text}": it must be HOST:IP`);
  return [`${(match[2] ?? "").replace(/^\[|\]$/g, "")} ${match[1] ?? ""}`];
}

const ENV = listFlag(
  textList("env", "env", "Environment variables", {
    short: "-e",
    parse: (text, shell) => envOf([text], shell),
    key: beforeEquals,
  }),
);

const LIST_FLAGS: readonly AnyListFlag[] = [
  ENV,
  listFlag(
    pairs(
      "label",
      "Service labels",
      {
        get: (spec) => Object.entries(spec.labels),
        set: (spec, items) => ({ ...spec, labels: Object.fromEntries(items) }),
      },
      { short: "-l" },
    ),
  ),
  listFlag(
    pairs("container-label", "Container labels", {
      get: (spec) => Object.entries(spec.task.container.labels),
      set: (spec, items) => container(spec, "labels", Object.fromEntries(items)),
    }),
  ),
  listFlag(
    pairs("sysctl", "Sysctl options", {
      get: (spec) => Object.entries(spec.task.container.sysctls),
      set: (spec, items) => container(spec, "sysctls", Object.fromEntries(items)),
    }),
  ),
  listFlag<string>({
    name: "constraint",
    help: "Placement constraints",
    parse: one,
    get: (spec) => spec.task.placement.constraints,
    set: (spec, constraints) => ({
      ...spec,
      task: { ...spec.task, placement: { ...spec.task.placement, constraints } },
    }),
    key: withoutBlanks,
    matches: (item, text) => withoutBlanks(item) === withoutBlanks(text),
  }),
  listFlag(PREFERENCES),
  listFlag(PLATFORMS),
  listFlag(AFFINITIES),
  listFlag(GENERIC_RESOURCES),
  listFlag({
    name: "mount",
    help: "Attach a filesystem mount to the service",
    parse: (text) => [parseMount(text)],
    get: (spec) => spec.task.container.mounts,
    set: (spec, items) => container(spec, "mounts", items),
    key: (mount) => mount.target,
  }),
  listFlag<PortConfig>({
    name: "publish",
    short: "-p",
    help: "Publish a port (mode=host)",
    parse: parsePublish,
    get: (spec) => spec.endpoint.ports,
    set: (spec, ports) => ({ ...spec, endpoint: { ...spec.endpoint, ports } }),
    key: (port) => `${port.publishedPort}:${port.targetPort}/${protocolName(port.protocol)}/${port.publishMode}`,
    // As docker: by the port inside, whatever it is published as.
    matches: (port, text) => [`${port.targetPort}`, `${port.targetPort}/${protocolName(port.protocol)}`].includes(text),
  }),
  listFlag<Ulimit>({
    name: "ulimit",
    help: "Ulimit options",
    parse: parseUlimit,
    get: (spec) => spec.task.container.ulimits,
    set: (spec, items) => container(spec, "ulimits", items),
    key: (limit) => limit.name,
  }),
  listFlag(
    textList("host", "hosts", "Set one or more custom host-to-IP mappings (host:ip)", {
      parse: parseHost,
      matches: (item, text) => item === parseHost(text)[0],
    }),
  ),
  listFlag(textList("dns", "dnsServers", "Set custom DNS servers")),
  listFlag(textList("dns-search", "dnsSearch", "Set custom DNS search domains")),
  listFlag(textList("dns-option", "dnsOptions", "Set DNS options")),
  listFlag(textList("group", "groups", "Set one or more supplementary user groups for the container")),
  listFlag(
    textList("cap-add", "capabilityAdd", "Add Linux capabilities", {
      key: (text) => text.toUpperCase().replace(/^CAP_/, ""),
    }),
  ),
  listFlag(
    textList("cap-drop", "capabilityDrop", "Drop Linux capabilities", {
      key: (text) => text.toUpperCase().replace(/^CAP_/, ""),
    }),
  ),
];

export function addListFlags(command: Command, verb: "create" | "update"): Command {
  for (const { name, short, help } of LIST_FLAGS) {
    if (verb === "create" || name.startsWith("cap-")) {
      command.option(`${short === undefined || verb === "update" ? "" : `${short}, `}--${name} <value>`, help, collect);
    } else {
      command.option(`--${name}-add <value>`, `Add or update: ${help}`, collect);
      command.option(`--${name}-rm <value>`, `Remove: ${help}`, collect);
    }
  }
  if (verb === "create") command.option("--env-file <file>", "Read in a file of environment variables", collect);
  return command;
}

/** The spec with the list flags of create or update applied. Throws InvalidArgument. */
export function applyListFlags(spec: WholeServiceSpec, given: Given, shell: Shell): WholeServiceSpec {
  const fromFiles = strings(given["envFile"]).flatMap((path) => envFile(path, shell));
  const start = ENV.apply(spec, { add: fromFiles, remove: [], shell });
  return LIST_FLAGS.reduce((changed, flag) => {
    const name = camel(flag.name);
    const add = [...strings(given[name]), ...strings(given[`${name}Add`])];
    return flag.apply(changed, { add, remove: strings(given[`${name}Rm`]), shell });
  }, start);
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function camel(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
