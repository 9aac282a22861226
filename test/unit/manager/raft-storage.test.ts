// What is stored comes back: entries, replaced suffixes, the hard state, own and received snapshots, over restarts and new
// segments, and what is wrong with a stored log is refused with a sentence that says what to do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY_CONF_STATE, type Entry, type HardState, type Index, type Term } from "raft-ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import type { Membership } from "../../../manager/replication/membership.ts";
import { RaftStorage, type RaftStorageOptions } from "../../../manager/replication/raft-storage.ts";
import { SimDisk } from "../../support/sim-disk.ts";

const { signal } = new AbortController();
const DIR = "/state/manager";
const META = { raftId: 7_000_000_000_001, nodeId: "node-1", clusterId: "cluster" };
const ZERO: HardState = { term: 1, vote: META.raftId, commit: 0 };

const random = seededRandom(1);

function optionsFor(disk: SimDisk, more: Partial<RaftStorageOptions> = {}): RaftStorageOptions {
  return { disk, dir: DIR, logger: silentLogger, random, segmentBytes: 2_048, keptEntries: 5, ...more };
}

function membership(...voters: readonly number[]): Membership {
  const members = voters.map((raftId) => ({ raftId, nodeId: `node-${raftId}`, addr: `10.0.0.${raftId}:2377` }));
  return { conf: { ...EMPTY_CONF_STATE, voters }, members, removed: [99] };
}

/** Entries from `index` on, of one term, with their text. */
function entries(index: Index, term: Term, ...texts: readonly string[]): readonly Entry[] {
  return texts.map((text, offset) => ({ index: index + offset, term, type: 0, data: Buffer.from(text) }));
}

async function begin(disk: SimDisk, more: Partial<RaftStorageOptions> = {}): Promise<RaftStorage> {
  return RaftStorage.create(optionsFor(disk, more), { meta: META, hard: ZERO, entries: [] }, signal);
}

async function reopen(disk: SimDisk, more: Partial<RaftStorageOptions> = {}): Promise<RaftStorage> {
  return (await RaftStorage.open(optionsFor(disk, more), signal)) ?? assert.fail("a log");
}

function texts(storage: RaftStorage): readonly string[] {
  const all = storage.entries(storage.firstIndex(), storage.lastIndex() + 1, Infinity);
  assert.ok(all !== "compacted");
  return all.map(({ index, term, data }) => `${index}.${term} ${Buffer.from(data).toString()}`);
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.ok(isSwarmError(error, "FailedPrecondition"), String(error));
    assert.match(error.message, /`tsswarm swarm leave --force` on this node.*restore a backup/);
    return error.message;
  }
  return assert.fail("it was opened");
}

async function* streamed(...pieces: readonly string[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const piece of pieces) yield await Promise.resolve(Buffer.from(piece));
}

test("a folder without a log opens as none, and a log is begun once", async () => {
  const disk = new SimDisk();
  assert.equal(await RaftStorage.open(optionsFor(disk), signal), undefined);
  const first = { meta: META, hard: ZERO, entries: entries(1, 1, "a", "b") };
  const storage = await RaftStorage.create(optionsFor(disk), first, signal);
  assert.deepEqual(storage.meta, META);
  assert.deepEqual(texts(storage), ["1.1 a", "2.1 b"]);
  assert.deepEqual(storage.initialState(), { hard: ZERO, conf: EMPTY_CONF_STATE });
  await storage.close();
  await assert.rejects(RaftStorage.create(optionsFor(disk), first, signal), /there is a manager's log/);
});

test("entries, replaced suffixes and the hard state come back over restarts and new segments", async () => {
  const disk = new SimDisk();
  let storage = await begin(disk);
  for (let n = 1; n <= 40; n += 1) {
    await storage.append({
      hard: n % 3 === 0 ? { term: 1, vote: META.raftId, commit: n - 2 } : null,
      entries: entries(n, 1, `${n} ${"x".repeat(80)}`),
    });
  }
  await storage.append({
    hard: { term: 3, vote: 0, commit: 37 },
    entries: entries(39, 3, "other 39", "other 40", "41"),
  });
  await storage.append({ hard: { term: 3, vote: 5, commit: 38 }, entries: [] });
  await storage.append({ hard: null, entries: entries(40, 3, "again 40") });
  const before = texts(storage);
  assert.deepEqual(
    before.slice(-3).map((each) => each.slice(0, 13)),
    ["38.1 38 xxxxx", "39.3 other 39", "40.3 again 40"],
  );
  await storage.close();
  storage = await reopen(disk);
  assert.deepEqual(texts(storage), before);
  assert.deepEqual(storage.initialState().hard, { term: 3, vote: 5, commit: 38 });
  assert.deepEqual(storage.meta, META);
  await storage.close();
});

test("own snapshots drop what the older of two holds, and keep entries for those that lag", async () => {
  const disk = new SimDisk();
  let storage = await begin(disk);
  for (let n = 1; n <= 60; n += 1) {
    await storage.append({ hard: null, entries: entries(n, 1, `${n} ${"x".repeat(80)}`) });
    if (n % 20 === 0) {
      await storage.append({ hard: { ...ZERO, commit: n }, entries: [] });
      await storage.saveSnapshot({ index: n, term: 1, membership: membership(1, 2) }, [
        Buffer.from(`state `),
        Buffer.from(`${n}`),
      ]);
    }
  }
  assert.equal(storage.firstIndex(), 41);
  assert.ok(!disk.paths.some((path) => path.includes("wal-00000000000001-")));
  const hard = storage.initialState().hard;
  await storage.close();
  storage = await reopen(disk);
  assert.equal(storage.firstIndex(), 41);
  assert.equal(storage.lastIndex(), 60);
  assert.deepEqual(storage.initialState(), { hard, conf: membership(1, 2).conf });
  assert.deepEqual(storage.membership, membership(1, 2));
  const loaded = await storage.loadSnapshot();
  assert.equal(Buffer.from(loaded?.bytes ?? []).toString(), "state 60");
  assert.equal(storage.snapshot(3), "unavailable");
  assert.deepEqual(storage.snapshot(2), { index: 60, term: 1, conf: membership(1, 2).conf, data: new Uint8Array(0) });
  await storage.close();
});

test("a received snapshot counts once it is installed, and then takes the place of the log", async () => {
  const disk = new SimDisk();
  let storage = await begin(disk);
  await storage.append({ hard: null, entries: entries(1, 1, "a", "b", "c") });
  const meta = { index: 50, term: 4, membership: membership(1, 2, 3) };
  await storage.receiveSnapshot(meta, streamed("the ", "state"), signal);
  await storage.close();
  storage = await reopen(disk);
  assert.equal(storage.lastIndex(), 3);
  assert.equal(await storage.loadSnapshot(), undefined);
  await storage.receiveSnapshot(meta, streamed("the ", "state"), signal);
  const { bytes } = await storage.installSnapshot({
    meta,
    hard: { term: 5, vote: 0, commit: 50 },
    entries: entries(51, 5, "next"),
  });
  assert.equal(Buffer.from(bytes).toString(), "the state");
  for (const _ of [1, 2]) {
    assert.deepEqual(texts(storage), ["51.5 next"]);
    assert.equal(storage.term(50), 4);
    assert.equal(storage.term(49), "compacted");
    assert.deepEqual(storage.initialState(), { hard: { term: 5, vote: 0, commit: 50 }, conf: meta.membership.conf });
    const pieces: Uint8Array[] = [];
    for await (const piece of storage.readSnapshot(50)) pieces.push(piece);
    assert.equal(Buffer.concat(pieces).toString(), "the state");
    await storage.close();
    storage = await reopen(disk);
  }
  await storage.close();
});

test("lost keys are refused", async () => {
  const disk = new SimDisk();
  await (await begin(disk)).close();
  await disk.remove(`${DIR}/keys.json`);
  assert.match(await refusal(reopen(disk)), /it is sealed with key 1, and \/state\/manager\/keys.json is missing/);
});
