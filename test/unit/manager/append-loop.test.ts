// The append thread where the disk is full: what is in place is not asked for again, and nothing is said before all of it is durable.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY_CONF_STATE, type Entry, type HardState, type Message, message } from "raft-ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { AppendLoop } from "../../../manager/replication/append-loop.ts";
import { ManualClock } from "../../support/manual-clock.ts";

interface Work {
  readonly hard: HardState | null;
  readonly entries: readonly Entry[];
}

/** A storage that has room for what `room` says, call by call; afterwards for everything. */
class Disk {
  readonly clock = new ManualClock();
  readonly calls: string[] = [];
  readonly full: (string | undefined)[] = [];
  readonly said: string[] = [];
  readonly failures: unknown[] = [];
  readonly loop: AppendLoop;
  readonly #room: boolean[];

  constructor(room: readonly boolean[]) {
    this.#room = [...room];
    this.loop = new AppendLoop({
      storage: {
        initialState: () => ({ hard: { term: 1, vote: 0, commit: 0 }, conf: EMPTY_CONF_STATE }),
        append: (work) =>
          Promise.resolve(this.#takes("append", work) ? { kind: "durable" } : { kind: "full", reason: "no room" }),
      },
      clock: this.clock,
      random: seededRandom(1),
      deliver: (responses) => this.said.push(...responses.map((each) => each.type)),
      install: (work) =>
        this.#takes("install", work)
          ? Promise.resolve()
          : Promise.reject(new SwarmError("ResourceExhausted", "no room for the snapshot")),
      onFull: (reason) => this.full.push(reason),
      onDurable: () => undefined,
      onFailure: (error) => this.failures.push(error),
    });
  }

  #takes(call: string, { hard, entries }: Work): boolean {
    const at = hard === null ? "-" : `${hard.term}/${hard.vote}/${hard.commit}`;
    this.calls.push(`${call} ${at} ${entries.map((entry) => entry.index).join()}`.trimEnd());
    return this.#room.shift() ?? true;
  }
}

const snapshot = { index: 7, term: 2, conf: EMPTY_CONF_STATE, data: new Uint8Array(0) };
const installing = message({
  type: "storageAppend",
  term: 3,
  vote: 2,
  commit: 7,
  snapshot,
  responses: [message({ type: "appResp" })],
});
const entry: Entry = { index: 8, term: 3, type: 0, data: new Uint8Array(0) };
const following = message({
  type: "storageAppend",
  term: 3,
  vote: 2,
  commit: 8,
  entries: [entry],
  responses: [message({ type: "storageAppendResp" })],
});

test("a snapshot that does not fit the disk is tried again until it does", async () => {
  const disk = new Disk([false, false]);
  disk.loop.push(installing);
  await disk.clock.advance(0);
  assert.deepEqual(disk.calls, ["install 3/2/7"]);
  assert.deepEqual([disk.full, disk.said], [["no room for the snapshot"], []]);
  await disk.clock.advance(10_000);
  assert.deepEqual(disk.calls, ["install 3/2/7", "install 3/2/7", "install 3/2/7"]);
  assert.equal(disk.full.at(-1), undefined);
  assert.deepEqual([disk.said, disk.failures], [["appResp"], []]);
});

test("a snapshot that is in place is not put there again for entries after it that did not fit", async () => {
  // The first write holds the others up, so that the snapshot and what follows it are one.
  const disk = new Disk([true, true, false, false]);
  disk.loop.push(message({ type: "storageAppend", term: 2, vote: 2, commit: 0 }));
  disk.loop.push(installing);
  disk.loop.push(following);
  await disk.clock.advance(0);
  assert.deepEqual(disk.calls, ["append 2/2/0", "install 3/2/7", "append 3/2/8 8"]);
  assert.deepEqual(disk.said, [], "nothing is said before all of it is durable");
  await disk.clock.advance(10_000);
  assert.deepEqual(disk.calls.slice(3), ["append 3/2/8 8", "append 3/2/8 8"]);
  assert.deepEqual(disk.said, ["appResp", "storageAppendResp"]);
  assert.deepEqual([disk.full.at(-1), disk.failures], [undefined, []]);
});

test("a vote is on the disk before it is given, also in a term that is there already; a commit alone holds nobody up", async () => {
  const disk = new Disk([false]);
  const answer = message({ type: "voteResp" });
  disk.loop.push(message({ type: "storageAppend", term: 1, vote: 2, commit: 0, responses: [answer] }));
  await disk.clock.advance(0);
  assert.deepEqual([disk.calls, disk.said], [["append 1/2/0"], []]);
  await disk.clock.advance(10_000);
  assert.deepEqual(disk.said, ["voteResp"]);
  disk.loop.push(message({ type: "storageAppend", term: 1, vote: 2, commit: 1, responses: [answer] }));
  assert.deepEqual(disk.said, ["voteResp", "voteResp"]);
  assert.deepEqual(disk.calls, ["append 1/2/0", "append 1/2/0"]);
});

test("commits that move during a write are not written by themselves, but with the next entries or when they are flushed", async () => {
  const disk = new Disk([]);
  const committed = (commit: number): Message =>
    message({ type: "storageAppend", term: 1, vote: 0, commit, responses: [message({ type: "appResp" })] });
  disk.loop.push(message({ ...following, term: 1, vote: 0, commit: 0 }));
  disk.loop.push(committed(1));
  disk.loop.push(committed(2));
  assert.deepEqual(disk.said, [], "what was asked for before is said before");
  await disk.clock.advance(0);
  assert.deepEqual(disk.calls, ["append 1/0/0 8"]);
  assert.deepEqual(disk.said, ["storageAppendResp", "appResp", "appResp"]);
  disk.loop.flush();
  disk.loop.flush();
  await disk.clock.advance(0);
  assert.deepEqual(disk.calls.slice(1), ["append 1/0/2"]);
  disk.loop.push(message({ ...following, term: 1, vote: 0, commit: 2, entries: [{ ...entry, index: 9 }] }));
  disk.loop.push(committed(3));
  await disk.clock.advance(0);
  disk.loop.push(message({ type: "storageAppend", entries: [{ ...entry, index: 10 }] }));
  await disk.clock.advance(0);
  assert.deepEqual(disk.calls.slice(2), ["append 1/0/2 9", "append 1/0/3 10"]);
});
