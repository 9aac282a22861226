// A LogReader in memory with the writes a driver makes to its own storage: for tests, and an example of the contract.
// A snapshot replaces the log up to its index; one dummy entry keeps the term just before the first.

import { invariant } from "../assert.ts";
import { EMPTY_CONF_STATE, type ConfState } from "../conf-state.ts";
import { type Entry, limitEntries } from "../entry.ts";
import type { Index, RaftId, Term } from "../ids.ts";
import { EMPTY_HARD_STATE, type HardState, type LogReader, type SnapshotRef } from "../log-reader.ts";

const EMPTY_SNAPSHOT: SnapshotRef = { index: 0, term: 0, conf: EMPTY_CONF_STATE, data: new Uint8Array(0) };

export class MemoryStorage implements LogReader {
  #hard: HardState = EMPTY_HARD_STATE;
  #snapshot: SnapshotRef = EMPTY_SNAPSHOT;
  /** The index and term before the first entry. */
  #before: { readonly index: Index; readonly term: Term } = { index: 0, term: 0 };
  #entries: Entry[] = [];

  initialState(): { readonly hard: HardState; readonly conf: ConfState } {
    return { hard: this.#hard, conf: this.#snapshot.conf };
  }

  firstIndex(): Index {
    return this.#before.index + 1;
  }

  lastIndex(): Index {
    return this.#before.index + this.#entries.length;
  }

  term(index: Index): Term | "compacted" | "unavailable" {
    if (index < this.#before.index) return "compacted";
    if (index === this.#before.index) return this.#before.term;
    return this.#entries[index - this.#before.index - 1]?.term ?? "unavailable";
  }

  entries(lo: Index, hi: Index, maxBytes: number): readonly Entry[] | "compacted" {
    if (lo <= this.#before.index) return "compacted";
    invariant(lo <= hi && hi <= this.lastIndex() + 1, `entries [${lo}, ${hi}) are outside the log`);
    const first = this.firstIndex();
    return limitEntries(this.#entries.slice(lo - first, hi - first), maxBytes);
  }

  snapshot(_forPeer: RaftId): SnapshotRef | "unavailable" {
    return this.#snapshot.index === 0 ? "unavailable" : this.#snapshot;
  }

  setHardState(hard: HardState): void {
    this.#hard = hard;
  }

  /** Replaces everything by the snapshot. One that is not newer than the present one is refused. */
  applySnapshot(snapshot: SnapshotRef): void {
    invariant(snapshot.index > this.#snapshot.index, `snapshot ${snapshot.index} is out of date`);
    this.#snapshot = snapshot;
    this.#before = { index: snapshot.index, term: snapshot.term };
    this.#entries = [];
  }

  /** Records a snapshot of this node's own state at an index it holds; the log stays. */
  setSnapshot(snapshot: SnapshotRef): void {
    this.#snapshot = snapshot;
  }

  /** Drops entries up to and with the index. */
  compact(index: Index): void {
    const term = this.term(index);
    invariant(typeof term === "number", `cannot compact the log at ${index}`);
    this.#entries = this.#entries.slice(index - this.#before.index);
    this.#before = { index, term };
  }

  /** Writes entries that follow each other, replacing what stands at and after the first one's index. */
  append(entries: readonly Entry[]): void {
    const kept = entries.filter((entry) => entry.index > this.#before.index);
    const from = kept[0]?.index;
    if (from === undefined) return;
    invariant(from <= this.lastIndex() + 1, `entries from ${from} would leave a gap after ${this.lastIndex()}`);
    this.#entries.length = from - this.firstIndex();
    for (const entry of kept) this.#entries.push(entry);
  }
}
