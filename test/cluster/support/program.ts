// Programs that tests run to their end, with what they printed.

import { spawn } from "node:child_process";
import { BOUND_MS } from "./bound.ts";

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | undefined;
}

/** Runs the program to its end; a failure is an answer, not an error. Killed and an error when it takes too long. */
export function runProgram(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const [program = "", ...args] = words;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
      signal: AbortSignal.timeout(BOUND_MS),
      killSignal: "SIGKILL",
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", (error) =>
      reject(new Error(`${words.join(" ")}: ${error.message}\n${stdout}${stderr}`, { cause: error })),
    );
    child.on("close", (code) => resolve({ code: code ?? -1, stdout, stderr }));
    // A program that ends without reading its input is no failure of the test.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
  });
}
