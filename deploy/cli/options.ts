// Pieces that many verbs share: repeatable flags, filters, KEY=VALUE lists.

import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Filter } from "../../proto/gen/control.ts";

/** For commander: gathers a flag that may be given many times. */
export function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

/** A whole number in a range. Throws InvalidArgument naming the flag. */
export function wholeNumber(
  text: string,
  range: { readonly flag: string; readonly min: number; readonly max: number },
): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || value < range.min || value > range.max) {
    throw new SwarmError(
      "InvalidArgument",
      `invalid value "${text}" for ${range.flag}: it must be a whole number from ${range.min} to ${range.max}`,
    );
  }
  return value;
}

/** `--filter name=web --filter label=a=b` as the API takes them: values of one key together. */
export function filtersOf(given: readonly string[] | undefined): readonly Filter[] {
  const values = new Map<string, string[]>();
  for (const text of given ?? []) {
    const at = text.indexOf("=");
    if (at <= 0) throw new SwarmError("InvalidArgument", `invalid filter "${text}": it must be KEY=VALUE`);
    const key = text.slice(0, at).trim().toLowerCase();
    values.set(key, [...(values.get(key) ?? []), text.slice(at + 1).trim()]);
  }
  return [...values].map(([key, list]) => ({ key, values: list }));
}

/** KEY=VALUE (or KEY alone, which is empty) as an object; a later one wins. */
export function labelsOf(given: readonly string[] | undefined): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const text of given ?? []) {
    const at = text.indexOf("=");
    const key = at < 0 ? text : text.slice(0, at);
    if (key === "")
      throw new SwarmError("InvalidArgument", `invalid label "${text}": the key is empty; it must be KEY=VALUE`);
    labels[key] = at < 0 ? "" : text.slice(at + 1);
  }
  return labels;
}

/** KEY=VALUE entries of --env; KEY alone takes the value from this shell and is left out when that has none. */
export function envOf(
  given: readonly string[] | undefined,
  shell: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  return (given ?? []).flatMap((text) => {
    if (text.includes("=") && !text.startsWith("=")) return [text];
    if (text === "" || text.startsWith("="))
      throw new SwarmError("InvalidArgument", `invalid environment variable: ${text}`);
    const value = shell[text];
    return value === undefined ? [] : [`${text}=${value}`];
  });
}

/** The variables of --env-file: one KEY=VALUE a line, # begins a comment line. */
export function envFile(path: string, shell: Readonly<Record<string, string | undefined>>): readonly string[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new SwarmError("InvalidArgument", `cannot read --env-file ${path}: ${errorText(error)}`, { cause: error });
  }
  const lines = text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .map((line) => line.trimStart());
  return lines.flatMap((line, index) => {
    if (line === "" || line.startsWith("#")) return [];
    const key = line.split("=", 1)[0] ?? "";
    if (key === "" || /\s/.test(key)) {
      throw new SwarmError(
        "InvalidArgument",
        `poorly formatted environment: line ${index + 1} of ${path}: variable '${key}' is empty or contains whitespaces`,
      );
    }
    return envOf([line], shell);
  });
}

/**
 * A flag that is on or off: `--detach`, `--detach=true`, `--detach=false`. Commander knows no `=` for these; `plainSwitches`
 * turns it into `--no-detach` before it looks.
 */
export function addSwitch(command: Command, option: { readonly flag: string; readonly help: string }): Command {
  const long = /--([a-z-]+)/.exec(option.flag)?.[1] ?? "";
  return command.option(option.flag, option.help).addOption(new Option(`--no-${long}`).hideHelp());
}

/** Flags without a value. Those that may be set back (`--tty=false`) were made by `addSwitch`. */
const SET_BACK: readonly string[] = ["detach", "init", "read-only", "tty"];
const PLAIN: readonly string[] = [
  "interactive",
  "quiet",
  "force",
  "follow",
  "timestamps",
  "pretty",
  "rotate",
  "plan",
  "raw",
  "rollback",
  "no-healthcheck",
];

/** The command line with `--flag=true` as `--flag` and `--flag=false` as `--no-flag` or nothing, up to the first `--`. */
export function plainSwitches(argv: readonly string[]): readonly string[] {
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  return argv.flatMap((word, index) => {
    const [, name = "", value] = /^--([a-z-]+)=(true|false|1|0)$/.exec(word) ?? [];
    if (index >= end || ![...SET_BACK, ...PLAIN].includes(name)) return [word];
    if (value === "true" || value === "1") return [`--${name}`];
    return SET_BACK.includes(name) ? [`--no-${name}`] : [];
  });
}

/** `--format` and friends are the same everywhere. */
export const FORMAT_HELP = "Format output: 'table', 'table TEMPLATE', 'json', or a Go template";
