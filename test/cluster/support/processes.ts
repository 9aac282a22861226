// Processes of this machine, as /proc shows them.

import { readFileSync, readdirSync } from "node:fs";

/** False also for one that is dead and waits for its parent. */
export function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX\s]/m.test(readIfThere(`/proc/${pid}/status`));
}

/** Processes whose command line or control group holds all the texts. */
export function processesNaming(...texts: readonly string[]): readonly string[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid && isAlive(Number(pid)))
    .map((pid) => ({ pid, text: readIfThere(`/proc/${pid}/cmdline`) + readIfThere(`/proc/${pid}/cgroup`) }))
    .filter(({ text }) => texts.every((each) => text.includes(each)))
    .map(({ pid, text }) => `process ${pid} ${text.replaceAll("\0", " ").slice(0, 200)}`);
}

/** Empty for a file of a process that has ended. */
export function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ESRCH", "EINVAL"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}
