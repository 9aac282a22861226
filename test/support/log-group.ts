// A group of managers' logs in one process, on a clock that a test moves, over storage and a network in memory. Each member's
// state is what a real Store holds.

import assert from "node:assert/strict";
import type { RaftId, TraceEvent } from "raft-ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import { silentLogger } from "../../proto/base/log.ts";
import { seededRandom } from "../../proto/base/random.ts";
import { Service } from "../../proto/gen/objects.ts";
import { wholeService } from "../../proto/model/objects.ts";
import type { Member } from "../../manager/replication/membership.ts";
import { bootstrapLog } from "../../manager/replication/replicated-log-offline.ts";
import { ReplicatedLog } from "../../manager/replication/replicated-log.ts";
import { Store } from "../../manager/store/store.ts";
import { ManualClock } from "./manual-clock.ts";
import { MemoryNetwork } from "./memory-network.ts";
import { MemoryRaftStorage } from "./memory-raft-storage.ts";

export interface GroupMember {
  readonly self: Member;
  readonly storage: MemoryRaftStorage;
  readonly log: ReplicatedLog;
  readonly store: Store;
  /** Ends the run; closes nothing. */
  readonly stop: AbortController;
  /** What the run ended with. */
  readonly ended: Promise<unknown>;
  readonly trace: TraceEvent[];
}

export type Fate = "committed" | "dropped" | "ambiguous";

const SNAPSHOT_EVERY = 50;

export class LogGroup {
  readonly clock: ManualClock = new ManualClock();
  readonly network: MemoryNetwork;
  readonly members: Map<RaftId, GroupMember> = new Map<RaftId, GroupMember>();
  readonly #seed: number;
  readonly #logger: Logger;
  readonly never: AbortSignal = new AbortController().signal;
  #starts = 0;
  #writes = 0;

  constructor(options: { readonly seed: number; readonly logger?: Logger }) {
    this.#seed = options.seed;
    this.#logger = options.logger ?? silentLogger;
    this.network = new MemoryNetwork({ clock: this.clock, logger: this.#logger, delayMs: 1 });
  }

  /** A group of so many voters, with a leader. */
  static async of(count: number, options: { readonly seed: number; readonly logger?: Logger }): Promise<LogGroup> {
    const group = new LogGroup(options);
    const first = memberOf(1);
    const storage = new MemoryRaftStorage({
      clock: group.clock,
      ...bootstrapLog({ self: first, clusterId: "cluster" }),
    });
    await group.start(first, { storage });
    await group.until("the first member leads", () => group.leader !== undefined);
    for (let number = 2; number <= count; number += 1) await group.join(number);
    return group;
  }

  /** The one that leads by its own word and the newest term. */
  get leader(): GroupMember | undefined {
    const leaders = [...this.members.values()].filter(({ log }) => log.status().role === "leader");
    return leaders.sort((a, b) => b.log.status().term - a.log.status().term)[0];
  }

  get followers(): readonly GroupMember[] {
    const leader = this.leader;
    return [...this.members.values()].filter((member) => member !== leader);
  }

  lead(): GroupMember {
    const leader = this.leader;
    assert.ok(leader !== undefined, "the group has a leader");
    return leader;
  }

  member(id: RaftId): GroupMember {
    const member = this.members.get(id);
    assert.ok(member !== undefined, `member ${id} runs`);
    return member;
  }

  others(id: RaftId): readonly RaftId[] {
    return [...this.members.keys()].filter((each) => each !== id);
  }

  /** A new node joins as a learner and becomes a voter once it has caught up. */
  async join(number: number): Promise<GroupMember> {
    const learner = await this.joinAsLearner(number);
    const { raftId } = learner.self;
    await this.until("the learner has caught up", () => {
      const view = this.lead()
        .log.members()
        .find((each) => each.raftId === raftId);
      return view?.isCaughtUp === true;
    });
    await this.settle(this.lead().log.promote(raftId, this.never));
    return learner;
  }

  async joinAsLearner(number: number): Promise<GroupMember> {
    const leader = this.lead();
    const { nodeId, addr } = memberOf(number);
    const self = await this.settle(leader.log.addLearner({ nodeId, addr }, this.never));
    const meta = { raftId: self.raftId, nodeId, clusterId: "cluster" };
    const storage = new MemoryRaftStorage({ clock: this.clock, meta });
    return this.start(self, { storage, seeds: [leader.self] });
  }

  /** Opens a log over the storage and runs it. */
  async start(
    self: Member,
    options: { readonly storage: MemoryRaftStorage; readonly seeds?: readonly Member[] },
  ): Promise<GroupMember> {
    this.#starts += 1;
    const { storage, seeds = [] } = options;
    const store = new Store({ now: () => this.clock.now() });
    const trace: TraceEvent[] = [];
    const log = await ReplicatedLog.open(
      {
        storage,
        clock: this.clock,
        random: seededRandom(this.#seed * 1_000 + this.#starts),
        logger: this.#logger,
        target: store,
        snapshot: () => store.save(),
        snapshotEvery: SNAPSHOT_EVERY,
        transport: (receiver) => this.network.join(self, receiver),
        seeds,
        trace: (event) => trace.push(event),
      },
      this.never,
    );
    store.attach(log);
    const stop = new AbortController();
    const ended = log.run(stop.signal).then(
      () => undefined,
      (error: unknown) => error,
    );
    const member: GroupMember = { self, storage, log, store, stop, ended, trace };
    this.members.set(self.raftId, member);
    return member;
  }

  /** As a killed process: what was not durable is gone, nothing is said to anybody. */
  kill(id: RaftId): GroupMember {
    const member = this.member(id);
    this.network.leave(id);
    this.members.delete(id);
    member.stop.abort(new Error("killed"));
    return { ...member, storage: member.storage.crash() };
  }

  restart(killed: GroupMember): Promise<GroupMember> {
    return this.start(killed.self, { storage: killed.storage });
  }

  /** Creates a service in the member's store; answers what became of it. */
  write(member: GroupMember): Promise<Fate> {
    return this.settle(this.begin(member).outcome);
  }

  /** Begins to create a service; somebody must move the clock until its fate is known. */
  begin(member: GroupMember): { readonly id: string; readonly outcome: Promise<Fate> } {
    this.#writes += 1;
    const id = `service-${this.#writes}`;
    const done = member.store.update((tx) => tx.services.create(wholeService(Service.create({ id }))));
    const outcome = done.then(
      (): Fate => "committed",
      (error: unknown): Fate => {
        if (isSwarmError(error, "Unavailable")) return "dropped";
        if (isSwarmError(error, "Internal")) return "ambiguous";
        throw error;
      },
    );
    return { id, outcome };
  }

  /** Moves the clock until the promise settles. */
  async settle<T>(promise: Promise<T>, withinMs = 30_000): Promise<T> {
    let isOver = false;
    const watched = promise.finally(() => {
      isOver = true;
    });
    watched.catch(() => undefined);
    await this.until("a promise has settled", () => isOver, withinMs);
    return watched;
  }

  async until(what: string, isSo: () => boolean, withinMs = 30_000): Promise<void> {
    for (let waitedMs = 0; !isSo(); waitedMs += 20) {
      assert.ok(waitedMs < withinMs, `${what} within ${withinMs} ms`);
      await this.clock.advance(20);
    }
  }

  async close(): Promise<void> {
    for (const member of this.members.values()) {
      this.network.leave(member.self.raftId);
      await this.settle(member.log.close());
    }
  }
}

export function memberOf(number: number): Member {
  return { raftId: number, nodeId: `node-${number}`, addr: `10.0.0.${number}:2377` };
}
