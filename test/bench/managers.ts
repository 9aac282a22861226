// Writes of a cluster of three managers: services of no replicas created over gRPC through the leader and through a follower. Docker
// Swarm's figures were recorded on a machine of this kind; etcd's puts are measured in the same run.

import { BenchLab } from "./support/bench-lab.ts";
import { EtcdGroup } from "./support/etcd.ts";
import { median, ratioOf, rounded } from "./support/figures.ts";
import { ManagerGroup } from "./support/manager-group.ts";
import type { Bench, BenchRow } from "./main.ts";

const LOADS = [
  { atATime: 1, count: 400, swarm: 107.9 },
  { atATime: 8, count: 2_000, swarm: 144.3 },
];
const RUNS = 5;
/** Before the first run, so that compiled code is measured: daemons live for months. */
const WARM_UP = 1_500;

export const bench: Bench = async (signal) => {
  const puts = await EtcdGroup.with(async (etcd) => {
    const rates: number[] = [];
    for (const { count, atATime } of LOADS) rates.push(await etcd.putsPerSecond({ count, atATime }));
    return rates;
  }, signal);
  return BenchLab.with({ name: "mgr", managers: 3, workers: 0 }, (lab) => measure(lab, puts, signal), signal);
};

async function measure(lab: BenchLab, puts: readonly number[], signal: AbortSignal): Promise<readonly BenchRow[]> {
  const group = new ManagerGroup(lab);
  try {
    const { leader, follower } = await group.settled(signal);
    for (const end of [leader, follower]) await group.createsPerSecond(end, { count: WARM_UP, atATime: 4 }, signal);
    const rows: BenchRow[] = [];
    for (const [position, { atATime, count, swarm }] of LOADS.entries()) {
      for (const [where, end] of Object.entries({ "the leader": leader, "a follower": follower })) {
        const rates: number[] = [];
        for (let run = 0; run < RUNS; run++)
          rates.push(await group.createsPerSecond(end, { count: count / RUNS, atATime }, signal));
        const ours = rounded(median(rates));
        const what = `service create at ${where}, ${atATime} at a time`;
        const row = { what, unit: "/s", ours, runs: RUNS };
        rows.push({ ...row, peer: swarm, peer_name: "docker swarm (recorded)", ratio: ratioOf({ ours, peer: swarm }) });
        const peer = rounded(puts[position] ?? 0);
        if (end === leader)
          rows.push({ ...row, peer, peer_name: "etcd put at the leader", ratio: ratioOf({ ours, peer }) });
      }
    }
    return rows;
  } finally {
    group.close();
  }
}
