// Reads exit.json, which a shim writes when its container has ended.

import { readFileSync } from "node:fs";

import type { ExitRecord } from "./types.ts";

/** The record at `path`; undefined when there is none, or (after a crash of the machine) half of one. */
export function readExitFile(path: string): ExitRecord | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { code, signal, oomKilled, startedAtMs, exitedAtMs, failure } = value as Record<string, unknown>;
  if (typeof code !== "number" || typeof signal !== "number") return undefined;
  return {
    code,
    signal,
    oomKilled: oomKilled === true,
    startedAtMs: Number(startedAtMs),
    exitedAtMs: Number(exitedAtMs),
    ...(typeof failure === "string" && failure !== "" ? { failure } : {}),
  };
}
