// One member on its own, driven by hand-made messages: what the tests of single rules look at.
// Synchronous storage; every Ready is stored, applied and advanced, and what it sent is returned.

import {
  type Entry,
  MemoryStorage,
  type Message,
  type MessageType,
  RawNode,
  type RaftConfig,
  type Ready,
  type StepError,
  type TraceEvent,
  decodeConfChange,
  message,
} from "../../../manager/raft/index.ts";
import { freezeDeep } from "./freeze.ts";

export interface LoneSetup {
  readonly voters: readonly number[];
  readonly learners?: readonly number[];
  /** The terms of the entries after the bootstrap snapshot at index 1. */
  readonly terms?: readonly number[];
  readonly term?: number;
  readonly vote?: number;
  readonly commit?: number;
  readonly config?: Partial<RaftConfig>;
}

/** The node is member 1, with election timeouts of 10 ticks where `config` gives no random function. */
export class LoneNode {
  readonly storage: MemoryStorage = new MemoryStorage();
  readonly raw: RawNode;
  readonly events: TraceEvent[] = [];
  readonly applied: Entry[] = [];

  constructor(setup: LoneSetup) {
    const { voters, vote = 0, commit = 1 } = setup;
    const learners = setup.learners ?? [];
    const terms = setup.terms ?? [];
    const term = setup.term ?? terms.at(-1) ?? 1;
    const conf = { voters, learners, votersOutgoing: [], learnersNext: [], autoLeave: false };
    this.storage.applySnapshot({ index: 1, term: 1, conf, data: new Uint8Array(0) });
    this.storage.append(entries({ after: 1, terms }));
    this.storage.setHardState({ term, vote, commit });
    this.raw = new RawNode({
      id: 1,
      storage: this.storage,
      electionTicks: 10,
      heartbeatTicks: 1,
      checkQuorum: false,
      preVote: false,
      random: () => 0,
      trace: (event) => this.events.push(event),
      ...setup.config,
    });
  }

  get term(): number {
    return this.raw.status().hard.term;
  }

  get role(): string {
    return this.raw.status().role;
  }

  /** Terms of the log after the bootstrap snapshot, as stored. */
  get terms(): readonly number[] {
    const found = this.storage.entries(this.storage.firstIndex(), this.storage.lastIndex() + 1, Infinity);
    return found === "compacted" ? [] : found.map((entry) => entry.term);
  }

  receive(fields: Partial<Message> & { readonly type: MessageType }): StepError | null {
    return this.raw.step(message({ from: 2, to: 1, ...fields }));
  }

  tick(count: number): void {
    for (let i = 0; i < count; i++) this.raw.tick();
  }

  /** One Ready, done as a driver does it. */
  work(): Ready {
    const ready = freezeDeep(this.raw.ready());
    if (ready.hardState !== null) this.storage.setHardState(ready.hardState);
    if (ready.snapshot !== null) this.storage.applySnapshot(ready.snapshot);
    this.storage.append(ready.entries);
    for (const entry of ready.committedEntries) {
      this.applied.push(entry);
      const change = entry.type === 0 ? null : decodeConfChange(entry.type, entry.data);
      if (change !== null) this.raw.applyConfChange(change, entry.index);
    }
    this.raw.advance();
    return ready;
  }

  /** Everything there is to do, and what was sent meanwhile. */
  settle(): readonly Message[] {
    const sent: Message[] = [];
    while (this.raw.hasReady()) sent.push(...this.work().messages);
    return sent;
  }

  /** Wins an election by the votes of the given members. */
  lead(voters: readonly number[]): this {
    this.raw.campaign();
    this.settle();
    for (const from of voters) this.receive({ type: "voteResp", from, term: this.term });
    this.settle();
    if (this.role !== "leader") throw new Error(`node 1 is ${this.role}, not leader`);
    return this;
  }

  /** A follower acknowledges the log up to the index. */
  acknowledge(from: number, index: number): void {
    this.receive({ type: "appResp", from, term: this.term, index });
  }
}

/** Entries with the given terms after an index; each one's data is its index. */
export function entries(at: { readonly after: number; readonly terms: readonly number[] }): readonly Entry[] {
  return at.terms.map((term, i) => {
    const index = at.after + 1 + i;
    return { term, index, type: 0, data: new TextEncoder().encode(String(index)) };
  });
}
