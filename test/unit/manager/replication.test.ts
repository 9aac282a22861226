// The log behind the store: order, groups, snapshots and their fallback, limits, and one run on the machine's own disk.

import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Disk } from "../../../proto/base/disk.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { StoreChange_Action, StoreChanges } from "../../../proto/gen/control.ts";
import { Service } from "../../../proto/gen/objects.ts";
import type { ProposalResult } from "../../../manager/store/proposer.ts";
import { nodeDisk } from "../../../manager/replication/node-disk.ts";
import { decodeRecord } from "../../../manager/replication/record.ts";
import { SingleLog } from "../../../manager/replication/single-log.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";
import { type Replica, makeReplica } from "../../support/replica.ts";
import { SimDisk } from "../../support/sim-disk.ts";

const { signal } = new AbortController();

function open(disk: Disk, replica: Replica, dir = "/m", segmentBytes = 4_096): Promise<SingleLog> {
  return SingleLog.open(
    {
      disk,
      dir,
      clock: new ManualClock(),
      logger: silentLogger,
      target: replica,
      snapshot: () => replica.snapshot(),
      snapshotEvery: 10,
      segmentBytes,
    },
    signal,
  );
}

function propose(log: SingleLog, replica: Replica, id: number): Promise<ProposalResult> {
  return log.propose(StoreChanges.create({ atMs: id }), (index) => replica.commit(id, index));
}

/** Proposes one after the other. */
async function fill(log: SingleLog, replica: Replica, ids: readonly number[]): Promise<void> {
  for (const id of ids) assert.equal((await propose(log, replica, id)).kind, "committed");
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, at) => at + 1);
}

function snapshots(disk: SimDisk): readonly string[] {
  return disk.paths.filter((path) => path.endsWith(".snap"));
}

test("changes commit in the order they were proposed, and those that wait share a sync", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica);
  await propose(log, replica, 1);
  disk.arm(undefined);
  const results = await Promise.all(upTo(8).map((id) => propose(log, replica, id + 1)));
  assert.deepEqual(
    results.map((result) => result.kind === "committed" && result.index),
    upTo(8).map((id) => id + 1),
  );
  assert.deepEqual(replica.ids, upTo(9));
  assert.equal(disk.history.filter((call) => call === "sync").length, 1);
  await log.close();
});

test("on a real disk everything is there after a restart", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-log-"));
  try {
    const replica = makeReplica();
    const log = await open(nodeDisk, replica, `${dir}/a/manager`);
    await fill(log, replica, upTo(35));
    await log.close();
    assert.equal((await readdir(`${dir}/a/manager/snap`)).length, 2);
    const again = makeReplica();
    const reopened = await open(nodeDisk, again, `${dir}/a/manager`);
    assert.deepEqual(again.ids, upTo(35));
    await fill(reopened, again, [36]);
    await reopened.close();
    assert.ok(
      (await readdir(`${dir}/a/manager/wal`)).every((name) => name.endsWith(".log")),
      "no spare is left",
    );
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("a damaged snapshot is left out: the one before it and the log make up for it", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica, "/m", 512);
  await fill(log, replica, upTo(47));
  await log.close();
  const newest = snapshots(disk).at(-1) ?? assert.fail("a snapshot");
  const bytes = disk.peek(newest);
  bytes.writeUInt8(bytes.readUInt8(40) ^ 4, 40);
  disk.poke(newest, bytes);
  const again = makeReplica();
  const reopened = await open(disk, again, "/m", 512);
  assert.deepEqual(again.ids, upTo(47));
  assert.ok(disk.paths.includes(`${newest}.bad`));
  await fill(
    reopened,
    again,
    upTo(12).map((id) => id + 47),
  );
  await reopened.close();
  assert.ok(!disk.paths.includes(`${newest}.bad`), "it goes with the next snapshot");
});

test("no good snapshot and a log that begins later is refused with the reason", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica, "/m", 512);
  await fill(log, replica, upTo(47));
  await log.close();
  for (const path of snapshots(disk)) disk.poke(path, disk.peek(path).subarray(0, 30));
  await assert.rejects(
    open(disk, makeReplica(), "/m", 512),
    (error) =>
      isSwarmError(error, "FailedPrecondition") && /there is no good snapshot that reaches/.test(error.message),
  );
});

test("a log that ends before the snapshot is refused and left as it is", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica);
  await fill(log, replica, upTo(10));
  await log.close();
  const path = disk.paths.find((each) => each.endsWith(".log")) ?? assert.fail("a segment");
  const cut = disk.peek(path);
  let last = 0;
  for (let at = 0; ;) {
    const decoded = decodeRecord(cut, at);
    if (decoded.kind !== "record") break;
    last = at;
    at += decoded.record.bytes;
  }
  cut.fill(0, last);
  disk.poke(path, cut);
  await assert.rejects(
    open(disk, makeReplica()),
    (error) =>
      isSwarmError(error, "FailedPrecondition") &&
      /it ends at entry 9, but there is a snapshot of entry 10/.test(error.message),
  );
  assert.deepEqual(disk.peek(path), cut);
});

test("a snapshot that cannot be written leaves the log going, and the next one is tried", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica);
  await fill(log, replica, upTo(8));
  disk.arm({ call: 1, kind: "ENOSPC", only: "open", forever: true });
  await fill(
    log,
    replica,
    upTo(10).map((id) => id + 8),
  );
  assert.deepEqual(snapshots(disk), []);
  disk.arm(undefined);
  await fill(
    log,
    replica,
    upTo(10).map((id) => id + 18),
  );
  await log.close();
  assert.equal(snapshots(disk).length, 1);
  assert.ok(!disk.paths.some((path) => path.endsWith(".tmp")));
});

test("a change that is too large, or comes after closing, is dropped with the reason", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica);
  const service = Service.create({ id: "x".repeat(3_000) });
  const large: StoreChanges = {
    changes: [{ action: StoreChange_Action.CREATE, object: { $case: "service", value: service } }],
    atMs: 0,
  };
  const result = await log.propose(large, () => assert.fail("committed"));
  assert.ok(result.kind === "dropped");
  assert.match(result.reason, /too large/);
  await log.close();
  await log.close();
  const late = await propose(log, replica, 1);
  assert.deepEqual(late, { kind: "dropped", reason: "the manager is stopping" });
});

test("what is proposed behind a dropped change, before its proposer can know, is dropped too", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica);
  const service = Service.create({ id: "x".repeat(3_000) });
  const large: StoreChanges = {
    changes: [{ action: StoreChange_Action.CREATE, object: { $case: "service", value: service } }],
    atMs: 0,
  };
  const before = propose(log, replica, 1);
  const dropped = log.propose(large, () => assert.fail("committed"));
  const behind = propose(log, replica, 2);
  assert.equal((await dropped).kind, "dropped");
  assert.equal((await behind).kind, "dropped");
  assert.equal((await before).kind, "committed");
  await settled();
  assert.equal((await propose(log, replica, 2)).kind, "committed");
  await log.close();
});

test("a full disk drops what was to be written and what waited, and the log goes on once there is room", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica, "/m", 512);
  disk.arm({ call: 1, kind: "ENOSPC", only: "open", forever: true });
  const results = await Promise.all(upTo(200).map((id) => propose(log, replica, id)));
  const firstDropped = results.findIndex((result) => result.kind === "dropped");
  assert.ok(firstDropped > 0);
  assert.ok(results.slice(firstDropped).every((result) => result.kind === "dropped" && /ENOSPC/.test(result.reason)));
  assert.ok(!log.failure.aborted);
  disk.arm(undefined);
  await settled();
  await fill(log, replica, [100]);
  await log.close();
  const again = makeReplica();
  await (await open(disk, again, "/m", 512)).close();
  assert.deepEqual(again.ids, [...upTo(firstDropped), 100]);
});

test("a failed sync makes what was being written ambiguous and what waited dropped, and says so once for all", async () => {
  const disk = new SimDisk();
  const replica = makeReplica();
  const log = await open(disk, replica);
  // The spare is ready by then, so that the next sync is the log's.
  await settled();
  disk.arm({ call: 1, kind: "EIO", only: "sync" });
  const first = propose(log, replica, 1);
  await Promise.resolve();
  await Promise.resolve();
  const second = propose(log, replica, 2);
  const [a, b] = await Promise.all([first, second]);
  assert.equal(a.kind, "ambiguous");
  assert.equal(b.kind, "dropped");
  assert.ok(log.failure.aborted);
  assert.match(String(log.failure.reason), /cannot write the manager's log.*EIO.*start it again/);
  assert.deepEqual(replica.ids, []);
  await log.close();
});
