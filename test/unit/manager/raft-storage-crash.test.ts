// A scripted run of a RaftStorage (appends, replaced suffixes, own and received snapshots, compaction) ended at every call to
// the disk with every kind of loss or failure: what was acknowledged is there afterwards, and no nonce was used twice.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Disk, DiskFile } from "../../../proto/base/disk.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { decodeRecord } from "../../../manager/replication/record.ts";
import { type Ended, SCRIPT, STORAGE_DIR, ScriptedStorage } from "../../support/raft-storage-script.ts";
import { LOSSES, type Loss, SimDisk } from "../../support/sim-disk.ts";

/** Every call takes half a minute. Each run takes a fifth of them, another fifth for each kind of loss; EVERY_CRASH=1 takes all. */
const STEP = process.env["EVERY_CRASH"] === undefined ? 5 : 1;

async function countCalls(): Promise<number> {
  const disk = new SimDisk();
  const ended = await new ScriptedStorage(disk, seededRandom(1)).live(SCRIPT);
  assert.equal(ended.why, "script");
  assert.ok(!disk.paths.some((path) => path.includes("wal-00000000000001-")), "old segments are gone");
  return disk.calls;
}

async function crashAt(call: number, loss: Loss): Promise<void> {
  const random = seededRandom(call * 31 + LOSSES.indexOf(loss));
  const disk = new SimDisk();
  const storage = new ScriptedStorage(disk, random);
  disk.arm({ call, kind: "crash" });
  await storage.live(SCRIPT);
  disk.restart(loss, random);
  assert.equal((await storage.live([])).why, "script");
  disk.restart("lose", random);
  assert.equal((await storage.live([])).why, "script");
}

for (const loss of LOSSES) {
  test(`a storage that crashes at any disk call with loss "${loss}" keeps what it acknowledged`, async () => {
    const calls = await countCalls();
    assert.ok(calls > 300, `the script makes ${calls} calls`);
    for (let call = 1 + (LOSSES.indexOf(loss) % STEP); call <= calls; call += STEP) {
      try {
        await crashAt(call, loss);
      } catch (error) {
        throw new Error(`crash at call ${call} of ${calls} with loss ${loss}`, { cause: error });
      }
    }
  });
}

test("a crash at every call of the recovery from a crash loses nothing either", async () => {
  const calls = await countCalls();
  for (const loss of LOSSES) {
    for (const firstCrash of [0.45, 0.8].map((part) => Math.floor(part * calls))) {
      let ended: Ended = { steps: 0, why: "opening" };
      for (let call = 1; ended.why !== "script"; call += STEP) {
        const random = seededRandom(call * 1_009 + firstCrash);
        const disk = new SimDisk();
        const storage = new ScriptedStorage(disk, random);
        disk.arm({ call: firstCrash, kind: "crash" });
        await storage.live(SCRIPT);
        disk.restart(loss, random);
        disk.arm({ call, kind: "crash" });
        ended = await storage.live([]);
        disk.restart(loss, random);
        assert.equal((await storage.live(SCRIPT.slice(0, 3))).why, "script");
      }
    }
  }
});

test("lives that end one after the other go on from each other, and no nonce seals two payloads", async () => {
  for (const loss of LOSSES) {
    for (let seed = 1; seed <= 12 / STEP; seed += 1) {
      const random = seededRandom(seed);
      const disk = new SimDisk();
      const storage = new ScriptedStorage(watchNonces(disk), random);
      for (let life = 0; life < 5; life += 1) {
        disk.arm({ call: random.int(1, 250), kind: "crash" });
        const from = random.int(0, SCRIPT.length);
        await storage.live([...SCRIPT.slice(from), ...SCRIPT.slice(0, from)]);
        disk.restart(loss, random);
      }
      assert.equal((await storage.live(SCRIPT)).why, "script");
    }
  }
});

for (const kind of ["EIO", "ENOSPC"] as const) {
  for (const forever of [false, true]) {
    test(`${kind} ${forever ? "from any call on" : "at any one call"} costs nothing that was acknowledged`, async () => {
      const calls = await countCalls();
      for (let call = 2; call <= calls; call += STEP) {
        try {
          const disk = new SimDisk();
          const storage = new ScriptedStorage(watchNonces(disk), seededRandom(call));
          disk.arm({ call, kind, forever });
          await storage.live(SCRIPT);
          disk.restart("keep", seededRandom(call));
          assert.equal((await storage.live([])).why, "script");
          // The failed sync left pages that only looked written: opening must have made them durable.
          disk.restart("lose", seededRandom(call));
          assert.equal((await storage.live([])).why, "script");
        } catch (error) {
          throw new Error(`${kind} at call ${call} of ${calls}`, { cause: error });
        }
      }
    });
  }
}

/** Asserts that a key and a sequence never stand for two different records among all that is written to the log. */
function watchNonces(disk: Disk): Disk {
  const seen = new Map<string, Buffer>();
  const watch = (bytes: Uint8Array): void => {
    const buffer = Buffer.from(bytes);
    for (let at = 0; ;) {
      const decoded = decodeRecord(buffer, at);
      if (decoded.kind !== "record") return;
      const { keyId, sequence, payload, bytes: size } = decoded.record;
      const nonce = `key ${keyId}, sequence ${sequence}`;
      const before = seen.get(nonce);
      assert.ok(before === undefined || before.equals(payload), `${nonce} seals two payloads`);
      seen.set(nonce, Buffer.from(payload));
      at += size;
    }
  };
  const file = (inner: DiskFile): DiskFile => ({
    size: () => inner.size(),
    read: (range) => inner.read(range),
    write: (bytes, offset) => {
      watch(bytes);
      return inner.write(bytes, offset);
    },
    sync: () => inner.sync(),
    close: () => inner.close(),
  });
  return {
    makeDir: (path) => disk.makeDir(path),
    list: (path) => disk.list(path),
    open: async (path, mode) => {
      const opened = await disk.open(path, mode);
      return path.startsWith(`${STORAGE_DIR}/wal/`) ? file(opened) : opened;
    },
    rename: (move) => disk.rename(move),
    remove: (path) => disk.remove(path),
    syncDir: (path) => disk.syncDir(path),
  };
}
