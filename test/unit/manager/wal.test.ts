// The log's bytes: records and payloads come back as they were written and never as something else, and a log with a file
// missing, a foreign one, or a record of a later version is refused and left as it is.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Entry } from "raft-ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import {
  decodeBatch,
  decodeHead,
  decodeInstalled,
  encodeBatch,
  encodeHead,
  encodeInstalled,
} from "../../../manager/replication/payload.ts";
import { RaftStorage, type RaftStorageOptions } from "../../../manager/replication/raft-storage.ts";
import { decodeRecord, encodeRecord } from "../../../manager/replication/record.ts";
import { SimDisk } from "../../support/sim-disk.ts";

const { signal } = new AbortController();
const number = fc.maxSafeNat();
const hardState = fc.record({ term: number, vote: number, commit: number }, { noNullPrototype: true });
const entries = fc
  .array(fc.tuple(number, fc.constantFrom(0, 1, 2), fc.uint8Array({ maxLength: 100 })), { maxLength: 9 })
  .map((list) =>
    list.map(([term, type, data], at): Entry => ({ index: 77 + at, term, type, data: Buffer.from(data) })),
  );
const batch = fc.record({ hard: fc.option(hardState), entries }, { noNullPrototype: true });

test("heads, batches and places come back as they were written, and random bytes are none of them", () => {
  fc.assert(
    fc.property(
      batch,
      hardState,
      number,
      fc.string({ maxLength: 40 }),
      fc.uint8Array({ maxLength: 200 }),
      (work, hard, id, name, noise) => {
        assert.deepEqual(decodeBatch(encodeBatch(work)), work);
        const installed = { place: { index: hard.commit, term: hard.term }, batch: work };
        assert.deepEqual(decodeInstalled(encodeInstalled(installed)), installed);
        const nodeId = Buffer.from(name).toString();
        const head = {
          meta: { raftId: id, nodeId, clusterId: `${nodeId}!` },
          hard,
          base: { index: id, term: hard.vote },
        };
        assert.deepEqual(decodeHead(encodeHead(head)), head);
        for (const decode of [decodeBatch, decodeInstalled, decodeHead]) decode(noise);
        const cut = encodeBatch(work).subarray(0, -1);
        assert.equal(decodeBatch(cut), undefined);
      },
    ),
    { numRuns: 300 },
  );
});

test("no bit flip and no cut makes another record of a record", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), fc.boolean(), (payload, where, isCut) => {
      const { bytes } = encodeRecord({ type: 2, keyId: 0, sequence: 3, syncedSequence: 2, previousCrc: 99, payload });
      const broken = Buffer.from(bytes);
      if (isCut) broken.fill(0, where % bytes.length);
      else broken.writeUInt8(broken.readUInt8(where % bytes.length) ^ (1 << (where % 8)), where % bytes.length);
      if (broken.equals(bytes)) return;
      assert.notEqual(decodeRecord(broken, 0).kind, "record");
    }),
    { numRuns: 1_000 },
  );
});

const options = (disk: SimDisk): RaftStorageOptions => ({
  ...{ disk, dir: "/m", logger: silentLogger, random: seededRandom(5), segmentBytes: 1_024, keptEntries: 5 },
});

/** A log of several files. */
async function written(): Promise<{ readonly disk: SimDisk; readonly segments: readonly string[] }> {
  const disk = new SimDisk();
  const meta = { raftId: 1, nodeId: "n", clusterId: "c" };
  const storage = await RaftStorage.create(
    options(disk),
    { meta, hard: { term: 1, vote: 0, commit: 0 }, entries: [] },
    signal,
  );
  for (let index = 1; index <= 40; index += 1) {
    await storage.append({ hard: null, entries: [{ index, term: 1, type: 0, data: Buffer.from(`entry ${index}`) }] });
  }
  await storage.close();
  return { disk, segments: disk.paths.filter((path) => path.endsWith(".log")) };
}

async function lastIndex(disk: SimDisk): Promise<number | "refused"> {
  const before = disk.paths.filter((path) => path.endsWith(".log")).map((path) => disk.peek(path));
  try {
    const storage = await RaftStorage.open(options(disk), signal);
    await storage?.close();
    return storage?.lastIndex() ?? 0;
  } catch (error) {
    assert.ok(isSwarmError(error, "FailedPrecondition"), String(error));
    const after = disk.paths.filter((path) => path.endsWith(".log")).map((path) => disk.peek(path));
    assert.deepEqual(after, before, "a refused log is left as it was");
    return "refused";
  }
}

test("a missing, empty or foreign segment is refused", async () => {
  const { disk, segments } = await written();
  assert.ok(segments.length >= 4);
  for (const path of segments.slice(0, -1)) {
    const kept = disk.peek(path);
    await disk.remove(path);
    assert.equal(await lastIndex(disk), "refused");
    await (await disk.open(path, "create")).write(Buffer.alloc(1_024), 0);
    assert.equal(await lastIndex(disk), "refused");
    disk.poke(path, disk.peek(segments.at(-1) ?? ""));
    assert.equal(await lastIndex(disk), "refused");
    disk.poke(path, kept);
  }
  assert.equal(await lastIndex(disk), 40);
});

test("damage before the last record is refused, and a record of a later version is not skipped", async () => {
  const { disk, segments } = await written();
  for (const [number, path] of segments.entries()) {
    const whole = disk.peek(path);
    for (let at = 3; at < whole.length; at += 61) {
      const broken = Buffer.from(whole);
      broken.fill(0, at);
      const isLast = number === segments.length - 1;
      if (broken.equals(whole)) continue;
      disk.poke(path, broken);
      if (!isLast) assert.equal(await lastIndex(disk), "refused", `zeros from byte ${at} of ${path}`);
    }
    disk.poke(path, whole);
  }
  const path = segments.at(-1) ?? assert.fail("a segment");
  const whole = disk.peek(path);
  let end = 0;
  let last = decodeRecord(whole, 0);
  for (let found = last; found.kind === "record"; found = decodeRecord(whole, end)) {
    last = found;
    end += found.record.bytes;
  }
  assert.ok(last.kind === "record");
  const { sequence, crc } = last.record;
  const next = encodeRecord({
    ...{
      type: 9,
      keyId: 0,
      sequence: sequence + 1,
      syncedSequence: sequence,
      previousCrc: crc,
      payload: Buffer.from("?"),
    },
  });
  const longer = Buffer.from(whole);
  longer.set(next.bytes, end);
  disk.poke(path, longer);
  assert.equal(await lastIndex(disk), "refused");
});
