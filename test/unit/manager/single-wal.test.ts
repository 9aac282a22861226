// The log's format and its rule for a damaged end: what was synced is read back or refused, never cut.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { decodeEntries, encodeEntries } from "../../../manager/replication/single-payload.ts";
import { decodeRecord, encodeRecord } from "../../../manager/replication/record.ts";
import { Wal } from "../../../manager/replication/single-wal.ts";
import { SimDisk } from "../../support/sim-disk.ts";

const { signal } = new AbortController();
const DIR = "/wal";

function open(disk: SimDisk, entries: string[], segmentBytes = 8_192): Promise<Wal> {
  return Wal.open(
    { disk, dir: DIR, logger: silentLogger, segmentBytes },
    {
      signal,
      onEntries: (batch) => entries.push(...batch.entries.map((entry) => Buffer.from(entry).toString())),
      onEnd: () => undefined,
    },
  );
}

/** A log whose records hold these entries; answers the bytes of its one segment and where each record begins. */
async function written(batches: readonly (readonly string[])[]): Promise<{
  disk: SimDisk;
  path: string;
  bytes: Buffer;
  starts: readonly number[];
}> {
  const disk = new SimDisk();
  const wal = await open(disk, []);
  for (const batch of batches) {
    assert.deepEqual(await wal.append(batch.map((text) => Buffer.from(text))), { kind: "durable" });
  }
  await wal.close();
  const path = disk.paths.find((each) => each.endsWith(".log")) ?? assert.fail("a segment");
  const bytes = disk.peek(path);
  const starts: number[] = [];
  for (let at = 0; ;) {
    const decoded = decodeRecord(bytes, at);
    if (decoded.kind !== "record") break;
    starts.push(at);
    at += decoded.record.bytes;
  }
  assert.equal(starts.length, batches.length + 1);
  return { disk, path, bytes, starts };
}

/** What reopening says: the entries, or "refused". */
async function reopen(disk: SimDisk): Promise<readonly string[] | "refused"> {
  const entries: string[] = [];
  const before = disk.paths.filter((path) => path.endsWith(".log")).map((path) => disk.peek(path));
  try {
    const wal = await open(disk, entries);
    await wal.close();
    return entries;
  } catch (error) {
    assert.ok(isSwarmError(error, "FailedPrecondition"), String(error));
    assert.match(
      error.message,
      /the manager's log is damaged at \/wal\/.*Nothing was changed\..*`tsswarm swarm leave --force`.*restore a backup/,
    );
    const after = disk.paths.filter((path) => path.endsWith(".log")).map((path) => disk.peek(path));
    assert.deepEqual(after, before, "a refused log is left as it was");
    return "refused";
  }
}

const entryList = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 12 });

test("a record and its entries come back as they were written", () => {
  fc.assert(
    fc.property(entryList, fc.nat(), fc.nat(0xffff), (entries, previousCrc, sequence) => {
      const payload = encodeEntries({ firstIndex: sequence + 1, entries });
      const record = { type: 2, keyId: 7, sequence: sequence + 5, syncedSequence: sequence, previousCrc, payload };
      const encoded = encodeRecord(record);
      const decoded = decodeRecord(Buffer.concat([encoded.bytes, Buffer.alloc(64)]), 0);
      assert.ok(decoded.kind === "record");
      const { crc, bytes, header: _, ...same } = decoded.record;
      assert.equal(crc, encoded.crc);
      assert.equal(bytes, encoded.bytes.length);
      assert.deepEqual({ ...same, payload: [...same.payload] }, { ...record, payload: [...payload] });
      const batch = decodeEntries(decoded.record.payload);
      assert.equal(batch?.firstIndex, sequence + 1);
      assert.deepEqual(
        batch.entries.map((each) => [...each]),
        entries.map((each) => [...each]),
      );
    }),
    { numRuns: 300 },
  );
});

test("no bit flip and no cut makes another record of a record", () => {
  fc.assert(
    fc.property(entryList, fc.nat(), fc.boolean(), (entries, where, cut) => {
      const { bytes } = encodeRecord({
        type: 2,
        keyId: 0,
        sequence: 3,
        syncedSequence: 2,
        previousCrc: 99,
        payload: encodeEntries({ firstIndex: 1, entries }),
      });
      const broken = Buffer.from(bytes);
      if (cut) broken.fill(0, where % bytes.length);
      else broken.writeUInt8(broken.readUInt8(where % bytes.length) ^ (1 << (where % 8)), where % bytes.length);
      if (broken.equals(bytes)) return;
      assert.notEqual(decodeRecord(broken, 0).kind, "record");
    }),
    { numRuns: 2_000 },
  );
});

test("random bytes never break the decoders", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      decodeEntries(bytes);
      assert.notEqual(decodeRecord(Buffer.from(bytes), 0).kind, "record");
    }),
    { numRuns: 2_000 },
  );
});

test("a damaged last record is cut, a damaged record before others is refused", async () => {
  const batches = [["a"], ["b", "c"], ["d".repeat(300)], ["e"]];
  const { path, bytes, starts } = await written(batches);
  const all = batches.flat();
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.nat(7), fc.integer({ min: 0, max: 4 }), async (where, bit, record) => {
      const from = starts[record] ?? 0;
      const end = starts[record + 1] ?? from + 56;
      const at = from + (where % (end - from));
      const broken = Buffer.from(bytes);
      broken.writeUInt8(broken.readUInt8(at) ^ (1 << bit), at);
      const disk = await copyOf(path, broken);
      const found = await reopen(disk);
      if (record === batches.length) assert.deepEqual(found, all.slice(0, -1));
      else assert.equal(found, "refused", `a flip in record ${record} at byte ${at - from}`);
    }),
    { numRuns: 400 },
  );
});

test("zeros from any byte on leave the whole records before it", async () => {
  const batches = [["a"], ["b", "c"], ["d".repeat(300)], ["e"]];
  const { path, bytes, starts } = await written(batches);
  const firstEntries = starts[1] ?? 0;
  const end = (starts.at(-1) ?? 0) + 64;
  for (let at = firstEntries; at < end; at += 3) {
    const cut = Buffer.from(bytes);
    cut.fill(0, at);
    // Zeros that were there already cut nothing.
    const whole = starts
      .slice(1)
      .filter((start, number) =>
        cut.subarray(start, starts[number + 2]).equals(bytes.subarray(start, starts[number + 2])),
      );
    const disk = await copyOf(path, cut);
    assert.deepEqual(await reopen(disk), batches.slice(0, whole.length).flat());
    const wal = await open(disk, []);
    await wal.append([Buffer.from("after")]);
    await wal.close();
    assert.deepEqual(await reopen(disk), [...batches.slice(0, whole.length).flat(), "after"]);
  }
});

test("remains of a torn record are gone before anything is written over them", async () => {
  const { path, bytes, starts } = await written([["a"], ["x".repeat(2_000)]]);
  const torn = Buffer.from(bytes);
  torn.fill(0, starts[2], (starts[2] ?? 0) + 512);
  const disk = await copyOf(path, torn);
  const wal = await open(disk, []);
  await wal.append([Buffer.from("b")]);
  await wal.close();
  assert.ok(!disk.peek(path).includes("xxx"));
  assert.deepEqual(await reopen(disk), ["a", "b"]);
});

test("a missing, empty or foreign segment is refused", async () => {
  const disk = new SimDisk();
  const wal = await open(disk, [], 512);
  for (let n = 0; n < 40; n += 1) await wal.append([Buffer.from(`entry ${n}`)]);
  await wal.close();
  const segments = disk.paths.filter((path) => path.endsWith(".log"));
  assert.ok(segments.length >= 4);
  for (const path of segments.slice(1, -1)) {
    const kept = disk.peek(path);
    await disk.remove(path);
    assert.equal(await reopen(disk), "refused");
    const file = await disk.open(path, "create");
    await file.write(Buffer.alloc(512), 0);
    assert.equal(await reopen(disk), "refused");
    disk.poke(path, disk.peek(segments[0] ?? ""));
    assert.equal(await reopen(disk), "refused");
    disk.poke(path, kept);
  }
  assert.equal((await reopen(disk)).length, 40);
});

test("a record of a later version is refused, not skipped", async () => {
  const { disk, path, bytes, starts } = await written([["a"]]);
  const last = decodeRecord(bytes, starts[1] ?? 0);
  assert.ok(last.kind === "record");
  const next = encodeRecord({
    type: 9,
    keyId: 0,
    sequence: last.record.sequence + 1,
    syncedSequence: last.record.sequence,
    previousCrc: last.record.crc,
    payload: Buffer.from("?"),
  });
  const longer = Buffer.from(bytes);
  longer.set(next.bytes, (starts[1] ?? 0) + last.record.bytes);
  disk.poke(path, longer);
  assert.equal(await reopen(disk), "refused");
});

test("with no room for a new segment nothing is written and the log goes on once there is", async () => {
  const disk = new SimDisk();
  const wal = await open(disk, [], 512);
  const entry = Buffer.from("x".repeat(100));
  // The spare that was begun at opening is made before the disk fills up.
  for (let n = 0; n < 4; n += 1) assert.equal((await wal.append([entry])).kind, "durable");
  disk.arm({ call: 1, kind: "ENOSPC", only: "open", forever: true });
  const results: string[] = [];
  for (let n = 0; n < 8; n += 1) results.push((await wal.append([entry])).kind);
  assert.ok(results.includes("full"));
  const full = await wal.append([entry]);
  assert.ok(full.kind === "full");
  assert.match(full.reason, /no room for the manager's log in \/wal: ENOSPC.*free some space/);
  disk.arm(undefined);
  assert.equal((await wal.append([Buffer.from("last")])).kind, "durable");
  await wal.close();
  const entries: string[] = [];
  await (await open(disk, entries, 512)).close();
  assert.equal(entries.at(-1), "last");
  assert.equal(entries.length, 4 + results.filter((each) => each === "durable").length + 1);
});

async function copyOf(path: string, bytes: Buffer): Promise<SimDisk> {
  const disk = new SimDisk();
  await disk.open(path, "create");
  await disk.syncDir(DIR);
  disk.poke(path, bytes);
  return disk;
}
