// How long a person waits for a service: from the start of the command `tsswarm service create -d` to its last replica RUNNING
// as the manager knows it, on a cluster of real daemons. The peer's figures were recorded on a machine of this kind.

import { BenchLab } from "./support/bench-lab.ts";
import { median, ratioOf, rounded } from "./support/figures.ts";
import type { Bench, BenchRow } from "./main.ts";

interface Case {
  readonly what: string;
  readonly workers: number;
  readonly replicas: number;
  readonly runs: number;
  readonly warmUp: number;
  /** In seconds, of Docker Swarm. */
  readonly peer: number;
}

const CASES: readonly Case[] = [
  { what: "3 replicas on 3 nodes", workers: 2, replicas: 3, runs: 15, warmUp: 2, peer: 0.899 },
  { what: "50 replicas on one node", workers: 0, replicas: 50, runs: 5, warmUp: 1, peer: 12.932 },
];

export const bench: Bench = async (signal) => {
  const rows: BenchRow[] = [];
  for (const each of CASES) rows.push(await measure(each, signal));
  return rows;
};

async function measure({ what, workers, replicas, runs, warmUp, peer }: Case, signal: AbortSignal): Promise<BenchRow> {
  const secondsOf = await BenchLab.with(
    { name: "svc", workers },
    async (lab) => {
      const seconds: number[] = [];
      for (let run = -warmUp; run < runs; run++) {
        const tookMs = await lab.timeService({ name: "web", replicas }, signal);
        if (run >= 0) seconds.push(tookMs / 1000);
        await lab.remove("web", signal);
      }
      return seconds;
    },
    signal,
  );
  const ours = rounded(median(secondsOf));
  return { what, unit: "s", ours, peer, peer_name: "docker swarm (recorded)", ratio: ratioOf({ ours, peer }), runs };
}
