// One simulated machine: a disk that outlives the managers which run on it one after another. A manager here is the real driver over the
// real storage, the real store, and the leader's real passes; what joins them is what the daemon does, without sockets and certificates.

import { EMPTY_HARD_STATE, type RaftId } from "raft-ts";
import { draftStore, foundGroup } from "../../manager/found.ts";
import { Leading } from "../../manager/leading.ts";
import { RaftStorage } from "../../manager/replication/raft-storage.ts";
import { ReplicatedLog } from "../../manager/replication/replicated-log.ts";
import type { Proposer, ReplayTarget } from "../../manager/store/proposer.ts";
import { Store } from "../../manager/store/store.ts";
import { defined } from "../../proto/base/assert.ts";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import { Group } from "../../proto/base/group.ts";
import type { Logger } from "../../proto/base/log.ts";
import { Notice } from "../../proto/base/notice.ts";
import { type Random, seededRandom } from "../../proto/base/random.ts";
import { type Loss, SimDisk } from "../support/sim-disk.ts";
import type { Checks, Watched } from "./checks.ts";
import type { Network } from "./network.ts";
import { type Pace, SimProcess } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";
import { type DiskState, SlowDisk } from "./slow-disk.ts";

const DIR = "/state/manager";
/** A daemon that ended is started again after about this. */
const RESTART_MS = 800;

export interface MachineWorld {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly checks: Checks;
  readonly trace: (line: string) => void;
  readonly logger: (name: string, process: SimProcess) => Logger;
  readonly clusterId: string;
  readonly snapshotEvery: number;
  readonly segmentBytes: number;
  readonly keptEntries: number;
  /** Makes the state that the group begins with. */
  readonly fill: (store: Store) => Promise<void>;
  /** After every change set that was applied. */
  readonly onWrite: (store: Store) => void;
}

/** A manager that runs. */
export interface Running extends Watched {
  readonly process: SimProcess;
  readonly log: ReplicatedLog;
  readonly store: Store;
  readonly storage: RaftStorage;
  /** What it does as the leader; undefined while it is not. */
  leading: Leading | undefined;
}

export class Machine {
  readonly name: string;
  readonly #world: MachineWorld;
  readonly #random: Random;
  readonly #pace: Pace;
  #disk: SimDisk = new SimDisk();
  readonly diskState: DiskState = { syncMs: 1, isFull: false, failing: undefined, trap: undefined };
  /** Its member of the group; undefined: it has none. */
  raftId: RaftId | undefined;
  /** It begins the cluster. */
  isFirst = false;
  #process: SimProcess | undefined;
  #running: Running | undefined;

  constructor(options: {
    readonly name: string;
    readonly world: MachineWorld;
    readonly random: Random;
    readonly pace: Pace;
  }) {
    this.name = options.name;
    this.#world = options.world;
    this.#random = options.random;
    this.#pace = options.pace;
  }

  get addr(): string {
    return `${this.name}:2377`;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get isPaused(): boolean {
    return this.#process?.isPaused === true;
  }

  get running(): Running | undefined {
    return this.#running;
  }

  /** Starts the daemon, unless it runs. */
  boot(): void {
    const isMember = this.raftId !== undefined || this.isFirst;
    if (!isMember || this.#process !== undefined) return;
    const process = new SimProcess({ name: this.name, scheduler: this.#world.scheduler, pace: this.#pace });
    this.#process = process;
    this.#trace("starts");
    const signal = new AbortController().signal;
    void this.#live({ process, signal }).catch((error: unknown) => this.#died(process, error));
  }

  /** The daemon ends at this moment. "keep": it was killed; else the machine lost power. */
  kill(loss: Loss): void {
    const process = this.#process;
    if (process === undefined) return;
    this.#trace(loss === "keep" ? "is killed" : `loses power, and of what was not synced: ${loss}`);
    process.kill();
    this.#process = undefined;
    this.#running = undefined;
    this.#disk.restart(loss, this.#random);
    this.diskState.failing = undefined;
    this.diskState.trap = undefined;
  }

  /** Everything on its disk is gone, and with it its part in the group. */
  wipe(): void {
    this.kill("keep");
    this.#trace("is wiped");
    this.#disk = new SimDisk();
    this.raftId = undefined;
    this.isFirst = false;
  }

  pause(): void {
    this.#process?.pause();
  }

  resume(): void {
    if (this.#process?.isPaused === true) this.#process.resume();
  }

  async #live(life: { readonly process: SimProcess; readonly signal: AbortSignal }): Promise<void> {
    const { process, signal } = life;
    const { checks, network, logger, snapshotEvery } = this.#world;
    const random = seededRandom(this.#random.int(0, 2 ** 31));
    const log = logger(this.name, process);
    const storage = await this.#storage({ process, random, logger: log, signal });
    if (storage === undefined) {
      // It joined and has got nothing yet: it joins again, under a new id.
      this.wipe();
      return;
    }
    const { raftId } = storage.meta;
    this.raftId = raftId;
    const store = new Store({ now: () => process.clock.now() });
    const watched = this.#watchedStore(store);
    const replicated = await ReplicatedLog.open(
      {
        storage,
        clock: process.clock,
        random,
        logger: log,
        target: watched.target,
        snapshot: watched.snapshot,
        snapshotEvery,
        trace: (event) => checks.traced(this.name, event),
        transport: (receiver) => network.attach({ name: this.name, addr: this.addr, raftId, process, receiver }),
      },
      signal,
    );
    store.attach(watched.proposer(replicated));
    const running: Running = {
      name: this.name,
      raftId,
      process,
      storage,
      store,
      log: replicated,
      leading: undefined,
      get appliedIndex(): number {
        return replicated.appliedIndex;
      },
      get leads(): number | undefined {
        const status = replicated.status();
        return status.role === "leader" ? status.term : undefined;
      },
      get members() {
        return replicated.members();
      },
    };
    checks.started(running);
    this.#running = running;
    this.#trace(`runs as ${raftId}, applied ${replicated.appliedIndex}`);
    const group = new Group(signal);
    group.spawn((stop) => replicated.run(stop));
    group.spawn((stop) => this.#lead(running, { random, logger: log, stop }));
    await group.join();
  }

  /** Undefined: there is an empty log. */
  async #storage(life: {
    readonly process: SimProcess;
    readonly random: Random;
    readonly logger: Logger;
    readonly signal: AbortSignal;
  }): Promise<RaftStorage | undefined> {
    const { process, random, logger, signal } = life;
    const { scheduler, clusterId, segmentBytes, keptEntries, checks, fill } = this.#world;
    const disk = new SlowDisk({
      disk: this.#disk,
      state: this.diskState,
      process,
      scheduler,
      random: seededRandom(random.int(0, 2 ** 31)),
      onTrap: (loss) => {
        this.kill(loss);
        scheduler.after(RESTART_MS, () => this.boot());
      },
    });
    const options = { disk, dir: DIR, random, logger, segmentBytes, keptEntries };
    const found = await RaftStorage.open(options, signal);
    const self = { nodeId: this.name, addr: this.addr };
    if (this.isFirst) {
      const draft = draftStore(process.clock, undefined);
      if (found === undefined) await fill(draft);
      const storage = found ?? (await foundGroup(options, { draft, self, clusterId }, signal));
      const snapshot = await storage.loadSnapshot();
      if (snapshot !== undefined) checks.began({ ...snapshot.meta, bytes: snapshot.bytes });
      return storage;
    }
    if (found !== undefined) return found.lastIndex() > 0 ? found : undefined;
    const meta = { raftId: defined(this.raftId, "the id that it joined under"), nodeId: this.name, clusterId };
    return RaftStorage.create(options, { meta, hard: EMPTY_HARD_STATE, entries: [] }, signal);
  }

  /** The store behind the checks: what it applies, saves and restores is held against what others did. */
  #watchedStore(store: Store): {
    readonly target: ReplayTarget;
    readonly snapshot: () => Iterable<Uint8Array>;
    readonly proposer: (log: ReplicatedLog) => Proposer;
  } {
    const { checks, onWrite } = this.#world;
    const { name } = this;
    const wrote: ReplayTarget["apply"] = (changes, index) => {
      checks.wentOn(name, { after: store.version, index });
      checks.wrote(name, { changes, index });
    };
    return {
      target: {
        restore: (bytes, index) => {
          checks.restored(name, { bytes, index });
          store.restore(bytes, index);
        },
        apply: (changes, index) => {
          wrote(changes, index);
          store.apply(changes, index);
          onWrite(store);
        },
      },
      snapshot: () => {
        checks.cutSnapshot(name, { bytes: Buffer.concat([...store.save()]), index: store.version });
        return store.save();
      },
      proposer: (log) => ({
        propose: (changes, onCommit) =>
          log.propose(changes, (index) => {
            wrote(changes, index);
            onCommit(index);
            onWrite(store);
          }),
      }),
    };
  }

  /** What a leader does is done while this manager leads. */
  async #lead(
    running: Running,
    options: { readonly random: Random; readonly logger: Logger; readonly stop: AbortSignal },
  ): Promise<void> {
    const { process, store, log } = running;
    const { random, logger, stop } = options;
    const { clock } = process;
    const changed = new Notice();
    log.subscribe(() => changed.raise());
    while (!stop.aborted) {
      const { role, term } = log.status();
      if (role === "leader") {
        this.#trace(`leads in term ${term}`);
        const probe = (): Promise<void> => Promise.resolve();
        const leading = new Leading({ term, store, log, clock, random, logger, strict: true, probe });
        running.leading = leading;
        const work = leading.run();
        work.catch((error: unknown) => this.#died(process, error));
        while (running.leads === term) await changed.wait(stop);
        running.leading = undefined;
        leading.end(new SwarmError("NotLeader", "this manager does not lead any more"));
        await work;
        this.#trace(`does not lead any more`);
      } else await changed.wait(stop);
    }
  }

  /** The daemon ended by itself: with its disk that is to be expected, else it is a bug. */
  #died(process: SimProcess, error: unknown): void {
    if (!process.isAlive) return;
    this.#trace(`ends: ${errorText(error)}`);
    if (!isSwarmError(error, "Unavailable"))
      this.#world.checks.fail(
        `${this.name} ended: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    this.kill("keep");
    this.#world.scheduler.after(RESTART_MS, () => this.boot());
  }

  #trace(text: string): void {
    this.#world.trace(`${this.name} ${text}`);
  }
}
