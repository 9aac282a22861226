// The flags of `service create` and `service update` that say how a container is watched and treated: its health check, its init,
// and what it may do with memory. And docker's flags for what does not exist here, which say so.

import { type Command, Option } from "commander";
import { SwarmError } from "../../../proto/base/errors.ts";
import { parseBytes, parseDuration } from "../../../proto/base/units.ts";
import type { HealthConfig, Resources } from "../../../proto/gen/specs.ts";
import type { WholeServiceSpec } from "../../../proto/model/objects.ts";
import { wholeNumber } from "../options.ts";
import type { Flag } from "./flags.ts";

const RETRIES_MAX = 1_000_000;
const NONE = "NONE";

/** A change of the check; one that was taken away is there again with the image's command. */
function inHealth(set: (value: string) => Partial<HealthConfig>): Flag["set"] {
  return (spec, value) => {
    const { healthcheck } = spec.task.container;
    const test = healthcheck === undefined || healthcheck.test[0] === NONE ? [] : healthcheck.test;
    return withHealth(spec, { ...healthcheck, test, ...set(value) });
  };
}

/** A check that says nothing is none: the image's. */
function withHealth(spec: WholeServiceSpec, config: HealthConfig): WholeServiceSpec {
  const said = Object.entries(config).filter(([, value]) => value !== undefined);
  const bare = config.test.length === 0 && said.length === 1;
  const healthcheck = bare ? undefined : (Object.fromEntries(said) as unknown as HealthConfig);
  return { ...spec, task: { ...spec.task, container: { ...spec.task.container, healthcheck } } };
}

/** 0 is "what the image says". */
const orImage = (value: number): number | undefined => (value === 0 ? undefined : value);
const duration = (value: string): number | undefined => orImage(parseDuration(value));

function inLimits(set: (value: string) => Partial<Resources>): Flag["set"] {
  return (spec, value) => ({
    ...spec,
    task: { ...spec.task, limits: { ...spec.task.limits, ...set(value) } },
  });
}

export const CONTAINER_FLAGS: readonly Flag[] = [
  {
    flag: "--health-cmd <command>",
    help: "Command to run to check health",
    set: inHealth((line) => ({ test: line === "" ? [] : ["CMD-SHELL", line] })),
  },
  {
    flag: "--health-interval <duration>",
    help: "Time between running the check (ms|s|m|h) (default 30s)",
    set: inHealth((value) => ({ intervalMs: duration(value) })),
  },
  {
    flag: "--health-timeout <duration>",
    help: "Maximum time to allow one check to run (ms|s|m|h) (default 30s)",
    set: inHealth((value) => ({ timeoutMs: duration(value) })),
  },
  {
    flag: "--health-retries <number>",
    help: "Consecutive failures needed to report unhealthy (default 3)",
    set: inHealth((value) => ({
      retries: orImage(wholeNumber(value, { flag: "--health-retries", min: 0, max: RETRIES_MAX })),
    })),
  },
  {
    flag: "--health-start-period <duration>",
    help: "Start period for the container to initialize before counting retries towards unstable (ms|s|m|h)",
    set: inHealth((value) => ({ startPeriodMs: duration(value) })),
  },
  {
    flag: "--health-start-interval <duration>",
    help: "Time between running the check during the start period (ms|s|m|h) (default 5s)",
    set: inHealth((value) => ({ startIntervalMs: duration(value) })),
  },
  {
    flag: "--oom-score-adj <number>",
    help: "Tune host's OOM preferences (-1000 to 1000)",
    set: (spec, value) => {
      const oomScoreAdj = wholeNumber(value, { flag: "--oom-score-adj", min: -1_000, max: 1_000 });
      return { ...spec, task: { ...spec.task, container: { ...spec.task.container, oomScoreAdj } } };
    },
  },
  {
    flag: "--memory-swap <bytes>",
    help: "Memory and swap together (-1 for unlimited swap; default twice the memory limit)",
    set: inLimits((value) => ({
      memorySwapBytes: value === "-1" ? -1 : orImage(value === "0" ? 0 : parseBytes(value)),
    })),
  },
  {
    flag: "--memory-swappiness <number>",
    help: "Tune memory swappiness (0-100, -1 to reset to default)",
    set: inLimits((value) => {
      const percent = wholeNumber(value, { flag: "--memory-swappiness", min: -1, max: 100 });
      return { memorySwappiness: percent < 0 ? undefined : percent };
    }),
  },
];

/** Docker's flags for things that are not here, and why. Update has the first ones as -add and -rm. */
const ABSENT_LISTS: Readonly<Record<string, string>> = {
  config: "configs do not exist yet; bind mount a file that every node has, or use --env",
  network: "overlay networks do not exist yet; publish ports with --publish mode=host",
  secret: "secrets do not exist yet; bind mount a file that every node has",
};
const ABSENT: Readonly<Record<string, string>> = {
  "credential-spec": "credential specs are for Windows containers, and all nodes run Linux",
  isolation: "isolation modes are for Windows containers, and all nodes run Linux",
};

export function addContainerFlags(command: Command): Command {
  // Commander takes the absence of a --no- flag for a choice, unless there is the flag itself.
  command.addOption(new Option("--healthcheck").hideHelp());
  command.option("--no-healthcheck", "Disable any container-specified HEALTHCHECK");
  for (const [name, why] of absentFlags()) {
    const refuse = (): never => {
      throw new SwarmError("InvalidArgument", `--${name} is not supported: ${why}`);
    };
    command.addOption(new Option(`--${name} <value>`).argParser(refuse).hideHelp());
  }
  return command;
}

function absentFlags(): readonly (readonly [string, string])[] {
  const lists = Object.entries(ABSENT_LISTS).flatMap(([name, why]) =>
    [name, `${name}-add`, `${name}-rm`].map((form) => [form, why] as const),
  );
  return [...lists, ...Object.entries(ABSENT)];
}

/** `--no-healthcheck`. Throws InvalidArgument beside flags of a check. */
export function withoutHealth(spec: WholeServiceSpec, given: Readonly<Record<string, unknown>>): WholeServiceSpec {
  if (given["healthcheck"] !== false) return spec;
  if (Object.keys(given).some((name) => name.startsWith("health") && name !== "healthcheck"))
    throw new SwarmError("InvalidArgument", "--no-healthcheck conflicts with --health-* options");
  return withHealth(spec, { test: [NONE] });
}
