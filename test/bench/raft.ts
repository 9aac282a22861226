// How fast three managers' logs take changes, with one proposer and with many: three members in this process, each with its log on
// the disk, messages in memory. The peer is etcd: three processes on the same disk in the same run, driven over gRPC, which costs it a part.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../proto/base/clock.ts";
import { silentLogger } from "../../proto/base/log.ts";
import { systemRandom } from "../../proto/base/random.ts";
import { StoreChange_Action, StoreChanges } from "../../proto/gen/control.ts";
import { Task } from "../../proto/gen/objects.ts";
import type { Member } from "../../manager/replication/membership.ts";
import { nodeDisk } from "../../manager/replication/node-disk.ts";
import { RaftStorage } from "../../manager/replication/raft-storage.ts";
import { ReplicatedLog } from "../../manager/replication/replicated-log.ts";
import { bootstrapLog } from "../../manager/replication/replicated-log-offline.ts";
import { MemoryNetwork } from "../support/memory-network.ts";
import { EtcdGroup } from "./support/etcd.ts";
import { ratioOf } from "./support/figures.ts";
import type { Bench, BenchRow } from "./main.ts";

const RUN_MS = 3_000;
const WARM_UP_MS = 500;
const LOADS = [
  { atATime: 1, puts: 1_000 },
  { atATime: 16, puts: 4_000 },
  { atATime: 256, puts: 10_000 },
];

export const bench: Bench = async (signal) => {
  const puts = await EtcdGroup.with(async (etcd) => {
    const rates: number[] = [];
    for (const { puts: count, atATime } of LOADS) rates.push(await etcd.putsPerSecond({ count, atATime }));
    return rates;
  }, signal);
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-raft-bench-"));
  try {
    return await measure({ dir, puts }, signal);
  } finally {
    await rm(dir, { recursive: true });
  }
};

async function measure(
  { dir, puts }: { readonly dir: string; readonly puts: readonly number[] },
  signal: AbortSignal,
): Promise<readonly BenchRow[]> {
  const logs = await startGroup(dir, signal);
  try {
    const [leader] = logs;
    if (leader === undefined) throw new Error("the group has no first member");
    const rows: BenchRow[] = [];
    for (const [position, { atATime }] of LOADS.entries()) {
      await proposalsPerSecond(leader, { atATime, runMs: WARM_UP_MS });
      const ours = Math.round(await proposalsPerSecond(leader, { atATime, runMs: RUN_MS }));
      const peer = Math.round(puts[position] ?? 0);
      const what = `proposals to three members, ${atATime} at a time`;
      rows.push({
        what,
        unit: "/s",
        ours,
        peer,
        peer_name: "etcd put over gRPC",
        ratio: ratioOf({ ours, peer }),
        runs: 1,
      });
    }
    return rows;
  } finally {
    for (const log of logs) await log.close();
  }
}

/** The first of them leads. */
async function startGroup(dir: string, signal: AbortSignal): Promise<readonly ReplicatedLog[]> {
  const network = new MemoryNetwork({
    clock: systemClock,
    logger: silentLogger,
    delayMs: 0,
    later: (action) => void setImmediate(action),
  });
  const first = await startMember({ dir, network, number: 1, signal });
  await until(() => first.status().role === "leader", signal);
  const logs = [first];
  for (const number of [2, 3]) {
    const { nodeId, addr } = memberOf(number);
    const self = await first.addLearner({ nodeId, addr }, signal);
    logs.push(await startMember({ dir, network, number, signal, joined: { self, seed: first.self } }));
    const isReady = (): boolean => first.members().some((view) => view.raftId === self.raftId && view.isCaughtUp);
    await until(isReady, signal);
    await first.promote(self.raftId, signal);
  }
  return logs;
}

async function startMember(member: {
  readonly dir: string;
  readonly network: MemoryNetwork;
  readonly number: number;
  readonly joined?: { readonly self: Member; readonly seed: Member };
  readonly signal: AbortSignal;
}): Promise<ReplicatedLog> {
  const { dir, network, number, joined, signal } = member;
  const self = joined?.self ?? memberOf(number);
  const options = { disk: nodeDisk, dir: join(dir, `${number}`), logger: silentLogger, random: systemRandom };
  const meta = { raftId: self.raftId, nodeId: self.nodeId, clusterId: "bench" };
  const nothing = { meta, hard: { term: 0, vote: 0, commit: 0 }, entries: [] };
  const begin = joined === undefined ? bootstrapLog({ self, clusterId: "bench" }) : nothing;
  const storage = await RaftStorage.create(options, begin, signal);
  const log = await ReplicatedLog.open(
    {
      storage,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      target: { restore: () => undefined, apply: () => undefined },
      snapshot: () => [],
      snapshotEvery: 10_000,
      transport: (receiver) => network.join(self, receiver),
      seeds: joined === undefined ? [] : [joined.seed],
    },
    signal,
  );
  log.run(signal).catch((error: unknown) => {
    throw error;
  });
  return log;
}

const TASK = Task.create({ id: "t".repeat(25), serviceId: "s".repeat(25), serviceName: "x".repeat(430), slot: 1 });
/** As large as what the peer is given. */
const CHANGES: StoreChanges = {
  changes: [{ action: StoreChange_Action.UPDATE, object: { $case: "task", value: TASK } }],
  atMs: 0,
};

async function proposalsPerSecond(
  log: ReplicatedLog,
  load: { readonly atATime: number; readonly runMs: number },
): Promise<number> {
  const startMs = systemClock.monotonicMs();
  let done = 0;
  const proposer = async (): Promise<void> => {
    while (systemClock.monotonicMs() - startMs < load.runMs) {
      const result = await log.propose(CHANGES, () => undefined);
      if (result.kind !== "committed") throw new Error(`a proposal was ${result.kind}: ${result.reason}`);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: load.atATime }, proposer));
  return (done * 1_000) / (systemClock.monotonicMs() - startMs);
}

async function until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
  while (!isSo()) await systemClock.sleep(5, signal);
}

function memberOf(number: number): Member {
  return { raftId: number, nodeId: `node-${number}`, addr: `10.0.0.${number}:2377` };
}
