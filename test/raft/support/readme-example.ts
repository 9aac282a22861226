// The example in manager/raft/README.md, word for word (test/raft/readme.test.ts holds the two together): three members
// in one process, each with storage of its own, and a network that is an array.

import { type Entry, type Message, MemoryStorage, RawNode, decodeConfChange, isStorageThread } from "raft-ts";

const conf = { voters: [1, 2, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
const network: Message[] = [];

export class Member {
  readonly node: RawNode;
  readonly state: string[] = [];
  readonly reads: number[] = [];
  readonly #storage: MemoryStorage = new MemoryStorage();
  readonly #isAsync: boolean;

  constructor(id: number, isAsync: boolean) {
    // Every first member starts from the same snapshot, which names the members.
    this.#storage.applySnapshot({ index: 1, term: 1, conf, data: new Uint8Array(0) });
    this.#isAsync = isAsync;
    this.node = new RawNode({
      id,
      storage: this.#storage,
      applied: 1,
      electionTicks: 10,
      heartbeatTicks: 1,
      asyncStorageWrites: isAsync,
      random: (below) => Math.floor(Math.random() * below),
      trace: () => undefined,
    });
  }

  /** Does what the core asks for, until it asks for nothing. */
  work(): void {
    while (this.node.hasReady()) {
      const ready = this.node.ready();
      for (const read of ready.readStates) if (read.kind === "ready") this.reads.push(read.index);
      if (!this.#isAsync) {
        // Store, durably; then send; then apply; then say so.
        if (ready.snapshot !== null) this.#storage.applySnapshot(ready.snapshot);
        if (ready.hardState !== null) this.#storage.setHardState(ready.hardState);
        this.#storage.append(ready.entries);
        network.push(...ready.messages);
        this.#apply(ready.committedEntries);
        this.node.advance();
        continue;
      }
      // What is for peers leaves at once; the rest is work for two threads, each in order. Here they work on the spot.
      for (const m of ready.messages) {
        if (!isStorageThread(m.to)) network.push(m);
        else if (m.type === "storageAppend") this.#append(m);
        else this.#apply(m.entries);
        // What waited for the work: to peers, or to this node itself.
        for (const response of m.responses) {
          if (response.to === m.from) this.node.step(response);
          else network.push(response);
        }
      }
    }
  }

  #append(work: Message): void {
    const { term, vote, commit, entries, snapshot } = work;
    if (snapshot !== null) this.#storage.applySnapshot(snapshot);
    if (term !== 0) this.#storage.setHardState({ term, vote, commit });
    this.#storage.append(entries);
  }

  #apply(entries: readonly Entry[]): void {
    for (const { type, data, index } of entries) {
      if (type === 0) {
        // An empty entry is a leader's first.
        if (data.length > 0) this.state.push(new TextDecoder().decode(data));
        continue;
      }
      const change = decodeConfChange(type, data);
      if (change !== null) this.node.applyConfChange(change, index);
    }
  }
}

/** Time passes: everybody ticks, works, and hears what was sent. */
export function turn(members: readonly Member[]): void {
  for (const { node } of members) node.tick();
  for (let isQuiet = false; !isQuiet;) {
    for (const member of members) member.work();
    const sent = network.splice(0);
    for (const m of sent) members.find(({ node }) => node.status().id === m.to)?.node.step(m);
    isQuiet = sent.length === 0;
  }
}

/** Elects a leader, writes, reads. Returns the members. */
export function runExample(isAsync: boolean): readonly Member[] {
  const members = [1, 2, 3].map((id) => new Member(id, isAsync));
  const leader = (): Member | undefined => members.find(({ node }) => node.status().role === "leader");
  while (leader() === undefined) turn(members);
  leader()?.node.propose([new TextEncoder().encode("hello"), new TextEncoder().encode("world")]);
  turn(members);
  leader()?.node.readIndex(new TextEncoder().encode("a read of mine"));
  turn(members);
  return members;
}
