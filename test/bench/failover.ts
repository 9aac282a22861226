// How long a cluster of three takes no writes after its leader was killed: to the end of the first `service create -d --replicas 0`
// that another manager accepts, the command included. Beside etcd with its default timeouts, in the same run.

import { BenchLab } from "./support/bench-lab.ts";
import { EtcdGroup } from "./support/etcd.ts";
import { median, ratioOf, rounded } from "./support/figures.ts";
import { ManagerGroup } from "./support/manager-group.ts";
import type { Bench } from "./main.ts";

const RUNS = 10;

export const bench: Bench = async (signal) => {
  const theirs = await EtcdGroup.with((etcd) => repeat(() => etcd.failover(signal)), signal);
  const own = await BenchLab.with(
    { name: "fail", managers: 3, workers: 0 },
    async (lab) => {
      const group = new ManagerGroup(lab);
      try {
        return await repeat(() => group.failover(signal));
      } finally {
        group.close();
      }
    },
    signal,
  );
  const ours = rounded(median(own) / 1_000);
  const peer = rounded(median(theirs) / 1_000);
  const what = "leader killed to the next write";
  return [{ what, unit: "s", ours, peer, peer_name: "etcd", ratio: ratioOf({ ours, peer }), runs: RUNS }];
};

async function repeat(measure: () => Promise<number>): Promise<readonly number[]> {
  const found: number[] = [];
  while (found.length < RUNS) found.push(await measure());
  return found;
}
