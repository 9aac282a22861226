// The log as the core sees it: stable storage and the unstable tail as one sequence, what of it is committed, what is
// being applied, and what has been applied (Raft 5.3). Knows nothing of roles, peers or current terms.
//
// Invariants: applied <= applying <= committed <= lastIndex().

import { invariant } from "../assert.ts";
import { type Entry, type EntryId, entriesBytes, limitEntries } from "../entry.ts";
import type { Index, RaftId, Term } from "../ids.ts";
import type { LogReader, SnapshotRef } from "../log-reader.ts";
import type { TraceSink } from "../trace.ts";
import { Unstable } from "./unstable.ts";

/** What became of an append: `conflict` names an index at or below the commit, which no honest leader disputes. */
export type AppendOutcome =
  | { readonly kind: "appended"; readonly lastNew: Index }
  | { readonly kind: "mismatch" }
  | { readonly kind: "diverged"; readonly index: Index };

export class RaftLog {
  readonly #storage: LogReader;
  readonly #unstable: Unstable;
  readonly #trace: TraceSink;
  readonly #maxApplyingBytes: number;
  #committed: Index;
  #applying: Index;
  #applied: Index;
  /** Bytes of entries handed over for applying and not yet applied. */
  #applyingBytes = 0;
  /** No more entries are handed over until some of those in progress are applied. */
  #applyingPaused = false;

  constructor(options: { readonly storage: LogReader; readonly maxApplyingBytes: number; readonly trace: TraceSink }) {
    this.#storage = options.storage;
    this.#maxApplyingBytes = options.maxApplyingBytes;
    this.#trace = options.trace;
    this.#unstable = new Unstable(options.storage.lastIndex() + 1, options.trace);
    // What precedes the first entry is a snapshot, and so committed and applied.
    this.#committed = options.storage.firstIndex() - 1;
    this.#applying = this.#committed;
    this.#applied = this.#committed;
  }

  get committed(): Index {
    return this.#committed;
  }

  get applied(): Index {
    return this.#applied;
  }

  firstIndex(): Index {
    return this.#unstable.firstIndex() ?? this.#storage.firstIndex();
  }

  lastIndex(): Index {
    return this.#unstable.lastIndex() ?? this.#storage.lastIndex();
  }

  lastId(): EntryId {
    const index = this.lastIndex();
    const term = this.term(index);
    invariant(typeof term === "number", `the log does not know the term of its last entry ${index}`);
    return { term, index };
  }

  term(index: Index): Term | "compacted" | "unavailable" {
    const unstable = this.#unstable.term(index);
    if (unstable !== null) return unstable;
    // The term just before the first entry is known: appends are matched against it.
    if (index + 1 < this.firstIndex()) return "compacted";
    if (index > this.lastIndex()) return "unavailable";
    return this.#storage.term(index);
  }

  /** The term, or 0 where the log has none. */
  termOrZero(index: Index): Term {
    const term = this.term(index);
    return typeof term === "number" ? term : 0;
  }

  matches(id: EntryId): boolean {
    return this.term(id.index) === id.term;
  }

  /** Whether a log that ends with the id holds all that this one may have committed (Raft 5.4.1). */
  isUpToDate(id: EntryId): boolean {
    const last = this.lastId();
    return id.term > last.term || (id.term === last.term && id.index >= last.index);
  }

  /** Appends what follows `previous` where the log holds `previous`, and commits up to `commit` of it (Raft 5.3). */
  maybeAppend(append: {
    readonly previous: EntryId;
    readonly entries: readonly Entry[];
    readonly commit: Index;
  }): AppendOutcome {
    if (!this.matches(append.previous)) return { kind: "mismatch" };
    const lastNew = append.previous.index + append.entries.length;
    const conflict = this.#findConflict(append.entries);
    if (conflict !== null && conflict <= this.#committed) return { kind: "diverged", index: conflict };
    if (conflict !== null) this.append(append.entries.slice(conflict - append.previous.index - 1));
    this.commitTo(Math.min(append.commit, lastNew));
    return { kind: "appended", lastNew };
  }

  /** Appends unconditionally; the entries follow each other. Returns the new last index. */
  append(entries: readonly Entry[]): Index {
    const first = entries[0];
    if (first === undefined) return this.lastIndex();
    invariant(first.index > this.#committed, `entry ${first.index} is committed and cannot be replaced`);
    this.#unstable.truncateAndAppend(entries);
    return this.lastIndex();
  }

  /** The first of the entries that the log lacks or contradicts. */
  #findConflict(entries: readonly Entry[]): Index | null {
    for (const entry of entries) {
      if (this.matches(entry)) continue;
      if (entry.index <= this.lastIndex()) {
        const existingTerm = this.termOrZero(entry.index);
        this.#trace({ kind: "logConflict", index: entry.index, existingTerm, conflictingTerm: entry.term });
      }
      return entry.index;
    }
    return null;
  }

  /**
   * The largest index at or below the id's whose term is at most the id's: nothing above it can be common with a log
   * that has the id's term there. Term 0 where the log no longer knows. Lets one rejection skip whole terms.
   */
  findConflictByTerm(id: EntryId): EntryId {
    for (let index = id.index; index > 0; index--) {
      const term = this.term(index);
      if (typeof term !== "number") return { term: 0, index };
      if (term <= id.term) return { term, index };
    }
    return { term: 0, index: 0 };
  }

  /** Commits up to the entry, if it is ahead of the commit and the log holds it with that term (Raft 5.4.2). */
  maybeCommit(id: EntryId): boolean {
    if (id.term === 0 || id.index <= this.#committed || !this.matches(id)) return false;
    this.commitTo(id.index);
    return true;
  }

  /** Never goes back. The index is within the log. */
  commitTo(index: Index): void {
    if (index <= this.#committed) return;
    invariant(index <= this.lastIndex(), `commit ${index} is beyond the last entry ${this.lastIndex()}`);
    this.#committed = index;
  }

  /** Entries up to the index are applied; `bytes` of them no longer count as in progress. */
  appliedTo(index: Index, bytes: number): void {
    invariant(
      this.#applied <= index && index <= this.#committed,
      `applied ${index} is outside [${this.#applied}, ${this.#committed}]`,
    );
    this.#applied = index;
    this.#applying = Math.max(this.#applying, index);
    this.#applyingBytes = Math.max(0, this.#applyingBytes - bytes);
    this.#applyingPaused = this.#applyingBytes >= this.#maxApplyingBytes;
  }

  /** Committed entries were handed over for applying. */
  acceptApplying(entries: readonly Entry[], allowUnstable: boolean): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    invariant(last.index <= this.#committed, `entry ${last.index} is not committed and cannot be applied`);
    this.#applying = last.index;
    this.#applyingBytes += entriesBytes(entries);
    // Where the limit cut the batch short, the rest waits although some bytes may be left.
    this.#applyingPaused =
      this.#applyingBytes >= this.#maxApplyingBytes || last.index < this.#maxAppliable(allowUnstable);
  }

  #maxAppliable(allowUnstable: boolean): Index {
    return allowUnstable ? this.#committed : Math.min(this.#committed, this.#unstable.offset - 1);
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    if (this.#applyingPaused || this.#unstable.snapshot !== null) return false;
    return this.#applying < this.#maxAppliable(allowUnstable);
  }

  /** Committed entries to apply next. Unstable ones are held back where storage works asynchronously. */
  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(allowUnstable)) return [];
    const budget = this.#maxApplyingBytes - this.#applyingBytes;
    const next = this.slice(this.#applying + 1, this.#maxAppliable(allowUnstable) + 1, budget);
    invariant(next !== "compacted", `committed entry ${this.#applying + 1} is not in the log`);
    return next;
  }

  /** Whether entries are unstable, handed to storage or not. */
  get hasUnstable(): boolean {
    return this.#unstable.count > 0;
  }

  /** Whether a snapshot waits for storage, handed to it or not. */
  get hasUnstableSnapshot(): boolean {
    return this.#unstable.snapshot !== null;
  }

  nextUnstable(): readonly Entry[] {
    return this.#unstable.nextEntries();
  }

  hasNextUnstable(): boolean {
    return this.#unstable.offsetInProgress < this.#unstable.offset + this.#unstable.count;
  }

  nextUnstableSnapshot(): SnapshotRef | null {
    return this.#unstable.nextSnapshot();
  }

  acceptUnstable(): void {
    this.#unstable.acceptInProgress();
  }

  stableTo(id: EntryId): void {
    this.#unstable.stableTo(id);
  }

  stableSnapshotTo(index: Index): void {
    this.#unstable.stableSnapshotTo(index);
  }

  /** A snapshot for the peer: the one just received, where storage does not have it yet. */
  snapshot(forPeer: RaftId): SnapshotRef | "unavailable" {
    return this.#unstable.snapshot ?? this.#storage.snapshot(forPeer);
  }

  /** The log becomes the snapshot. */
  restore(snapshot: SnapshotRef): void {
    this.#trace({
      kind: "snapshotRestoring",
      snapshot: { term: snapshot.term, index: snapshot.index },
      commit: this.#committed,
      applied: this.#applied,
      applying: this.#applying,
      unstableOffset: this.#unstable.offset,
      unstableInProgress: this.#unstable.offsetInProgress,
      unstableCount: this.#unstable.count,
    });
    this.#committed = snapshot.index;
    this.#unstable.restore(snapshot);
  }

  /** Entries from the index on, cut to maxBytes but at least one. */
  entriesFrom(index: Index, maxBytes: number): readonly Entry[] | "compacted" {
    return index > this.lastIndex() ? [] : this.slice(index, this.lastIndex() + 1, maxBytes);
  }

  /** Entries in [lo, hi), cut to maxBytes but at least one where there is one. */
  slice(lo: Index, hi: Index, maxBytes: number): readonly Entry[] | "compacted" {
    if (lo < this.firstIndex()) return "compacted";
    invariant(lo <= hi && hi <= this.lastIndex() + 1, `entries [${lo}, ${hi}) are outside the log`);
    if (lo === hi) return [];
    const offset = this.#unstable.offset;
    if (lo >= offset) return limitEntries(this.#unstable.slice(lo, hi), maxBytes);
    const cut = Math.min(hi, offset);
    const stable = this.#storage.entries(lo, cut, maxBytes);
    if (stable === "compacted" || hi <= offset || stable.length < cut - lo) return stable;
    const room = maxBytes - entriesBytes(stable);
    const rest = limitEntries(this.#unstable.slice(offset, hi), room);
    // The limit's "at least one" is met by the stable part already.
    if (rest.length === 1 && entriesBytes(rest) > room) return stable;
    return [...stable, ...rest];
  }
}
