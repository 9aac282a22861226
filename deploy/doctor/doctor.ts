// `tsswarm doctor`: can this machine run containers? Every check really tries, leaves nothing behind, and says how to get what
// is missing.

import { accessSync, constants, existsSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import type { Command } from "commander";
import { type KernelCheck, checkKernel } from "../../native/index.ts";
import { errorText } from "../../proto/base/errors.ts";
import { printBytes } from "../../proto/base/units.ts";
import { type Context, print } from "../cli/context.ts";

const FREE_BYTES_MIN = 1_073_741_824;

export function addDoctor(command: Command, context: Context): void {
  command
    .option("--state-dir <folder>", "State folder of the daemon", "/var/lib/tsswarm")
    .option("--format <format>", "'json' prints the checks as JSON")
    .action(async (options: { stateDir: string; format?: string }) => {
      const checks = [...(await checkKernel(context.signal)), checkStateDir(options.stateDir)];
      if (options.format === "json") print(context, JSON.stringify(checks));
      else {
        const width = Math.max(...checks.map((check) => check.name.length));
        for (const check of checks)
          print(context, `${check.ok ? "ok     " : "MISSING"}  ${check.name.padEnd(width)}  ${check.detail}`);
      }
      if (checks.every((check) => check.ok)) return;
      context.exit(1);
    });
}

/** The folder, or where it will be made, can be written and has room. */
function checkStateDir(stateDir: string): KernelCheck {
  const name = "state folder";
  let folder = stateDir;
  while (!existsSync(folder)) folder = dirname(folder);
  try {
    accessSync(folder, constants.W_OK);
    const { bavail, bsize } = statfsSync(folder);
    const free = bavail * bsize;
    const room = `${printBytes(free)} free in ${folder}`;
    if (free >= FREE_BYTES_MIN) return { name, ok: true, detail: room };
    return { name, ok: false, detail: `only ${room}; images and logs need at least ${printBytes(FREE_BYTES_MIN)}` };
  } catch (error) {
    return { name, ok: false, detail: `${folder} cannot be written: ${errorText(error)}` };
  }
}
