// The text form of the scenarios ("datadriven"): a command line with key=(v1,v2) arguments, optional input, "----",
// the exact expected output up to a blank line; "----" twice brackets output that itself holds blank lines.
// Lines that begin with # between cases are comments. Knows nothing of Raft.

import { readFileSync, writeFileSync } from "node:fs";

export interface CommandArg {
  readonly key: string;
  readonly values: readonly string[];
}

export interface Command {
  readonly name: string;
  readonly args: readonly CommandArg[];
  /** The lines between the command and "----", without the last newline. */
  readonly input: string;
  readonly expected: string;
  /** 1-based line of the command. */
  readonly line: number;
  /** How many lines of the file come before what follows the case. */
  readonly end: number;
}

/** Reads every case of a file. Throws with file and line where it breaks the form. */
export function readCommands(file: string): readonly Command[] {
  return parseCommands(readFileSync(file, "utf8"), file);
}

export function parseCommands(text: string, file: string): readonly Command[] {
  const lines = text.split("\n");
  const commands: Command[] = [];
  let at = 0;
  while (at < lines.length) {
    const start = at;
    let head = (lines[at++] ?? "").trim();
    if (head === "" || head.startsWith("#")) continue;
    while (head.endsWith("\\")) head = `${head.slice(0, -1).trimEnd()} ${(lines[at++] ?? "").trim()}`;
    const input: string[] = [];
    while (at < lines.length && lines[at] !== "----") input.push(lines[at++] ?? "");
    if (at >= lines.length) throw new Error(`${file}:${start + 1}: a command without ----`);
    at++;
    const expected: string[] = [];
    if (lines[at] === "----") {
      at++;
      while (at < lines.length && !(lines[at] === "----" && lines[at + 1] === "----")) expected.push(lines[at++] ?? "");
      at += 2;
    } else {
      while (at < lines.length && lines[at] !== "") expected.push(lines[at++] ?? "");
    }
    const [name = "", ...args] = splitHead(head, `${file}:${start + 1}`);
    commands.push({
      name,
      args: args.map(parseArg),
      input: input.join("\n"),
      expected: expected.map((line) => `${line}\n`).join(""),
      line: start + 1,
      end: at,
    });
  }
  return commands;
}

/** Splits at blanks, except inside parentheses. */
function splitHead(head: string, where: string): readonly string[] {
  const parts = head.match(/[^\s=]+=\([^)]*\)|[^\s]+/g) ?? [];
  if (parts.length === 0) throw new Error(`${where}: an empty command`);
  return parts;
}

function parseArg(text: string): CommandArg {
  const equals = text.indexOf("=");
  if (equals === -1) return { key: text, values: [] };
  const key = text.slice(0, equals);
  const value = text.slice(equals + 1);
  if (!value.startsWith("(")) return { key, values: [value] };
  const inner = value.slice(1, -1).trim();
  return { key, values: inner === "" ? [] : inner.split(/\s*,\s*|\s+/) };
}

/** Runs every case of a file and writes it anew with what came out; comments stay. The result wants reading. */
export function rewrite(file: string, run: (command: Command) => string): void {
  const lines = readFileSync(file, "utf8").split("\n");
  const written: string[] = [];
  let from = 0;
  for (const command of readCommands(file)) {
    const inputLines = command.input === "" ? 0 : command.input.split("\n").length;
    written.push(...lines.slice(from, command.line + inputLines), "----");
    const output = run(command).trimEnd();
    const hasBlank = output.split("\n").includes("");
    written.push(...(hasBlank ? ["----", output, "----", "----"] : [output]));
    from = command.end;
  }
  written.push(...lines.slice(from));
  writeFileSync(file, written.join("\n"));
}

/** Runs every case of a file in order and reports the first whose output differs, with both texts. */
export function firstDifference(
  file: string,
  run: (command: Command) => string,
): { readonly where: string; readonly actual: string; readonly expected: string } | null {
  for (const command of readCommands(file)) {
    const output = run(command);
    const actual = output === "" || output.endsWith("\n") ? output : `${output}\n`;
    if (actual !== command.expected) {
      return { where: `${file}:${command.line}`, actual, expected: command.expected };
    }
  }
  return null;
}
