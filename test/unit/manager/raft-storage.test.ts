// What is stored comes back: entries, replaced suffixes, the hard state, own and received snapshots, over restarts and new
// segments, and what is wrong with a stored log is refused with a sentence that says what to do.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EMPTY_CONF_STATE, type Entry, type HardState, type Index, type Term } from "raft-ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import type { Membership } from "../../../manager/replication/membership.ts";
import { decodeRecord, encodeRecord } from "../../../manager/replication/record.ts";
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

test("a snapshot that was cut short or flipped is left out where the one before it and the log make up for it", async () => {
  const disk = new SimDisk();
  const storage = await begin(disk);
  for (let n = 1; n <= 40; n += 1) {
    await storage.append({ hard: { ...ZERO, commit: n }, entries: entries(n, 1, `${n} ${"x".repeat(90)}`) });
    if (n % 20 === 0)
      await storage.saveSnapshot({ index: n, term: 1, membership: membership(1) }, [Buffer.from(`state ${n}`)]);
  }
  await storage.close();
  const [older, newer] = disk.paths.filter((path) => path.endsWith(".snap"));
  assert.ok(older !== undefined && newer !== undefined);
  const whole = disk.peek(newer);
  for (let at = 0; at < whole.length; at += 7) {
    const broken = Buffer.from(whole);
    broken.writeUInt8(broken.readUInt8(at) ^ 4, at);
    disk.poke(newer, at % 2 === 0 ? broken : whole.subarray(0, at));
    const opened = await reopen(disk);
    assert.equal(opened.snapshotIndex, 20, `byte ${at}`);
    assert.equal(Buffer.from((await opened.loadSnapshot())?.bytes ?? []).toString(), "state 20");
    assert.equal(opened.lastIndex(), 40);
    await opened.close();
  }
  disk.poke(older, whole.subarray(0, 60));
  assert.match(await refusal(reopen(disk)), /there is no good snapshot of entry \d+ or a later one/);
});

test("a snapshot whose chunks stop or that is aborted leaves nothing", async () => {
  const disk = new SimDisk();
  const storage = await begin(disk);
  const abort = new AbortController();
  const meta = { index: 5, term: 2, membership: membership(1) };
  async function* stopping(): AsyncGenerator<Uint8Array, void, undefined> {
    yield await Promise.resolve(Buffer.from("a"));
    abort.abort(new Error("stopped"));
    yield Buffer.from("b");
  }
  await assert.rejects(storage.receiveSnapshot(meta, stopping(), abort.signal), /stopped/);
  assert.deepEqual(
    disk.paths.filter((path) => path.includes("/snap/")),
    [],
  );
  await assert.rejects(storage.installSnapshot({ meta, hard: null, entries: [] }), /is not stored here/);
  await storage.close();
});

test("a sealed record that was changed and its checksum with it is refused, as is another key", async () => {
  const disk = new SimDisk();
  const storage = await begin(disk);
  await storage.append({ hard: null, entries: entries(1, 1, "one", "two") });
  await storage.close();
  const path = disk.paths.find((each) => each.endsWith(".log")) ?? assert.fail("a segment");
  const whole = disk.peek(path);
  assert.ok(!whole.includes("two"), "nothing of an entry is readable");
  const head = decodeRecord(whole, 0);
  assert.ok(head.kind === "record");
  const record = decodeRecord(whole, head.record.bytes);
  assert.ok(record.kind === "record");
  for (const at of record.record.payload.keys()) {
    const payload = Buffer.from(record.record.payload);
    payload.writeUInt8(payload.readUInt8(at) ^ 1, at);
    disk.poke(
      path,
      Buffer.concat([whole.subarray(0, head.record.bytes), encodeRecord({ ...record.record, payload }).bytes]),
    );
    assert.match(
      await refusal(reopen(disk)),
      /does not open with key \d+: the key is another one, or the record was changed/,
    );
  }
  disk.poke(path, whole);
  const keys = disk.peek(`${DIR}/keys.json`);
  disk.poke(
    `${DIR}/keys.json`,
    Buffer.from(
      keys
        .toString()
        .replaceAll(/"key": "../g, (start) => `${start.slice(0, -2)}${start.endsWith("00") ? "11" : "00"}`),
    ),
  );
  assert.match(await refusal(reopen(disk)), /does not open with key 1/);
  for (const text of ["", "{}", '{"keys":[{"id":1,"key":"00","noncePrefix":"00"}]}', '{"keys":[]}']) {
    disk.poke(`${DIR}/keys.json`, Buffer.from(text));
    assert.match(await refusal(reopen(disk)), /does not hold the keys/);
  }
  disk.poke(`${DIR}/keys.json`, keys);
  await (await reopen(disk)).close();
});

test("any flip or cut in a log gives the whole log, one without its last record, or a refusal", async () => {
  const disk = new SimDisk();
  const storage = await begin(disk);
  for (let n = 1; n <= 5; n += 1)
    await storage.append({ hard: { ...ZERO, commit: n - 1 }, entries: entries(n, 1, "x".repeat(n * 20)) });
  const all = texts(storage);
  await storage.close();
  const path = disk.paths.find((each) => each.endsWith(".log")) ?? assert.fail("a segment");
  const whole = disk.peek(path);
  const used = whole.findLastIndex((byte) => byte !== 0) + 1;
  await fc.assert(
    fc.asyncProperty(fc.nat(used - 1), fc.nat(7), fc.boolean(), async (at, bit, isCut) => {
      const broken = Buffer.from(whole);
      if (isCut) broken.fill(0, at);
      else broken.writeUInt8(broken.readUInt8(at) ^ (1 << bit), at);
      disk.poke(path, broken);
      const opened = await reopen(disk).catch(async (error: unknown) => {
        await refusal(Promise.reject(error instanceof Error ? error : new Error(String(error))));
      });
      if (opened === undefined) return;
      const found = texts(opened);
      assert.deepEqual(found, all.slice(0, found.length));
      assert.ok(isCut || found.length >= 4, "a flip costs the last record at most");
      await opened.close();
    }),
    { numRuns: 150 },
  );
});

test("lost keys are refused", async () => {
  const disk = new SimDisk();
  await (await begin(disk)).close();
  await disk.remove(`${DIR}/keys.json`);
  assert.match(await refusal(reopen(disk)), /it is sealed with key 1, and \/state\/manager\/keys.json is missing/);
});
