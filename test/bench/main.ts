// `npm run bench -- NAME [--json]`: runs one benchmark and prints its rows as a table, and with --json, last, as one line.
// A row compares ours with a peer measured in the same run; without a peer the ratio is absent.

import { fileURLToPath } from "node:url";
import { existsSync } from "node:fs";

export interface BenchRow {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer?: number;
  readonly peer_name?: string;
  /** ours / peer. */
  readonly ratio?: number;
  readonly runs: number;
}

/** The named export of every benchmark. */
export type Bench = (signal: AbortSignal) => Promise<readonly BenchRow[]>;

const words = process.argv.slice(2);
const [name] = words.filter((word) => !word.startsWith("--"));
const file = new URL(`./${name ?? ""}.ts`, import.meta.url);
if (name === undefined || name === "main" || !/^[a-z-]+$/.test(name) || !existsSync(fileURLToPath(file))) {
  console.error(
    `no benchmark "${name ?? ""}"; there are start, service, memory, wal, raft, managers, failover and steady`,
  );
  process.exit(1);
}
const { bench } = (await import(file.href)) as { readonly bench: Bench };
const rows = await bench(AbortSignal.timeout(1_800_000));
for (const row of rows) {
  const peer =
    row.peer === undefined ? "" : `  ${row.peer_name ?? "peer"} ${row.peer} ${row.unit}  ratio ${row.ratio ?? "-"}`;
  console.log(`${row.what}: ${row.ours} ${row.unit}${peer}  (${row.runs} runs)`);
}
if (words.includes("--json")) console.log(JSON.stringify({ name, rows }));
process.exit(0);
