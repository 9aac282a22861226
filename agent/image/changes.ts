// `image import --change`: Dockerfile instructions that set parts of the configuration, as `docker import` takes them.

import { posix } from "node:path";
import { SwarmError } from "../../proto/base/errors.ts";
import { signalNumber } from "../../proto/base/signals.ts";
import type { ImageRunConfig } from "./image-config.ts";

const CHANGES_MAX = 500;
const CHANGE_LENGTH_MAX = 65_536;

type Change = (config: ImageRunConfig, rest: string) => ImageRunConfig;

const INSTRUCTIONS: Readonly<Record<string, Change>> = {
  CMD: (config, rest) => ({ ...config, Cmd: command(rest) }),
  ENTRYPOINT: (config, rest) => ({ ...config, Entrypoint: command(rest), Cmd: null }),
  ENV: (config, rest) => ({ ...config, Env: withEnv(config.Env ?? [], pairs("ENV", rest)) }),
  EXPOSE: (config, rest) => ({
    ...config,
    ExposedPorts: { ...config.ExposedPorts, ...keys(words(rest).flatMap(ports)) },
  }),
  LABEL: (config, rest) => ({ ...config, Labels: { ...config.Labels, ...Object.fromEntries(pairs("LABEL", rest)) } }),
  STOPSIGNAL: (config, rest) => ({ ...config, StopSignal: stopSignal(one("STOPSIGNAL", rest)) }),
  USER: (config, rest) => ({ ...config, User: one("USER", rest) }),
  VOLUME: (config, rest) => ({ ...config, Volumes: { ...config.Volumes, ...keys(jsonList(rest) ?? words(rest)) } }),
  WORKDIR: (config, rest) => ({ ...config, WorkingDir: posix.resolve("/", config.WorkingDir ?? "/", rest) }),
};

/** `config` with the instructions applied in their order. Throws InvalidArgument naming the instruction that is wrong. */
export function applyChanges(config: ImageRunConfig, changes: readonly string[]): ImageRunConfig {
  if (changes.length > CHANGES_MAX) throw invalid(`there are more than ${CHANGES_MAX} of them`);
  return changes.reduce((current, line) => {
    if (line.length > CHANGE_LENGTH_MAX || line.includes("\0")) throw invalid("one is too long or holds a NUL");
    const match = /^\s*([A-Za-z]+)(?:\s+([^]*))?$/.exec(line);
    const name = (match?.[1] ?? "").toUpperCase();
    const apply = Object.hasOwn(INSTRUCTIONS, name) ? INSTRUCTIONS[name] : undefined;
    if (apply === undefined) {
      throw invalid(`${name === "" ? JSON.stringify(line.slice(0, 80)) : name} is not a valid change command`);
    }
    const rest = (match?.[2] ?? "").trim();
    if (rest === "") throw invalid(`${name} requires at least one argument`);
    return apply(current, rest);
  }, config);
}

/** The exec form (a JSON list), else a line for the shell. */
function command(rest: string): readonly string[] {
  return jsonList(rest) ?? ["/bin/sh", "-c", rest];
}

function jsonList(rest: string): readonly string[] | undefined {
  if (!rest.startsWith("[")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(rest);
  } catch {
    return undefined;
  }
  return Array.isArray(value) && value.every((item) => typeof item === "string") ? value : undefined;
}

/** Words as a shell would split them: quotes group, a backslash takes the next character as it is. */
function words(rest: string): string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < rest.length; at++) {
    const char = rest.charAt(at);
    if (char === "\\" && quote !== "'" && at + 1 < rest.length) word = (word ?? "") + rest.charAt(++at);
    else if (quote !== "" ? char === quote : char === '"' || char === "'") {
      quote = quote === "" ? char : "";
      word ??= "";
    } else if (quote === "" && /\s/.test(char)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else word = (word ?? "") + char;
  }
  if (quote !== "") throw invalid(`a quote is not closed in ${JSON.stringify(rest.slice(0, 80))}`);
  return word === undefined ? found : [...found, word];
}

/** KEY=VALUE words, or the old form "KEY the rest is the value". */
function pairs(instruction: string, rest: string): (readonly [string, string])[] {
  const list = words(rest);
  const first = list[0] ?? "";
  if (!first.includes("=") && list.length > 1) return [[first, rest.slice(rest.search(/\s/)).trim()]];
  return list.map((word) => {
    const equals = word.indexOf("=");
    if (equals <= 0) throw invalid(`${instruction} needs NAME=VALUE, not ${JSON.stringify(word.slice(0, 80))}`);
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
}

function withEnv(env: readonly string[], added: readonly (readonly [string, string])[]): readonly string[] {
  const names = new Set(added.map(([name]) => name));
  const kept = env.filter((entry) => !names.has(entry.split("=", 1)[0] ?? ""));
  return [...kept, ...[...new Map(added)].map(([name, value]) => `${name}=${value}`)];
}

/** "80", "80/udp" or "8000-8010/tcp" as the keys of ExposedPorts. */
function ports(word: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(word.toLowerCase());
  const first = Number(match?.[1] ?? 0);
  const last = Number(match?.[2] ?? first);
  if (match === null || first < 1 || last > 65_535 || last < first) {
    throw invalid(`EXPOSE needs a port like 80 or 80/udp, not ${JSON.stringify(word.slice(0, 80))}`);
  }
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${match[3] ?? "tcp"}`);
}

function keys(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function one(instruction: string, rest: string): string {
  const list = words(rest);
  if (list.length !== 1) throw invalid(`${instruction} requires exactly one argument`);
  return list[0] ?? "";
}

function stopSignal(name: string): string {
  if (signalNumber(name) === undefined) throw invalid(`STOPSIGNAL ${JSON.stringify(name)} is no signal`);
  return name;
}

function invalid(why: string): SwarmError {
  return new SwarmError("InvalidArgument", `The changes to the image are refused: ${why}.`);
}
