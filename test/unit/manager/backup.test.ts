// Backups as bytes: what was encoded comes back however it is cut into pieces, and anything else is refused with a sentence.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBackup, encodeBackup } from "../../../manager/backup.ts";

const HEADER = { clusterId: "c".repeat(25), index: 42, createdAtMs: 1_700_000_000_000 };

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (let from = 0; from < bytes.byteLength; from += size) yield bytes.subarray(from, from + size);
}

function encoded(pieces: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...encodeBackup(HEADER, pieces)]);
}

test("what was encoded comes back, whatever the pieces", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 2_000 }), { maxLength: 5 }),
      fc.integer({ min: 1, max: 500 }),
      async (pieces, size) => {
        const { state, ...header } = await decodeBackup(inPieces(encoded(pieces), size));
        assert.deepEqual(header, HEADER);
        assert.deepEqual(Buffer.from(state), Buffer.concat(pieces));
      },
    ),
    { numRuns: 50 },
  );
});

test("a large state is cut into chunks that any transport takes", () => {
  const parts = [...encodeBackup(HEADER, [new Uint8Array(1_000_000)])];
  assert.ok(parts.every((part) => part.byteLength <= 262_148));
});

test("no cut and no flipped bit makes another backup of a backup", async () => {
  const whole = encoded([Buffer.from("services"), Buffer.from("nodes")]);
  const refused = { code: "InvalidArgument", message: /^the backup cannot be used: / };
  for (let length = 0; length < whole.byteLength; length += 1)
    await assert.rejects(decodeBackup(inPieces(whole.subarray(0, length), 64)), refused);
  for (let at = 0; at < whole.byteLength; at += 1) {
    const broken = Buffer.from(whole);
    broken.writeUInt8(broken.readUInt8(at) ^ (1 << (at % 8)), at);
    await assert.rejects(decodeBackup(inPieces(broken, 64)), refused, `byte ${at}`);
  }
  await assert.rejects(decodeBackup(inPieces(Buffer.concat([whole, whole]), 64)), /more after its end/);
});

test("what is no backup, and one of a later version, are told apart", async () => {
  const tar = Buffer.alloc(1_000, "some other file ");
  await assert.rejects(decodeBackup(inPieces(tar, 100)), /it is not a backup of tsswarm/);
  const later = Buffer.from(encoded([]).toString("latin1").replace('"version":1', '"version":2'), "latin1");
  await assert.rejects(decodeBackup(inPieces(later, 100)), /version 2.*reads version 1/);
});
