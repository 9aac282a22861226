// What a log says when it is read back: the hard state and the entries, rebuilt record by record in memory. It refuses what
// no correct log says.

import { type Entry, type HardState, type Index, EMPTY_CONF_STATE, EMPTY_HARD_STATE, MemoryStorage } from "raft-ts";
import {
  type Batch,
  type Place,
  type SegmentHead,
  type StorageMeta,
  decodeBatch,
  decodeHead,
  decodeInstalled,
} from "./payload.ts";
import { RecordType } from "./record.ts";
import type { Taken } from "./wal-replay.ts";

const NO_DATA = new Uint8Array(0);

export class LogReplay {
  memory: MemoryStorage = new MemoryStorage();
  hard: HardState = EMPTY_HARD_STATE;
  /** Invariant: there once a head was taken. */
  meta: StorageMeta | undefined;
  /**
   * Of the last entry. Less than the memory's only between records that replaced entries which are in a snapshot by now: where
   * old segments are gone, what is left may begin by replacing some of what they held.
   */
  #last: Index = 0;
  /** Whether the memory's base is the first head's. */
  #isBaseOfHead = true;

  onHead(payload: Uint8Array): Taken {
    const head = decodeHead(payload);
    if (head === undefined) return { kind: "refused", detail: "holds no head" };
    if (this.meta === undefined) this.#begin(head);
    else if (!this.#agrees(head)) return { kind: "refused", detail: "does not say what the files before it say" };
    // A snapshot may have shown more to be committed than the records before say.
    this.hard = head.hard;
    return { kind: "taken", top: 0 };
  }

  onRecord({ type, payload }: { readonly type: number; readonly payload: Uint8Array }): Taken {
    switch (type) {
      case RecordType.ENTRIES: {
        const batch = decodeBatch(payload);
        return batch === undefined ? { kind: "refused", detail: "holds no entries" } : this.#take(batch);
      }
      case RecordType.SNAPSHOT_INSTALLED: {
        const installed = decodeInstalled(payload);
        if (installed === undefined) return { kind: "refused", detail: "holds no place of a snapshot" };
        const { place, batch } = installed;
        if (place.index < this.memory.firstIndex())
          return { kind: "refused", detail: `puts a snapshot of entry ${place.index} into the log's past` };
        this.#isBaseOfHead = false;
        this.#restart(place);
        const taken = this.#take(batch);
        return taken.kind === "taken" ? { kind: "taken", top: Math.max(taken.top, place.index) } : taken;
      }
      default:
        return { kind: "refused", detail: `is of type ${type}, which this version does not know` };
    }
  }

  #begin({ meta, hard, base }: SegmentHead): void {
    this.meta = meta;
    this.hard = hard;
    this.#restart(base);
  }

  #restart({ index, term }: Place): void {
    this.memory = new MemoryStorage();
    this.#last = index;
    if (index > 0) this.memory.applySnapshot({ index, term, conf: EMPTY_CONF_STATE, data: NO_DATA });
  }

  #agrees({ meta, hard, base }: SegmentHead): boolean {
    const last = this.#last;
    const term = this.memory.term(last);
    return (
      meta.raftId === this.meta?.raftId &&
      meta.nodeId === this.meta.nodeId &&
      meta.clusterId === this.meta.clusterId &&
      base.index === last &&
      (base.term === term || term === "compacted") &&
      hard.term === this.hard.term &&
      hard.vote === this.hard.vote &&
      hard.commit >= this.hard.commit &&
      hard.commit <= last
    );
  }

  /** What is wrong with the log as a whole, if anything. */
  problem(): string | undefined {
    const base = this.memory.firstIndex() - 1;
    return this.#last < base ? `it ends at entry ${this.#last}, and it held entry ${base} before` : undefined;
  }

  #take({ hard, entries }: Batch): Taken {
    const detail = this.#append(entries) ?? hardProblem(this.hard, hard);
    if (detail !== undefined) return { kind: "refused", detail };
    this.hard = hard ?? this.hard;
    const last = this.memory.lastIndex();
    if (this.hard.commit > last)
      return {
        kind: "refused",
        detail: `says that entry ${this.hard.commit} is committed, and the log ends at ${last}`,
      };
    return { kind: "taken", top: entries.at(-1)?.index ?? 0 };
  }

  /** Answers what is wrong with them, if anything. */
  #append(entries: readonly Entry[]): string | undefined {
    const [first] = entries;
    const last = entries.at(-1);
    if (first === undefined || last === undefined) return undefined;
    const base = this.memory.firstIndex() - 1;
    if (first.index > this.#last + 1) return `holds entry ${first.index}, and entry ${this.#last + 1} is missing`;
    if (first.index <= base && this.#isBaseOfHead) {
      const atBase = entries[base - first.index];
      this.#restart({ index: base, term: atBase?.term ?? 0 });
    }
    const fresh = entries.filter((each) => each.index > base || !this.#isBaseOfHead);
    const problem = entriesProblem(this.memory, fresh);
    if (problem !== undefined) return problem;
    this.memory.append(fresh);
    this.#last = last.index;
    return undefined;
  }
}

/** What is wrong with entries that are to be appended, if anything. */
export function entriesProblem(memory: MemoryStorage, entries: readonly Entry[]): string | undefined {
  const [first] = entries;
  if (first === undefined) return undefined;
  if (first.index > memory.lastIndex() + 1)
    return `holds entry ${first.index}, and entry ${memory.lastIndex() + 1} is missing`;
  if (first.index < memory.firstIndex()) return `replaces entry ${first.index}, which is in a snapshot`;
  let before = memory.term(first.index - 1);
  for (const [offset, { index, term }] of entries.entries()) {
    if (index !== first.index + offset) return `holds entry ${index} at the place of ${first.index + offset}`;
    if (typeof before !== "number" || term < before)
      return `holds entry ${index} of term ${term} after one of ${before}`;
    before = term;
  }
  return undefined;
}

/** What is wrong with a hard state that follows another, if anything. */
export function hardProblem(before: HardState, hard: HardState | null): string | undefined {
  if (hard === null) return undefined;
  if (hard.term < before.term) return `goes back from term ${before.term} to ${hard.term}`;
  if (hard.commit < before.commit) return `goes back from commit ${before.commit} to ${hard.commit}`;
  if (hard.term === before.term && before.vote !== 0 && hard.vote !== before.vote)
    return `changes the vote of term ${hard.term} from ${before.vote} to ${hard.vote}`;
  return undefined;
}
