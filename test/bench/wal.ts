// How fast entries become durable through Raft's storage, with one proposer and with more, against what the disk itself can:
// the same bytes written over a prepared file and synced one by one. What comes up during a sync shares the next record, as
// the driver's append loop does it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Entry } from "raft-ts";
import { systemClock } from "../../proto/base/clock.ts";
import { silentLogger } from "../../proto/base/log.ts";
import { systemRandom } from "../../proto/base/random.ts";
import { StoreChange_Action, StoreChanges } from "../../proto/gen/control.ts";
import { Task } from "../../proto/gen/objects.ts";
import { nodeDisk } from "../../manager/replication/node-disk.ts";
import { RaftStorage } from "../../manager/replication/raft-storage.ts";
import { ratioOf } from "./support/figures.ts";
import type { BenchRow } from "./main.ts";

const RUN_MS = 2_000;

/** One row per number of proposers; `ratio` above 1 means that a record carries more than one change. */
export async function bench(signal: AbortSignal): Promise<readonly BenchRow[]> {
  const task = Task.create({ id: "t".repeat(25), serviceId: "s".repeat(25), serviceName: "web", slot: 1 });
  const changes: StoreChanges = {
    changes: [{ action: StoreChange_Action.UPDATE, object: { $case: "task", value: task } }],
    atMs: 0,
  };
  const data = StoreChanges.encode(changes).finish();
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-wal-bench-"));
  try {
    const peer = await rawSyncs(`${dir}/raw`, data);
    const rows: BenchRow[] = [];
    for (const proposers of [1, 64, 256]) {
      const ours = await appends(`${dir}/${proposers}`, { proposers, data, signal });
      rows.push({
        what: `entries with ${proposers} at a time`,
        unit: "1/s",
        ours,
        peer,
        peer_name: "write and fdatasync",
        ratio: ratioOf({ ours, peer }),
        runs: 1,
      });
    }
    return rows;
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function appends(
  dir: string,
  load: { readonly proposers: number; readonly data: Uint8Array; readonly signal: AbortSignal },
): Promise<number> {
  const storage = await RaftStorage.create(
    { disk: nodeDisk, dir, logger: silentLogger, random: systemRandom },
    { meta: { raftId: 1, nodeId: "node", clusterId: "cluster" }, hard: { term: 1, vote: 1, commit: 0 }, entries: [] },
    load.signal,
  );
  const startMs = systemClock.monotonicMs();
  let done = 0;
  let waiting: (() => void)[] = [];
  let isRunning = true;
  const proposer = async (): Promise<void> => {
    while (isRunning) {
      await new Promise<void>((resolve) => waiting.push(resolve));
      done += 1;
    }
  };
  const proposers = Array.from({ length: load.proposers }, proposer);
  while (waiting.length > 0) {
    load.signal.throwIfAborted();
    isRunning = systemClock.monotonicMs() - startMs < RUN_MS;
    const group = waiting;
    waiting = [];
    const first = storage.lastIndex() + 1;
    const entries = group.map((_, at): Entry => ({ index: first + at, term: 1, type: 0, data: load.data }));
    const result = await storage.append({ hard: { term: 1, vote: 1, commit: first - 1 }, entries });
    if (result.kind === "full") throw new Error(result.reason);
    for (const settle of group) settle();
    // Who was waiting proposes again before the next record is cut.
    await Promise.resolve();
    await Promise.resolve();
  }
  await Promise.all(proposers);
  const perSecond = done / ((systemClock.monotonicMs() - startMs) / 1_000);
  await storage.close();
  return Math.round(perSecond);
}

async function rawSyncs(path: string, bytes: Uint8Array): Promise<number> {
  const file = await nodeDisk.open(path, "create");
  try {
    await file.write(new Uint8Array(16_777_216), 0);
    await file.sync();
    const startMs = systemClock.monotonicMs();
    let done = 0;
    for (; systemClock.monotonicMs() - startMs < RUN_MS; done += 1) {
      await file.write(bytes, (done * 128) % 16_000_000);
      await file.sync();
    }
    return Math.round(done / ((systemClock.monotonicMs() - startMs) / 1_000));
  } finally {
    await file.close();
  }
}
