// The memory of processes, as the kernel counts it.

import { readFileSync, readdirSync } from "node:fs";

export interface Memory {
  /** Pages in memory, shared ones in full. In millions of bytes. */
  readonly residentMb: number;
  /** Pages in memory, shared ones divided among their users. In millions of bytes. */
  readonly shareMb: number;
}

const KIB_PER_MB = 1_000_000 / 1024;

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string): number => {
    const kib = new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(text)?.[1];
    if (kib === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no ${name}`);
    return Number(kib) / KIB_PER_MB;
  };
  return { residentMb: field("Rss"), shareMb: field("Pss") };
}

/** Of the processes whose command line holds all the words. */
export function pidsOf(...words: readonly string[]): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => words.every((word) => commandLine(pid).includes(word)))
    .map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch (error) {
    // The process ended between listing and reading.
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}
