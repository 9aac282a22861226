// Scripted lives of a RaftStorage beside a model of it: what was acknowledged must be there after a crash, what was under way
// may be there up to any of its steps, and nothing else may.

import assert from "node:assert/strict";
import { EMPTY_CONF_STATE, type Entry, type HardState, type Index, type Term } from "raft-ts";
import type { Disk } from "../../proto/base/disk.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import { silentLogger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import type { Membership } from "../../manager/replication/membership.ts";
import { RaftStorage, type SnapshotMeta, type StorageWork } from "../../manager/replication/raft-storage.ts";
import { splitWork } from "../../manager/replication/raft-storage-batch.ts";
import { Wal } from "../../manager/replication/wal.ts";

const { signal } = new AbortController();
const SEGMENT_BYTES = 1_024;
const SELF = 11;
export const STORAGE_DIR = "/state/manager";

/** One step, relative to the state it finds. */
export type Op =
  | { readonly kind: "append"; readonly count: number; readonly bytes: number }
  /** In a new term, from `back` entries before the end or from the first uncommitted one. */
  | { readonly kind: "replace"; readonly back: number; readonly count: number }
  | { readonly kind: "vote" }
  | { readonly kind: "commit" }
  /** Of everything committed; "join" waits for it. */
  | { readonly kind: "snapshot" }
  | { readonly kind: "receive"; readonly ahead: number }
  | { readonly kind: "join" }
  /** What was received, with entries after it. */
  | { readonly kind: "install"; readonly count: number };

const append = (count: number, bytes = 20): Op => ({ kind: "append", count, bytes });
const [vote, commit, snapshot, join]: readonly Op[] = (["vote", "commit", "snapshot", "join"] as const).map((kind) => ({
  kind,
}));

export const SCRIPT: readonly Op[] = [
  ...[append(1), append(3), vote, commit, append(2), snapshot, append(1), join],
  ...[
    { kind: "replace", back: 2, count: 3 } as const,
    append(14, 30),
    commit,
    snapshot,
    append(2),
    append(1, 200),
    join,
  ],
  ...[commit, { kind: "receive", ahead: 9 } as const, append(2), join, { kind: "install", count: 2 } as const],
  ...[append(3), commit, snapshot, { kind: "replace", back: 9, count: 1 } as const, append(2, 100), vote, join],
  ...[append(4, 90), commit, append(4, 60), snapshot, join, commit, append(3, 100), snapshot, append(1), join],
  ...[
    { kind: "receive", ahead: 4 } as const,
    join,
    { kind: "install", count: 12 } as const,
    append(2),
    commit,
    append(1),
  ],
].filter((op) => op !== undefined);

interface State {
  readonly hard: HardState;
  /** Of the entry before `log`. */
  readonly base: Index;
  /** Never compacted: everything since the base. */
  readonly log: readonly Entry[];
}

const EMPTY: State = { hard: { term: 0, vote: 0, commit: 0 }, base: 0, log: [] };
const MEMBERSHIP: Membership = { conf: { ...EMPTY_CONF_STATE, voters: [SELF] }, members: [], removed: [] };

function withWork(state: State, { hard, entries }: StorageWork): State {
  const from = (entries[0]?.index ?? Infinity) - state.base - 1;
  return { ...state, hard: hard ?? state.hard, log: [...state.log.slice(0, from), ...entries] };
}

function lastOf(state: State): Index {
  return state.base + state.log.length;
}

export interface Ended {
  /** How far the script came. */
  readonly steps: number;
  readonly why: "script" | "fatal" | "opening";
}

/** One disk's storage over its lives. */
export class ScriptedStorage {
  readonly #disk: Disk;
  readonly #random: Random;
  /** What may be found when it is opened next; the first is what was acknowledged. */
  #possible: readonly State[] = [EMPTY];
  #snapshotAtLeast: Index = 0;
  #snapshotAtMost: Index = 0;
  #created = false;
  #salt = 0;

  constructor(disk: Disk, random: Random) {
    this.#disk = disk;
    this.#random = random;
  }

  /** Opens or begins it, checks what is there, does the script and closes it, or ends where the disk fails. */
  async live(script: readonly Op[]): Promise<Ended> {
    let storage: RaftStorage;
    try {
      storage = await this.#open();
    } catch (error) {
      if (error instanceof assert.AssertionError || isSwarmError(error, "FailedPrecondition")) throw error;
      return { steps: 0, why: "opening" };
    }
    await this.#check(storage);
    const life = new Life(storage, this.#possible[0] ?? EMPTY, () => `${(this.#salt += 1)}`);
    const steps = await life.run(script);
    this.#possible = life.possible;
    this.#snapshotAtLeast = Math.max(this.#snapshotAtLeast, life.saved);
    this.#snapshotAtMost = Math.max(this.#snapshotAtMost, life.tried);
    await storage.close();
    return { steps, why: steps === script.length ? "script" : "fatal" };
  }

  async #open(): Promise<RaftStorage> {
    const options = {
      disk: this.#disk,
      dir: STORAGE_DIR,
      logger: silentLogger,
      random: this.#random,
      segmentBytes: SEGMENT_BYTES,
      keptEntries: 3,
    };
    const found = await RaftStorage.open(options, signal);
    const meta = { raftId: SELF, nodeId: "node", clusterId: "cluster" };
    assert.ok(found !== undefined || !this.#created, "a log that was made is there");
    const storage = found ?? (await RaftStorage.create(options, { meta, hard: EMPTY.hard, entries: [] }, signal));
    this.#created = true;
    assert.deepEqual(storage.meta, meta);
    return storage;
  }

  /** Exactly one of the possible states; from now on it is the acknowledged one. */
  async #check(storage: RaftStorage): Promise<void> {
    const found = this.#possible.findLast((state) => matches(storage, state));
    if (found === undefined)
      assert.deepEqual(
        describe(storage),
        this.#possible.map((state) => state),
        "a possible state",
      );
    const { hard } = storage.initialState();
    this.#possible = [{ ...(found ?? EMPTY), hard }];
    const at = storage.snapshotIndex;
    assert.ok(at >= this.#snapshotAtLeast && at <= this.#snapshotAtMost, `snapshot ${at} was or may have been stored`);
    assert.ok(storage.firstIndex() <= at + 1, "log and snapshot leave no gap");
    assert.ok(hard.commit >= at && hard.commit <= storage.lastIndex());
    this.#snapshotAtLeast = at;
    const loaded = await storage.loadSnapshot();
    assert.equal(Buffer.from(loaded?.bytes ?? []).toString(), at === 0 ? "" : stateAt(at));
  }
}

/** What one opened storage does, and what of it may be found afterwards. */
class Life {
  readonly #storage: RaftStorage;
  readonly #salt: () => string;
  #state: State;
  possible: readonly State[];
  /** Newest snapshot that is acknowledged, and that was ever begun. */
  saved: Index = 0;
  tried: Index = 0;
  #background: Promise<unknown>[] = [];
  #received: SnapshotMeta | undefined;

  constructor(storage: RaftStorage, state: State, salt: () => string) {
    this.#storage = storage;
    this.#state = state;
    this.#salt = salt;
    this.possible = [state];
  }

  /** Answers how many steps were done. */
  async run(script: readonly Op[]): Promise<number> {
    for (const [step, op] of script.entries()) {
      if (await this.#do(op)) continue;
      await Promise.allSettled(this.#background);
      const from = this.#storage.lastIndex() + 1;
      const late = this.#entries(1, 1, { from, term: this.#state.hard.term + 9 });
      await assert.rejects(this.#storage.append({ hard: null, entries: late }), /The manager stops/);
      return step;
    }
    await Promise.allSettled(this.#background);
    return script.length;
  }

  /** False: the storage takes no more. */
  async #do(op: Op): Promise<boolean> {
    const { hard } = this.#state;
    const last = lastOf(this.#state);
    switch (op.kind) {
      case "append":
        return this.#append({ hard: null, entries: this.#entries(op.count, op.bytes) });
      case "replace": {
        const from = Math.max(hard.commit + 1, last + 1 - op.back);
        const term = hard.term + 1;
        return this.#append({ hard: { ...hard, term, vote: 0 }, entries: this.#entries(op.count, 10, { from, term }) });
      }
      case "vote":
        return this.#append({ hard: { ...hard, term: hard.term + 1, vote: SELF }, entries: [] });
      case "commit":
        return this.#append({ hard: { ...hard, commit: last }, entries: [] });
      case "snapshot": {
        const index = hard.commit;
        const term = this.#storage.term(index);
        if (typeof term === "number" && index > 0) this.#save({ index, term, membership: MEMBERSHIP });
        return true;
      }
      case "receive":
        this.#receive({ index: last + op.ahead, term: hard.term + 1, membership: MEMBERSHIP });
        return true;
      case "join":
        await Promise.allSettled(this.#background.splice(0));
        return true;
      case "install":
        return this.#install(op.count);
    }
  }

  async #append(work: StorageWork): Promise<boolean> {
    const parts = splitWork(work, Wal.payloadBytesMax(SEGMENT_BYTES));
    const states = [this.#state];
    for (const part of parts) states.push(withWork(states.at(-1) ?? EMPTY, part));
    this.possible = states;
    return this.#durably(states.at(-1) ?? EMPTY, async () => (await this.#storage.append(work)).kind === "durable");
  }

  async #install(count: number): Promise<boolean> {
    const meta = this.#received;
    this.#received = undefined;
    if (meta === undefined) return true;
    const hard = { term: meta.term, vote: 0, commit: meta.index };
    const entries = this.#entries(count, 30, { from: meta.index + 1, term: meta.term });
    const states: State[] = [this.#state, { hard, base: meta.index, log: [] }];
    for (const part of splitWork({ hard, entries }, Wal.payloadBytesMax(SEGMENT_BYTES)))
      states.push(withWork(states.at(-1) ?? EMPTY, part));
    this.possible = states;
    this.tried = Math.max(this.tried, meta.index);
    const after = { hard, base: meta.index, log: entries };
    return this.#durably(after, async () => {
      try {
        const { bytes } = await this.#storage.installSnapshot({ meta, hard, entries });
        assert.equal(Buffer.from(bytes).toString(), stateAt(meta.index));
        this.saved = Math.max(this.saved, meta.index);
        return true;
      } catch (error) {
        if (isSwarmError(error, "ResourceExhausted", "NotFound")) return false;
        throw error;
      }
    });
  }

  /** Tries twice more where the disk was full. */
  async #durably(after: State, write: () => Promise<boolean>): Promise<boolean> {
    try {
      for (const _ of [1, 2, 3]) {
        if (!(await write())) continue;
        this.#state = after;
        this.possible = [after];
        return true;
      }
    } catch (error) {
      assert.ok(error instanceof Error && !(error instanceof assert.AssertionError), String(error));
      if (isSwarmError(error, "Unavailable")) return false;
      // Reading the received snapshot failed: nothing was written.
      assert.ok("code" in error && ["EIO", "ENOSPC", "ECRASH"].includes(String(error.code)), String(error));
    }
    assert.equal(this.#storage.lastIndex(), lastOf(this.#found()));
    this.#state = this.#found();
    this.possible = [this.#state];
    return true;
  }

  /** After work that was given up: what of it was stored. */
  #found(): State {
    const found = this.possible.find((state) => matches(this.#storage, state));
    return found ?? assert.fail("the storage holds none of the possible states");
  }

  #save(meta: SnapshotMeta): void {
    this.tried = Math.max(this.tried, meta.index);
    const pieces = Array.from(stateAt(meta.index), (letter) => Buffer.from(letter));
    const saved = this.#storage.saveSnapshot(meta, pieces).then(() => {
      this.saved = Math.max(this.saved, meta.index);
    });
    this.#background.push(Promise.allSettled([saved]));
  }

  #receive(meta: SnapshotMeta): void {
    async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
      yield await Promise.resolve(Buffer.from(stateAt(meta.index)));
    }
    const received = this.#storage.receiveSnapshot(meta, chunks(), signal).then(() => {
      this.#received = meta;
    });
    this.#background.push(Promise.allSettled([received]));
  }

  #entries(count: number, bytes: number, at?: { readonly from: Index; readonly term: Term }): readonly Entry[] {
    const { from, term } = at ?? { from: lastOf(this.#state) + 1, term: this.#state.hard.term };
    return Array.from({ length: count }, (_, offset) => {
      const data = Buffer.from(`${from + offset}.${term}#${this.#salt()} `.padEnd(bytes, "-"));
      return { index: from + offset, term, type: offset === 1 ? 1 : 0, data };
    });
  }
}

/** The state after all entries through `index`, as a snapshot holds it. */
function stateAt(index: Index): string {
  return `the state through ${index}`;
}

function describe(storage: RaftStorage): unknown {
  const entries = storage.entries(storage.firstIndex(), storage.lastIndex() + 1, Infinity);
  return { hard: storage.initialState().hard, first: storage.firstIndex(), entries, snapshot: storage.snapshotIndex };
}

function matches(storage: RaftStorage, state: State): boolean {
  const { hard } = storage.initialState();
  const sameHard = hard.term === state.hard.term && hard.vote === state.hard.vote && hard.commit >= state.hard.commit;
  if (!sameHard || storage.lastIndex() !== lastOf(state) || storage.firstIndex() <= state.base) return false;
  if (storage.firstIndex() > storage.lastIndex()) return true;
  const entries = storage.entries(storage.firstIndex(), storage.lastIndex() + 1, Infinity);
  assert.ok(entries !== "compacted");
  return entries.every((entry) => same(entry, state.log[entry.index - state.base - 1]));
}

function same(a: Entry, b: Entry | undefined): boolean {
  return a.index === b?.index && a.term === b.term && a.type === b.type && Buffer.compare(a.data, b.data) === 0;
}
