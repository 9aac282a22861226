// One member in a scenario: the core, its storage, its applied states as snapshots, and its storage threads' work.
// The replicated state is an appender: every entry's bytes are added to the former state.

import {
  type ConfChange,
  type Entry,
  type HardState,
  type LogReader,
  MemoryStorage,
  type Message,
  type RaftConfig,
  RawNode,
  type SnapshotRef,
  decodeConfChange,
} from "../../../manager/raft/index.ts";

export interface NodeSetup {
  readonly id: number;
  /** Where the member starts; index 0 for one that knows nothing. */
  readonly start: SnapshotRef;
  readonly config: Omit<RaftConfig, "id" | "storage">;
}

export class ScenarioNode {
  readonly id: number;
  readonly config: RaftConfig;
  storage: MemoryStorage = new MemoryStorage();
  readonly appendWork: Message[] = [];
  readonly applyWork: Message[] = [];
  /** Every applied state; the last one is what a snapshot gives away. */
  readonly #history: SnapshotRef[];
  #pinned: SnapshotRef | null = null;
  raw: RawNode;

  constructor(setup: NodeSetup) {
    this.id = setup.id;
    this.#history = [setup.start];
    if (setup.start.index > 0) this.storage.applySnapshot(setup.start);
    this.config = { ...setup.config, id: setup.id, storage: this.#reader() };
    this.raw = new RawNode(this.config);
  }

  get isAsync(): boolean {
    return this.config.asyncStorageWrites ?? false;
  }

  /** The newest applied state. */
  latest(): SnapshotRef {
    const last = this.#history.at(-1);
    if (last === undefined) throw new Error("a node has a first state");
    return last;
  }

  /** The states applied after an index, in order. */
  statesSince(index: number): readonly SnapshotRef[] {
    return this.#history.filter((state) => state.index > index);
  }

  /** Pinned, the node goes on giving away its present state as snapshot, as one that cuts snapshots now and then does. */
  pinSnapshot(isPinned: boolean): void {
    this.#pinned = isPinned ? this.latest() : null;
  }

  /** The replicated state: all that was applied. */
  stateText(): string {
    return new TextDecoder().decode(this.latest().data);
  }

  /** Starts the core anew from what is stored; what was in memory is lost. */
  restart(): void {
    this.appendWork.length = 0;
    this.applyWork.length = 0;
    const stored = this.storage.snapshot(this.id);
    if (stored !== "unavailable") {
      while (this.#history.length > 1 && this.latest().index > stored.index) this.#history.pop();
    } else {
      this.#history.length = 1;
    }
    this.raw = new RawNode({ ...this.config, applied: 0 });
  }

  /** Loses every entry, as a disk may that lied about its writes, and starts anew with term and vote alone. */
  wipe(): void {
    const { term, vote } = this.storage.initialState().hard;
    const first = this.#history[0];
    this.storage = new MemoryStorage();
    if (first !== undefined && first.index > 0) this.storage.applySnapshot(first);
    this.storage.setHardState({ term, vote, commit: first?.index ?? 0 });
    this.restart();
  }

  /** Drops the log up to and with the index, after keeping the state at that index as this node's snapshot. */
  compact(index: number): void {
    const state = this.#history.findLast((snapshot) => snapshot.index <= index);
    if (state !== undefined && state.index === index) this.storage.setSnapshot(state);
    this.storage.compact(index);
  }

  store(writes: {
    readonly hard: HardState | null;
    readonly entries: readonly Entry[];
    readonly snapshot: SnapshotRef | null;
  }): void {
    if (writes.hard !== null) this.storage.setHardState(writes.hard);
    // The entries, where there are both, follow the snapshot.
    if (writes.snapshot !== null) {
      this.storage.applySnapshot(writes.snapshot);
      this.#history.push(writes.snapshot);
    }
    this.storage.append(writes.entries);
  }

  apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const before = this.latest();
      // A snapshot that came meanwhile holds the entry's effect.
      if (entry.index <= before.index) continue;
      let { conf } = before;
      let update = entry.data;
      if (entry.type !== 0) {
        const change: ConfChange | null = decodeConfChange(entry.type, entry.data);
        if (change === null) throw new Error(`entry ${entry.index} holds no membership change`);
        const changed = this.raw.applyConfChange(change, entry.index);
        if (changed === null) continue;
        conf = changed;
        update = change.context;
      }
      const data = new Uint8Array([...before.data, ...update]);
      this.#history.push({ index: entry.index, term: entry.term, conf, data });
    }
  }

  /** The storage, except that a snapshot is always the newest applied state. */
  #reader(): LogReader {
    return {
      initialState: () => this.storage.initialState(),
      firstIndex: () => this.storage.firstIndex(),
      lastIndex: () => this.storage.lastIndex(),
      term: (index) => this.storage.term(index),
      entries: (lo, hi, maxBytes) => this.storage.entries(lo, hi, maxBytes),
      snapshot: () => {
        const snapshot = this.#pinned ?? this.latest();
        return snapshot.index === 0 ? "unavailable" : snapshot;
      },
    };
  }
}
