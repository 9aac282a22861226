// The sentence for a container that ended badly, in Docker's words with what Docker leaves out: memory and signals.

import { signalName } from "../../proto/base/signals.ts";
import type { ContainerStatus } from "../../proto/gen/objects.ts";
import type { Resources } from "../../proto/gen/specs.ts";

/** Empty for exit code 0. */
export function exitError(container: ContainerStatus | undefined, limits: Resources): string {
  const code = container?.exitCode ?? 0;
  const signal = container?.signal ?? 0;
  if (code === 0 && signal === 0) return "";
  const text = `task: non-zero exit (${code})`;
  if (container?.oomKilled === true) return `${text}: out of memory${limitText(limits.memoryBytes)}`;
  if (signal !== 0) return `${text}: killed by signal ${signal}${nameText(signal)}`;
  return text;
}

function limitText(memoryBytes: number): string {
  return memoryBytes === 0 ? "" : ` (its limit is ${Math.floor(memoryBytes / 1_048_576)} MiB)`;
}

function nameText(signal: number): string {
  const name = signalName(signal);
  return name === undefined ? "" : ` (${name})`;
}
