// How fast changes become durable, with one proposer and with 64, against what the disk itself can: the same bytes written
// over a prepared file and synced one by one.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../proto/base/clock.ts";
import { silentLogger } from "../../proto/base/log.ts";
import { StoreChange_Action, StoreChanges } from "../../proto/gen/control.ts";
import { Task } from "../../proto/gen/objects.ts";
import { nodeDisk } from "../../manager/replication/node-disk.ts";
import { SingleLog } from "../../manager/replication/single-log.ts";
import { ratioOf } from "./support/figures.ts";
import type { BenchRow } from "./main.ts";

const RUN_MS = 2_000;

/** One row per number of proposers; `ratio` above 1 means that a group commit carries more than one change. */
export async function bench(signal: AbortSignal): Promise<readonly BenchRow[]> {
  const task = Task.create({ id: "t".repeat(25), serviceId: "s".repeat(25), serviceName: "web", slot: 1 });
  const changes: StoreChanges = {
    changes: [{ action: StoreChange_Action.UPDATE, object: { $case: "task", value: task } }],
    atMs: 0,
  };
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-wal-bench-"));
  try {
    const peer = await rawSyncs(`${dir}/raw`, StoreChanges.encode(changes).finish());
    const rows: BenchRow[] = [];
    for (const proposers of [1, 64]) {
      const ours = await proposals(`${dir}/${proposers}`, { proposers, changes, signal });
      rows.push({
        what: `proposals with ${proposers} at a time`,
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

async function proposals(
  dir: string,
  load: { readonly proposers: number; readonly changes: StoreChanges; readonly signal: AbortSignal },
): Promise<number> {
  const log = await SingleLog.open(
    {
      disk: nodeDisk,
      dir,
      clock: systemClock,
      logger: silentLogger,
      target: { restore: () => undefined, apply: () => undefined },
      snapshot: () => new Uint8Array(),
      snapshotEvery: 10_000,
    },
    load.signal,
  );
  const startMs = systemClock.monotonicMs();
  let done = 0;
  const proposer = async (): Promise<void> => {
    while (systemClock.monotonicMs() - startMs < RUN_MS) {
      const result = await log.propose(load.changes, () => undefined);
      if (result.kind !== "committed") throw new Error(`a proposal was ${result.kind}: ${result.reason}`);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: load.proposers }, proposer));
  const perSecond = done / ((systemClock.monotonicMs() - startMs) / 1_000);
  await log.close();
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
