// What must hold of Raft and of the state, looked at after every event: who leads in which term, what was voted and acknowledged,
// which entry stands at which index, what was applied. The first violation is kept; it ends the run.

import { crc32 } from "node:zlib";
import {
  ENTRY_NORMAL,
  type Entry,
  type LogReader,
  type Message,
  type RaftId,
  type Term,
  type TraceEvent,
} from "raft-ts";
import { Store } from "../../manager/store/store.ts";
import { StoreChanges } from "../../proto/gen/control.ts";
import { canonicalState } from "./canonical-state.ts";

/** What the checks see of one running manager. */
export interface Watched {
  readonly name: string;
  readonly raftId: RaftId;
  readonly storage: LogReader;
  readonly appliedIndex: number;
  /** Whether it says that it leads, and in which term. */
  readonly leads: Term | undefined;
  /** The group as it sees it. */
  readonly members: readonly { readonly raftId: RaftId; readonly isLearner: boolean }[];
}

interface Promised {
  readonly term: Term;
  /** Whom the vote of that term went to; undefined: not known to have gone to anybody. */
  readonly vote: RaftId | undefined;
  /** The log agrees with that of the term's leader up to here. */
  readonly index: number;
}

interface Known {
  readonly term: Term;
  readonly crc: number;
}

/** After a membership change was on its way, whose quorum an entry needs is not clear from outside. */
const MEMBERSHIP_QUIET_MS = 3_000;

export class Checks {
  /** The first thing that did not hold. */
  violation: string | undefined;
  readonly #nowMs: () => number;
  readonly #leaders = new Map<Term, RaftId>();
  readonly #votes = new Map<string, RaftId>();
  readonly #promised = new Map<RaftId, Promised>();
  /** By "index.term": the entry and the term before it. */
  readonly #entries = new Map<string, { readonly crc: number; readonly previous: Term }>();
  /** By index: what was applied by whoever did so first. */
  readonly #applied: Known[] = [];
  readonly #appliedBy = new Map<RaftId, number>();
  /** By index: change sets, as committed. */
  readonly #writes = new Map<number, number>();
  #lastWrite = 0;
  /** All change sets, applied as they are first seen. */
  readonly #oracle: Store = new Store({ now: () => 0 });
  /** By the index of the last change set within: digests of snapshots that were cut. */
  readonly #cut = new Map<number, number>();
  /** Of every member, the newest storage it had, dead ones and all. */
  readonly #storages = new Map<RaftId, LogReader>();
  #membershipAtMs = -Infinity;
  readonly #crcs = new WeakMap<Uint8Array, number>();
  appliedCount = 0;
  elections = 0;

  constructor(options: { readonly nowMs: () => number }) {
    this.#nowMs = options.nowMs;
  }

  fail(violation: string): void {
    this.violation ??= violation;
  }

  check(condition: boolean, violation: () => string): void {
    if (!condition) this.fail(violation());
  }

  /** The committed state as it must be everywhere. */
  oracleState(): readonly string[] {
    return canonicalState(Buffer.concat([...this.#oracle.save()]));
  }

  /** The state that the group begins with. Once. */
  began({ bytes, index, term }: { readonly bytes: Uint8Array; readonly index: number; readonly term: Term }): void {
    if (this.#lastWrite > 0) return;
    this.#oracle.restore(bytes, index);
    this.#lastWrite = index;
    this.#writes.set(index, 0);
    this.#cut.set(index, crc32(canonicalState(bytes).join()));
    this.#applied[index] = { term, crc: 0 };
  }

  /** Highest index applied anywhere. */
  get lastApplied(): number {
    return Math.max(0, this.#applied.length - 1);
  }

  /** A manager starts with what its disk gave back. Its member may have run before. */
  started({ name, raftId, storage }: Watched): void {
    this.#storages.set(raftId, storage);
    this.#appliedBy.delete(raftId);
    const { hard } = storage.initialState();
    const before = this.#promised.get(raftId);
    if (before === undefined) return;
    this.check(
      hard.term >= before.term,
      () => `${name} comes back in term ${hard.term}, after it had answered in term ${before.term}`,
    );
    if (hard.term !== before.term) return;
    this.check(
      before.vote === undefined || hard.vote === before.vote,
      () =>
        `${name} comes back with its vote of term ${hard.term} for ${hard.vote}, and had given it to ${before.vote ?? 0}`,
    );
    this.check(
      storage.lastIndex() >= before.index,
      () =>
        `${name} comes back with entries up to ${storage.lastIndex()}, and had acknowledged ${before.index} in term ${hard.term}`,
    );
  }

  /** A core decided something. */
  traced(name: string, event: TraceEvent): void {
    if (event.kind === "logDiverged") this.fail(`${name} finds its log diverged: ${JSON.stringify(event)}`);
  }

  /** A message leaves a manager. */
  sent(from: Watched, m: Message): void {
    if (m.type === "app" || m.type === "heartbeat" || m.type === "snap") this.#leads(from, m.term);
    if (m.type === "app") this.#matches(from, m);
    if (m.reject) return;
    if (m.type === "voteResp" || m.type === "appResp") this.#isStored(from, m);
    if (m.type === "voteResp") this.#votesFor(from, { term: m.term, to: m.to });
    if (m.type === "appResp") this.#promises(from.raftId, { term: m.term, vote: undefined, index: m.index });
  }

  /** One change set was applied by a manager, its own or another's. */
  wrote(name: string, { changes, index }: { readonly changes: StoreChanges; readonly index: number }): void {
    const crc = crc32(StoreChanges.encode(changes).finish());
    const known = this.#writes.get(index);
    if (known !== undefined) {
      this.check(known === crc, () => `${name} applies another change set at ${index} than others did`);
      return;
    }
    this.check(
      index > this.#lastWrite,
      () => `${name} applies a change set at ${index} that others, who are at ${this.#lastWrite}, went past`,
    );
    if (this.violation !== undefined) return;
    this.#writes.set(index, crc);
    this.#lastWrite = index;
    this.#oracle.apply(StoreChanges.decode(StoreChanges.encode(changes).finish()), index);
  }

  /** Nothing between two indexes may be left out. */
  wentOn(name: string, { after, index }: { readonly after: number; readonly index: number }): void {
    this.check(index > after, () => `${name} applies ${index} after ${after}`);
    for (let between = after + 1; between < index; between += 1)
      this.check(!this.#writes.has(between), () => `${name} applies ${index} after ${after} and leaves out ${between}`);
  }

  /** A manager cuts a snapshot of its state, which is that of the index. */
  cutSnapshot(name: string, { bytes, index }: { readonly bytes: Uint8Array; readonly index: number }): void {
    const state = canonicalState(bytes);
    if (index === this.#lastWrite)
      this.check(
        state.join() === this.oracleState().join(),
        () => `${name} cuts a snapshot at ${index} that is not the state there`,
      );
    const digest = crc32(state.join());
    const known = this.#cut.get(index);
    this.check(
      known === undefined || known === digest,
      () => `${name} cuts another snapshot at ${index} than others did`,
    );
    this.#cut.set(index, digest);
  }

  /** A manager takes a snapshot in place of its state. */
  restored(name: string, { bytes, index }: { readonly bytes: Uint8Array; readonly index: number }): void {
    let last = index;
    while (last > 0 && !this.#writes.has(last)) last -= 1;
    const digest = crc32(canonicalState(bytes).join());
    const cut = this.#cut.get(last);
    this.check(
      cut === undefined || cut === digest,
      () => `${name} restores a state at ${index} that is not what was saved there`,
    );
  }

  /** After each event, for each manager that runs. */
  look(watched: Watched): void {
    const { name, raftId, storage, appliedIndex, leads } = watched;
    if (leads !== undefined) {
      this.#leads(watched, leads);
      const unapplied = this.#unappliedMembershipChanges(watched);
      this.check(unapplied <= 1, () => `${name} leads with ${unapplied} unapplied membership changes`);
    }
    const before = this.#appliedBy.get(raftId);
    if (before === appliedIndex) return;
    this.check(
      before === undefined || appliedIndex > before,
      () => `${name} goes back from ${before ?? 0} to ${appliedIndex}`,
    );
    this.check(
      appliedIndex <= storage.lastIndex(),
      () => `${name} has applied ${appliedIndex} and holds only entries up to ${storage.lastIndex()}`,
    );
    this.#appliedBy.set(raftId, appliedIndex);
    const first = Math.max((before ?? 0) + 1, storage.firstIndex());
    const entries = first > appliedIndex ? [] : storage.entries(first, appliedIndex + 1, Infinity);
    if (entries === "compacted") return;
    this.check(
      entries.length === Math.max(0, appliedIndex + 1 - first),
      () => `${name} has applied entries up to ${appliedIndex} that are not in its log`,
    );
    if (entries.some((entry) => entry.type !== ENTRY_NORMAL)) this.#membershipAtMs = this.#nowMs();
    for (const entry of entries) this.#applies(watched, entry);
  }

  #applies({ name, members }: Watched, entry: Entry): void {
    const { index } = entry;
    const known = this.#applied[index];
    const crc = this.#crcOf(entry);
    if (known !== undefined) {
      this.check(
        known.term === entry.term && known.crc === crc,
        () => `${name} applies entry ${index} of term ${entry.term}, others applied one of term ${known.term}`,
      );
      return;
    }
    this.#applied[index] = { term: entry.term, crc };
    this.appliedCount += 1;
    if (this.#nowMs() - this.#membershipAtMs < MEMBERSHIP_QUIET_MS) return;
    const voters = members.filter((member) => !member.isLearner);
    const holders = voters.filter(({ raftId }) => {
      const term = this.#storages.get(raftId)?.term(index) ?? "compacted";
      return term === entry.term || term === "compacted";
    });
    this.check(
      holders.length * 2 > voters.length,
      () => `${name} applies entry ${index} that ${holders.length} of ${voters.length} voters have on their disks`,
    );
  }

  #leads({ name, raftId, storage }: Watched, term: Term): void {
    const known = this.#leaders.get(term);
    if (known === raftId) return;
    this.check(known === undefined, () => `${name} leads in term ${term}, which has another leader (${known ?? 0})`);
    this.#leaders.set(term, raftId);
    this.elections += 1;
    this.#votesFor({ name, raftId }, { term, to: raftId });
    // Leader completeness: what is committed is in the log of whoever leads after it.
    const last = this.lastApplied;
    const applied = this.#applied[last];
    if (applied === undefined || applied.term >= term) return;
    const own = storage.term(last);
    this.check(
      own === applied.term || own === "compacted",
      () => `${name} leads in term ${term} without entry ${last} of term ${applied.term}, which is committed`,
    );
  }

  #votesFor(
    { name, raftId }: Pick<Watched, "name" | "raftId">,
    vote: { readonly term: Term; readonly to: RaftId },
  ): void {
    const key = `${raftId}.${vote.term}`;
    const known = this.#votes.get(key) ?? vote.to;
    this.check(known === vote.to, () => `${name} votes for ${known} and for ${vote.to} in term ${vote.term}`);
    this.#votes.set(key, vote.to);
    this.#promises(raftId, { term: vote.term, vote: vote.to, index: 0 });
  }

  #promises(raftId: RaftId, next: Promised): void {
    const before = this.#promised.get(raftId);
    if (before === undefined || next.term > before.term) this.#promised.set(raftId, next);
    else if (next.term === before.term)
      this.#promised.set(raftId, {
        term: next.term,
        vote: next.vote ?? before.vote,
        index: Math.max(next.index, before.index),
      });
  }

  /** What a node answers for is on its disk before the answer leaves. */
  #isStored({ name, storage }: Watched, m: Message): void {
    const { hard } = storage.initialState();
    this.check(hard.term >= m.term, () => `${name} answers in term ${m.term} and has stored only term ${hard.term}`);
    if (hard.term !== m.term) return;
    if (m.type === "voteResp")
      this.check(
        hard.vote === m.to,
        () => `${name} gives its vote of term ${m.term} to ${m.to} and has not stored that`,
      );
    else
      this.check(
        m.index <= storage.lastIndex(),
        () => `${name} acknowledges entry ${m.index} and has stored only those up to ${storage.lastIndex()}`,
      );
  }

  /** Log matching: the same index and term name the same entry, after the same one. */
  #matches({ name }: Watched, m: Message): void {
    let previous = m.logTerm;
    for (const entry of m.entries) {
      if (entry.type !== ENTRY_NORMAL) this.#membershipAtMs = this.#nowMs();
      const key = `${entry.index}.${entry.term}`;
      const crc = this.#crcOf(entry);
      const known = this.#entries.get(key);
      const follows = previous;
      if (known === undefined) this.#entries.set(key, { crc, previous });
      else
        this.check(
          known.crc === crc && known.previous === follows,
          () => `${name} sends another entry ${entry.index} of term ${entry.term} than there was, or after another one`,
        );
      previous = entry.term;
    }
  }

  #unappliedMembershipChanges({ storage, appliedIndex }: Watched): number {
    const { lastIndex } = { lastIndex: storage.lastIndex() };
    if (lastIndex <= appliedIndex || appliedIndex + 1 < storage.firstIndex()) return 0;
    const entries = storage.entries(appliedIndex + 1, lastIndex + 1, Infinity);
    return entries === "compacted" ? 0 : entries.filter((entry) => entry.type !== ENTRY_NORMAL).length;
  }

  #crcOf({ type, data }: Entry): number {
    const known = this.#crcs.get(data);
    if (known !== undefined) return known;
    const crc = crc32(data, type);
    this.#crcs.set(data, crc);
    return crc;
  }
}
