// Runs a program to its end. A failure is a sentence with what the program said.

import { spawn } from "node:child_process";
import { SwarmError } from "../../proto/base/errors.ts";

const OUTPUT_MAX = 1_048_576;

/** Standard output of the program. Throws Internal when it fails, FailedPrecondition when it is not installed. */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly signal: AbortSignal; readonly input?: string },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], signal: options.signal });
    let output = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-OUTPUT_MAX)));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors = (errors + text).slice(-OUTPUT_MAX)));
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (options.signal.aborted) reject(options.signal.reason as Error);
      else if (error.code === "ENOENT")
        reject(
          new SwarmError(
            "FailedPrecondition",
            `the program ${program} is missing; 'npm run setup' installs what the lab needs`,
          ),
        );
      else reject(error);
    });
    child.on("close", (code) => {
      if (code === 0) resolve(output);
      else
        reject(
          new SwarmError(
            "Internal",
            `${program} ${args.join(" ")} failed: ${errors.trim() === "" ? `exit code ${code ?? -1}` : errors.trim()}`,
          ),
        );
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
  });
}
