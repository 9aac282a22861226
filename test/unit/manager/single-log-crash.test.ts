// A scripted run of proposals, with snapshots and new segments, crashed at every call to the disk with every kind of loss:
// what was acknowledged is there after the restart, in order, and nothing that was never proposed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { StoreChanges } from "../../../proto/gen/control.ts";
import { SingleLog } from "../../../manager/replication/single-log.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { LOSSES, type Loss, SimDisk } from "../../support/sim-disk.ts";
import { type Replica, makeReplica } from "../../support/replica.ts";

const { signal } = new AbortController();
const DIR = "/state/manager";

function open(disk: SimDisk, replica: Replica): Promise<SingleLog> {
  return SingleLog.open(
    {
      disk,
      dir: DIR,
      clock: new ManualClock(),
      logger: silentLogger,
      target: replica,
      snapshot: () => replica.snapshot(),
      snapshotEvery: 6,
      segmentBytes: 512,
    },
    signal,
  );
}

interface Outcome {
  readonly acknowledged: number[];
  /** Proposed and not known: may be there or not. */
  readonly ambiguous: number[];
  readonly dropped: number[];
}

/** Proposes 36 changes, some alone and some together, and sorts them by what came of them. */
async function run(log: SingleLog, replica: Replica, firstId: number): Promise<Outcome> {
  const outcome: Outcome = { acknowledged: [], ambiguous: [], dropped: [] };
  let id = firstId;
  for (const together of [1, 1, 3, 1, 5, 2, 1, 6, 1, 3, 4, 1, 2, 5]) {
    const proposals = Array.from({ length: together }, () => {
      const mine = id;
      id += 1;
      return log
        .propose(StoreChanges.create({ atMs: mine }), (index) => replica.commit(mine, index))
        .then((result) => {
          if (result.kind === "committed") outcome.acknowledged.push(mine);
          else outcome[result.kind].push(mine);
        });
    });
    await Promise.all(proposals);
  }
  return outcome;
}

/** Opens the disk and asserts that its log holds what `before` may have left behind `base`. Answers what is there. */
async function check(disk: SimDisk, base: readonly number[], before: Outcome): Promise<readonly number[]> {
  const replica = makeReplica();
  const log = await open(disk, replica);
  const must = [...base, ...before.acknowledged];
  assert.deepEqual(replica.ids.slice(0, must.length), must, "every acknowledged change is there, in order");
  const more = replica.ids.slice(must.length);
  assert.deepEqual(more, before.ambiguous.slice(0, more.length), "what else is there was being written");
  assert.equal(log.lastIndex, replica.ids.length);
  await log.close();
  return replica.ids;
}

/** One life: opens, runs the script, and ends by the fault that the disk is armed with, or at the end. */
async function live(disk: SimDisk, firstId: number): Promise<Outcome> {
  const replica = makeReplica();
  let log: SingleLog;
  try {
    log = await open(disk, replica);
  } catch (error) {
    assert.ok(disk.crashed, `opening failed without a crash: ${String(error)}`);
    return { acknowledged: [], ambiguous: [], dropped: [] };
  }
  const outcome = await run(log, replica, firstId);
  await log.close();
  return outcome;
}

async function countCalls(): Promise<number> {
  const disk = new SimDisk();
  const outcome = await live(disk, 1);
  assert.equal(outcome.acknowledged.length, 36);
  const names = disk.paths.map((path) => path.slice(DIR.length + 1, DIR.length + 5));
  assert.ok(names.filter((name) => name === "snap").length === 2, "two snapshots are kept");
  assert.ok(!disk.paths.some((path) => path.includes("wal-00000000000001-")), "old segments are gone");
  return disk.calls;
}

async function crashAt(call: number, loss: Loss): Promise<void> {
  const random = seededRandom(call * 31 + LOSSES.indexOf(loss));
  const disk = new SimDisk();
  disk.arm({ call, kind: "crash" });
  const outcome = await live(disk, 1);
  disk.restart(loss, random);
  const found = await check(disk, [], outcome);
  disk.restart("lose", random);
  assert.deepEqual(await check(disk, found, { acknowledged: [], ambiguous: [], dropped: [] }), found);
}

for (const loss of LOSSES) {
  test(`a crash at every disk call with loss "${loss}" keeps every acknowledged change`, async () => {
    const calls = await countCalls();
    assert.ok(calls > 100, `the script makes ${calls} calls`);
    for (let call = 1; call <= calls; call += 1) {
      try {
        await crashAt(call, loss);
      } catch (error) {
        throw new Error(`crash at call ${call} of ${calls} with loss ${loss}`, { cause: error });
      }
    }
  });
}

test("a crash at every call of the recovery from a crash loses nothing either", async () => {
  for (const loss of LOSSES) {
    for (const firstCrash of [37, 64, 101]) {
      for (let call = 1; ; call += 1) {
        const random = seededRandom(call * 1_009 + firstCrash);
        const disk = new SimDisk();
        disk.arm({ call: firstCrash, kind: "crash" });
        const first = await live(disk, 1);
        disk.restart(loss, random);
        disk.arm({ call, kind: "crash" });
        await check(disk, [], first).catch((error: unknown) => {
          if (!disk.crashed) throw error;
        });
        const recovered = !disk.crashed;
        disk.restart(loss, random);
        await check(disk, [], first);
        if (recovered) break;
      }
    }
  }
});

test("a second life goes on where the first one was cut, and both are there in the third", async () => {
  for (const loss of LOSSES) {
    for (let call = 20; call < 120; call += 7) {
      const random = seededRandom(call);
      const disk = new SimDisk();
      disk.arm({ call, kind: "crash" });
      const first = await live(disk, 1);
      disk.restart(loss, random);
      const kept = await check(disk, [], first);
      disk.arm({ call: call + 11, kind: "crash" });
      const second = await live(disk, 100);
      disk.restart(loss, random);
      await check(disk, kept, second);
    }
  }
});

test("a failing write or sync at any call stops the log, and what it acknowledged is there after a restart and a power cut", async () => {
  const calls = await countCalls();
  for (const kind of ["EIO", "ENOSPC"] as const) {
    for (let call = 1; call <= calls; call += 1) {
      const disk = new SimDisk();
      disk.arm({ call, kind });
      const replica = makeReplica();
      const log = await open(disk, replica).catch(() => undefined);
      const outcome = log === undefined ? { acknowledged: [], ambiguous: [], dropped: [] } : await run(log, replica, 1);
      await log?.close();
      assert.ok(outcome.ambiguous.length === 0 || log?.failure.aborted === true, "ambiguous only when the log stopped");
      if (log?.failure.aborted === true) {
        const late = await log.propose(StoreChanges.create({ atMs: 99 }), () => assert.fail("committed"));
        assert.equal(late.kind, "dropped");
      }
      disk.restart("keep", seededRandom(call));
      const found = await check(disk, [], outcome);
      // The failed sync left pages that only looked written: opening must have made them durable.
      disk.restart("lose", seededRandom(call));
      assert.deepEqual(await check(disk, found, { acknowledged: [], ambiguous: [], dropped: [] }), found);
    }
  }
});
