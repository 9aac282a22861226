// The tail of the log that is not yet known to be durable: a snapshot, entries, or both, and how much of it has been
// handed to storage already ("in progress"). Knows nothing of terms being current or of commitment.
//
// entries[i] has index offset + i. Entries below `offset` are in stable storage, except that the snapshot, where there
// is one, stands for all up to its index.
// Invariant: offset <= offsetInProgress <= offset + entries.length.

import { invariant } from "../assert.ts";
import type { Entry, EntryId } from "../entry.ts";
import type { Index, Term } from "../ids.ts";
import type { SnapshotRef } from "../log-reader.ts";
import type { TraceSink } from "../trace.ts";

export class Unstable {
  readonly #trace: TraceSink;
  #snapshot: SnapshotRef | null = null;
  #snapshotInProgress = false;
  #entries: Entry[] = [];
  #offset: Index;
  #offsetInProgress: Index;

  /** Offset: the index after the last stable entry. */
  constructor(offset: Index, trace: TraceSink) {
    this.#offset = offset;
    this.#offsetInProgress = offset;
    this.#trace = trace;
  }

  get offset(): Index {
    return this.#offset;
  }

  get offsetInProgress(): Index {
    return this.#offsetInProgress;
  }

  get count(): number {
    return this.#entries.length;
  }

  get snapshot(): SnapshotRef | null {
    return this.#snapshot;
  }

  /** The first index, where a snapshot decides it. */
  firstIndex(): Index | null {
    return this.#snapshot === null ? null : this.#snapshot.index + 1;
  }

  lastIndex(): Index | null {
    if (this.#entries.length > 0) return this.#offset + this.#entries.length - 1;
    return this.#snapshot?.index ?? null;
  }

  /** The term at the index, or null where only stable storage can tell. */
  term(index: Index): Term | null {
    if (index < this.#offset) return this.#snapshot?.index === index ? this.#snapshot.term : null;
    return this.#entries[index - this.#offset]?.term ?? null;
  }

  /** Entries not yet handed to storage. */
  nextEntries(): readonly Entry[] {
    const from = this.#offsetInProgress - this.#offset;
    return from >= this.#entries.length ? [] : this.#entries.slice(from);
  }

  /** The snapshot, unless it was handed to storage. */
  nextSnapshot(): SnapshotRef | null {
    return this.#snapshotInProgress ? null : this.#snapshot;
  }

  /** Marks everything as handed to storage. */
  acceptInProgress(): void {
    this.#offsetInProgress = this.#offset + this.#entries.length;
    if (this.#snapshot !== null) this.#snapshotInProgress = true;
  }

  /** Storage holds everything up to the id. Late answers, about entries replaced meanwhile, change nothing. */
  stableTo(id: EntryId): void {
    const existingTerm = this.term(id.index);
    if (existingTerm === null) {
      this.#trace({ kind: "stableIgnored", reason: "missing", id, existingTerm: 0 });
      return;
    }
    if (id.index < this.#offset) {
      this.#trace({ kind: "stableIgnored", reason: "snapshot", id, existingTerm });
      return;
    }
    if (existingTerm !== id.term) {
      this.#trace({ kind: "stableIgnored", reason: "overwritten", id, existingTerm });
      return;
    }
    this.#entries = this.#entries.slice(id.index + 1 - this.#offset);
    this.#offset = id.index + 1;
    this.#offsetInProgress = Math.max(this.#offsetInProgress, this.#offset);
  }

  stableSnapshotTo(index: Index): void {
    if (this.#snapshot?.index !== index) return;
    this.#snapshot = null;
    this.#snapshotInProgress = false;
  }

  /** The log becomes the snapshot and nothing after it. */
  restore(snapshot: SnapshotRef): void {
    this.#offset = snapshot.index + 1;
    this.#offsetInProgress = this.#offset;
    this.#entries = [];
    this.#snapshot = snapshot;
    this.#snapshotInProgress = false;
  }

  /** Appends, dropping what conflicts. The entries follow each other and begin at or before the log's end. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const from = entries[0]?.index;
    if (from === undefined) return;
    const end = this.#offset + this.#entries.length;
    invariant(from <= end, `entries from ${from} would leave a gap after ${end - 1}`);
    if (from === end) {
      for (const entry of entries) this.#entries.push(entry);
      return;
    }
    if (from <= this.#offset) {
      this.#trace({ kind: "unstableReplaced", from });
      this.#entries = [...entries];
      this.#offset = from;
      this.#offsetInProgress = from;
      return;
    }
    this.#trace({ kind: "unstableTruncated", from });
    this.#entries = [...this.#entries.slice(0, from - this.#offset), ...entries];
    // What was handed over and then replaced must be handed over again.
    this.#offsetInProgress = Math.min(this.#offsetInProgress, from);
  }

  /** Entries in [lo, hi), which the caller knows to be here. */
  slice(lo: Index, hi: Index): readonly Entry[] {
    invariant(lo >= this.#offset && lo <= hi && hi <= this.#offset + this.#entries.length, "a slice outside the tail");
    return this.#entries.slice(lo - this.#offset, hi - this.#offset);
  }
}
