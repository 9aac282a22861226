// A group of members under random faults: messages lost, doubled and out of order, members that crash and lose what
// was not stored, logs compacted, memberships changed. It checks after every step what Raft promises.

import assert from "node:assert/strict";
import type { ConfChangeType, Message, RaftConfig, TraceEvent } from "../../../manager/raft/index.ts";
import { isForSelf, isStorageThread } from "../../../manager/raft/index.ts";
import { freezeDeep } from "./freeze.ts";
import { SeededRandom } from "./random.ts";
import { ScenarioNode } from "./scenario-node.ts";

const VOTERS = [1, 2, 3];
const MEMBERS = 5;
const MESSAGES_MAX = 300;

export class RandomGroup {
  readonly random: SeededRandom;
  readonly nodes: ScenarioNode[] = [];
  readonly #leaders = new Map<number, number>();
  /** What was applied at each index by whoever applied it first. */
  readonly #applied = new Map<number, string>();
  readonly #commits = new Map<number, number>();
  readonly #terms = new Map<number, number>();
  #network: Message[] = [];
  #proposals = 0;
  /** Reads by context: the highest index applied anywhere when they were asked for. */
  readonly #reads = new Map<string, number>();
  answeredReads = 0;
  elections = 0;

  constructor(seed: number, config: Partial<RaftConfig> = {}) {
    this.random = new SeededRandom(seed);
    const conf = { voters: VOTERS, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
    for (let id = 1; id <= MEMBERS; id++) {
      const isMember = VOTERS.includes(id);
      const start = { index: isMember ? 2 : 0, term: isMember ? 1 : 0, conf, data: new Uint8Array(0) };
      const empty = { ...conf, voters: [] };
      this.nodes.push(
        new ScenarioNode({
          id,
          start: isMember ? start : { ...start, conf: empty },
          config: {
            electionTicks: 8,
            heartbeatTicks: 2,
            asyncStorageWrites: this.random.chance(70),
            maxMessageBytes: 60,
            maxInflightMessages: 4,
            random: (below) => this.random.below(below),
            trace: (event) => this.#observe(id, event),
            ...config,
          },
        }),
      );
    }
  }

  #observe(id: number, event: TraceEvent): void {
    if (event.kind === "logDiverged") assert.fail(`${id} finds its log diverged: ${JSON.stringify(event)}`);
    if (event.kind !== "becameLeader") return;
    this.elections++;
    const other = this.#leaders.get(event.term) ?? id;
    assert.equal(other, id, `two leaders in term ${event.term}`);
    this.#leaders.set(event.term, id);
    const stored = this.nodes[id - 1]?.storage.initialState().hard;
    assert.deepEqual([stored?.term, stored?.vote], [event.term, id], "a leader's term and vote are durable");
  }

  /** Anything may happen. */
  step(): void {
    const node = this.random.pick(this.nodes);
    assert.ok(node !== undefined);
    const dice = this.random.below(1000);
    if (dice < 300) this.#work(node);
    else if (dice < 600) this.#deliver(this.random.chance(8));
    else if (dice < 760) node.raw.tick();
    else if (dice < 830) this.#propose(node);
    else if (dice < 850) this.#changeMembership(node);
    else if (dice < 870) this.#read(node);
    else if (dice < 880) this.#crash(node);
    else if (dice < 890) this.#compact(node);
    else if (dice < 895) node.raw.transferLeader(1 + this.random.below(MEMBERS));
    else if (dice < 900) node.raw.forgetLeader();
    else if (dice < 910) node.raw.reportUnreachable(1 + this.random.below(MEMBERS));
    else if (dice < 915) node.raw.reportSnapshot(1 + this.random.below(MEMBERS), this.random.chance(50));
    else this.#storage(node);
    this.#check(node);
  }

  /** Time passes and every message arrives, until all members agree with a leader or the ticks are used up. */
  heal(ticks: number): boolean {
    for (let i = 0; i < ticks; i++) {
      for (const node of this.nodes) {
        node.raw.tick();
        for (let round = 0; round < 20; round++) this.#settle();
      }
      if (this.#isSettled()) return true;
    }
    return false;
  }

  #settle(): void {
    for (const node of this.nodes) {
      this.#work(node);
      while (node.appendWork.length + node.applyWork.length > 0) this.#storage(node);
      this.#check(node);
    }
    const sent = this.#network;
    this.#network = [];
    for (const m of sent) this.#receive(m);
  }

  #isSettled(): boolean {
    const leader = this.nodes.find((node) => node.raw.status().role === "leader");
    if (leader === undefined) return false;
    const { conf, applied, hard, lastIndex, isVoter } = leader.raw.status();
    if (!isVoter || applied !== lastIndex || hard.commit !== lastIndex) return false;
    const members = new Set([...conf.voters, ...conf.learners, ...conf.votersOutgoing]);
    return this.nodes.every((node) => !members.has(node.id) || node.raw.status().applied === applied);
  }

  #work(node: ScenarioNode): void {
    if (!node.raw.hasReady()) return;
    const ready = freezeDeep(node.raw.ready());
    for (const read of ready.readStates) {
      if (read.kind === "refused") continue;
      const least = this.#reads.get(new TextDecoder().decode(read.context));
      assert.ok(least !== undefined && read.index >= least, `a read at ${read.index} misses entry ${least}`);
      this.answeredReads++;
    }
    if (!node.isAsync) {
      this.#store(node, { hard: ready.hardState, entries: ready.entries, snapshot: ready.snapshot });
      this.#apply(node, () => node.apply(ready.committedEntries));
    }
    for (const m of ready.messages) {
      if (!isStorageThread(m.to)) this.#send(m);
      else if (m.type === "storageAppend") node.appendWork.push(m);
      else node.applyWork.push(m);
    }
    if (!node.isAsync) node.raw.advance();
  }

  #send(m: Message): void {
    if (this.#network.length < MESSAGES_MAX || isForSelf(m)) this.#network.push(m);
    else this.#lose(m);
  }

  #deliver(isLost: boolean): void {
    const at = this.random.below(this.#network.length);
    const m = this.#network[at];
    if (m === undefined) return;
    if (!this.random.chance(10) || isForSelf(m)) this.#network.splice(at, 1);
    if (!isLost || isForSelf(m)) this.#receive(m);
    else this.#lose(m);
  }

  /** The sender of a snapshot learns that it was lost, as the contract of the core asks. */
  #lose(m: Message): void {
    if (m.type === "snap") this.nodes[m.from - 1]?.raw.reportSnapshot(m.to, false);
  }

  #receive(m: Message): void {
    const error = this.nodes[m.to - 1]?.raw.step(m);
    if (error?.kind === "malformed" || error?.kind === "diverged") assert.fail(error.detail);
  }

  #storage(node: ScenarioNode): void {
    const work = this.random.chance(60) ? (node.appendWork.shift() ?? node.applyWork.shift()) : node.applyWork.shift();
    if (work === undefined) return;
    if (work.type === "storageAppend") {
      const { term, vote, commit, entries, snapshot } = work;
      this.#store(node, { hard: term === 0 ? null : { term, vote, commit }, entries, snapshot });
    } else {
      this.#apply(node, () => node.apply(work.entries));
    }
    // What a thread tells its own node arrives in order; what is for others may not.
    for (const m of work.responses) {
      if (m.to === node.id) this.#receive(m);
      else this.#send(m);
    }
  }

  #store(node: ScenarioNode, writes: Parameters<ScenarioNode["store"]>[0]): void {
    node.store(writes);
    // The transport of snapshots answers once they are stored.
    if (writes.snapshot !== null) for (const other of this.nodes) other.raw.reportSnapshot(node.id, true);
  }

  #apply(node: ScenarioNode, apply: () => void): void {
    const from = node.latest().index;
    apply();
    for (const state of node.statesSince(from)) {
      const text = new TextDecoder().decode(state.data);
      const known = this.#applied.get(state.index) ?? text;
      assert.equal(text, known, `node ${node.id} applies something else at ${state.index}`);
      this.#applied.set(state.index, text);
    }
  }

  #propose(node: ScenarioNode): void {
    node.raw.propose([new TextEncoder().encode(`${++this.#proposals};`)]);
  }

  #changeMembership(node: ScenarioNode): void {
    const types: readonly ConfChangeType[] = ["addNode", "addNode", "removeNode", "addLearnerNode"];
    const transitions = ["auto", "auto", "implicit", "explicit"] as const;
    const changes = [];
    for (let i = this.random.below(4); i > 0; i--) {
      changes.push({ type: this.random.pick(types) ?? "addNode", nodeId: 1 + this.random.below(MEMBERS) });
    }
    const transition = changes.length === 0 ? "auto" : (this.random.pick(transitions) ?? "auto");
    node.raw.proposeConfChange({ transition, changes, context: new Uint8Array(0) });
  }

  #read(node: ScenarioNode): void {
    const context = `read ${this.#reads.size}`;
    this.#reads.set(context, Math.max(0, ...this.#applied.keys()));
    node.raw.readIndex(new TextEncoder().encode(context));
  }

  /** Everything in memory is lost, and so are writes and messages to itself that were under way. */
  #crash(node: ScenarioNode): void {
    this.#network = this.#network.filter((m) => !(isForSelf(m) && m.to === node.id));
    node.restart();
    // Whoever was sending it a snapshot notices.
    for (const other of this.nodes) other.raw.reportSnapshot(node.id, false);
    this.#commits.delete(node.id);
  }

  #compact(node: ScenarioNode): void {
    const { applied } = node.raw.status();
    const { index } = node.latest();
    const to = Math.min(applied, index, node.storage.lastIndex());
    if (to > node.storage.firstIndex()) node.compact(to);
  }

  #check(node: ScenarioNode): void {
    const { hard, applied, lastIndex } = node.raw.status();
    assert.ok(applied <= hard.commit && hard.commit <= lastIndex, "applied <= commit <= last");
    assert.ok(hard.commit >= (this.#commits.get(node.id) ?? 0), "the commit never goes back");
    this.#commits.set(node.id, hard.commit);
    const stored = node.storage.initialState().hard;
    assert.ok(stored.term >= (this.#terms.get(node.id) ?? 0), "the stored term never goes back");
    this.#terms.set(node.id, stored.term);
  }
}
