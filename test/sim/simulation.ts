// One simulated run, from one number: a group is formed, clients, agents and people work with it while things go wrong, then everything
// works again and it must come to rest. The same number gives the same run, event by event.

import { crc32 } from "node:zlib";
import { type Logger, createLogger, silentLogger } from "../../proto/base/log.ts";
import { type Random, seededRandom } from "../../proto/base/random.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { WholeService } from "../../proto/model/objects.ts";
import { isUnderWay } from "../../proto/model/update-plan.ts";
import type { Store } from "../../manager/store/store.ts";
import { checkAlways } from "../support/cluster-invariants.ts";
import { checkLinearizable } from "../support/linearizability.ts";
import { Admin, createMachines } from "./admin.ts";
import { SimAgent } from "./agent.ts";
import { canonicalState } from "./canonical-state.ts";
import { Checks } from "./checks.ts";
import { Machine, type Running } from "./machine.ts";
import { CALM, Nemesis } from "./nemesis.ts";
import { People } from "./people.ts";
import { Network, type NetworkState } from "./network.ts";
import { Registers, swapModel } from "./registers.ts";
import { Scheduler } from "./scheduler.ts";
import { ServiceChecks, restProblem } from "./service-checks.ts";
import { WORKERS, createBallast, createWorkers } from "./work.ts";

const CLUSTER = "the-cluster";
const FORMING_MS = 60_000;
/** Four election timeouts, each drawn from one to two seconds, and what a slow clock makes of them. */
const LEADER_MS = 8_800;
const REST_MS = 240_000;
/** Every slot one after another until its deadline, and again on the way back; and nodes that are lost meanwhile. */
const UPDATES_MS = 240_000;
/** Long enough to be taken for lost, or not. */
const AWAY_MAX_MS = 25_000;
/** Nothing changes for so long: at rest. More than any delay of the passes. */
const QUIET_MS = 8_000;
const CLIENT_PATIENCE_MS = 12_000;

export interface Outcome {
  /** Undefined: everything held. */
  readonly violation: string | undefined;
  /** Of everything that happened. */
  readonly hash: number;
  readonly events: number;
  readonly simulatedMs: number;
  readonly acknowledged: number;
  readonly reads: number;
  readonly ambiguous: number;
  readonly elections: number;
  readonly applied: number;
  readonly unknownVerdicts: number;
}

export interface SimulationOptions {
  readonly seed: number;
  /** Each line of what happens, as it does. */
  readonly onTrace?: (line: string) => void;
}

export async function simulate(options: SimulationOptions): Promise<Outcome> {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #scheduler = new Scheduler();
  readonly #random: Random;
  readonly #checks: Checks;
  readonly #network: Network;
  readonly #networkState: NetworkState = { ...CALM };
  readonly #registers: Registers;
  readonly #serviceChecks = new ServiceChecks();
  readonly #people: People;
  readonly #agents: SimAgent[] = [];
  readonly #machines: Machine[] = [];
  readonly #admin: Admin;
  /** Large objects, which make a snapshot of several pieces. */
  readonly #ballast: number;
  #hash = 0;
  #isWorking = true;
  #isFaulty = true;
  #unknownVerdicts = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    const trace = (line: string): void => this.#trace(line);
    this.#ballast = this.#random.float() < 0.1 ? 8 : 0;
    this.#checks = new Checks({ nowMs: () => this.#scheduler.nowMs });
    this.#network = new Network({
      scheduler: this.#scheduler,
      random: this.#fork(),
      state: this.#networkState,
      trace,
      onSend: (from, message) => {
        this.#hash = crc32(`${from.name} ${message.type} ${message.to} ${message.term} ${message.index}`, this.#hash);
        const running = this.#machines.find((machine) => machine.name === from.name)?.running;
        if (running?.raftId === from.raftId) this.#checks.sent(running, message);
      },
    });
    this.#people = new People(this.#fork());
    this.#registers = new Registers({ count: 3, random: this.#fork(), trace });
    this.#makeMachines();
    const after = (ms: number, action: () => void): (() => void) => this.#scheduler.after(ms, action);
    this.#admin = new Admin({ machines: this.#machines, random: this.#fork(), clusterId: CLUSTER, trace, after });
  }

  async run(): Promise<Outcome> {
    const fail = (error: unknown): void =>
      this.#checks.fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.on("unhandledRejection", fail);
    try {
      await this.#play();
    } catch (error) {
      fail(error);
    } finally {
      process.off("unhandledRejection", fail);
    }
    return {
      violation: this.#checks.violation,
      hash: this.#hash,
      events: this.#scheduler.events,
      simulatedMs: Math.round(this.#scheduler.nowMs),
      acknowledged: this.#registers.acknowledged,
      reads: this.#registers.reads,
      ambiguous: this.#registers.ambiguous,
      elections: this.#checks.elections,
      applied: this.#checks.appliedCount,
      unknownVerdicts: this.#unknownVerdicts,
    };
  }

  async #play(): Promise<void> {
    await this.#form();
    const clients = this.#random.int(1, 7);
    const pauseMs = 20 + this.#random.float() ** 2 * 300;
    for (let client = 0; client < clients; client += 1) this.#client(pauseMs);
    this.#startAgents();
    this.#act();
    const nemesis = new Nemesis({
      machines: this.#machines,
      admin: this.#admin,
      network: this.#network,
      networkState: this.#networkState,
      random: this.#fork(),
      trace: (line) => this.#trace(line),
      after: (ms, action) => this.#scheduler.after(ms, action),
    });
    nemesis.start();
    await this.#until(this.#random.int(5_000, 20_000), () => false);
    this.#trace("the faults stop");
    nemesis.end();
    this.#isFaulty = false;
    const isLed = await this.#until(LEADER_MS, () => this.#admin.leader() !== undefined);
    this.#checks.check(isLed, () => `no leader within ${LEADER_MS} ms after the faults stopped`);
    await this.#until(2_000, () => false);
    this.#isWorking = false;
    await this.#mend();
    await this.#rest();
    await this.#judge();
  }

  /** Until the first group stands and holds what the clients work with. */
  async #form(): Promise<void> {
    const [first] = this.#machines;
    if (first === undefined) return;
    first.isFirst = true;
    const spare = this.#machines.length > 3 && this.#random.float() < 0.5 ? 1 : 0;
    for (const machine of this.#machines.slice(0, this.#machines.length - spare)) this.#admin.want(machine);
    first.boot();
    this.#admin.start();
    const isFormed = await this.#until(FORMING_MS, () => this.#isWhole());
    this.#checks.check(isFormed, () => "the group does not form");
  }

  /** Runs simulated time until the condition holds. False: it did not within `ms`, or something was violated. */
  async #until(ms: number, condition: () => boolean): Promise<boolean> {
    let isMet = condition();
    if (isMet || this.#checks.violation !== undefined) return isMet;
    await this.#scheduler.run(ms, {
      afterEvent: () => this.#look(),
      isOver: () => {
        isMet = condition();
        return isMet || this.#checks.violation !== undefined;
      },
    });
    return isMet;
  }

  #look(): void {
    for (const { running } of this.#machines) if (running !== undefined) this.#checks.look(running);
  }

  /** Every machine that is to be a member is a voter under its own id, runs, and has applied what the leader has. */
  #isWhole(): boolean {
    const leader = this.#admin.leader();
    if (leader === undefined) return false;
    const members = leader.log.members();
    if (members.length !== this.#admin.wanted.size || members.some((member) => member.isLearner)) return false;
    return [...this.#admin.wanted].every(({ name, raftId, running }) => {
      const isMember = members.some((member) => member.nodeId === name && member.raftId === raftId);
      return isMember && running?.appliedIndex === leader.appliedIndex;
    });
  }

  /** Without faults every update ends by itself, whatever its image. Then people do away with what would never rest. */
  async #mend(): Promise<void> {
    const underWay = (): readonly WholeService[] | undefined =>
      this.#admin
        .leader()
        ?.store.view()
        .services.all()
        .filter(({ updateStatus, pendingDelete }) => !pendingDelete && isUnderWay(updateStatus));
    const isOver = await this.#until(UPDATES_MS, () => underWay()?.length === 0);
    this.#checks.check(
      isOver,
      () =>
        `updates have not ended ${UPDATES_MS} ms after the faults: ${(underWay() ?? []).map(({ spec, updateStatus }) => `${spec.name}: ${updateStatus?.message ?? ""}`).join("; ")}`,
    );
    for (const agent of this.#agents) agent.comeBack();
    const mending = { isOver: false };
    while (!mending.isOver && this.#checks.violation === undefined) {
      const leader = this.#admin.leader();
      const attempt = { isOver: false };
      leader?.process.run(() => {
        this.#people.mend(leader.store).then(
          () => {
            mending.isOver = true;
          },
          (error: unknown) => {
            if (!(error instanceof SwarmError)) this.#checks.fail(errorText(error));
            attempt.isOver = true;
          },
        );
      });
      await this.#until(CLIENT_PATIENCE_MS, () => mending.isOver || attempt.isOver);
    }
  }

  /** The cluster comes to rest: all members agree, and no task is to be done. */
  async #rest(): Promise<void> {
    let version = -1;
    let sinceMs = 0;
    const isAtRest = await this.#until(REST_MS, () => {
      const leader = this.#admin.leader();
      if (leader?.store.version !== version || !this.#isWhole()) {
        version = leader?.store.version ?? -1;
        sinceMs = this.#scheduler.nowMs;
      }
      return this.#scheduler.nowMs - sinceMs > QUIET_MS;
    });
    this.#checks.check(isAtRest, () => `the cluster does not come to rest within ${REST_MS} ms: ${this.#describe()}`);
  }

  #describe(): string {
    const leader = this.#admin.leader();
    const members = leader?.log.members().map(({ nodeId, raftId, isLearner }) => ({ nodeId, raftId, isLearner }));
    const machines = this.#machines.map(({ name, raftId, running }) => ({
      name,
      raftId,
      applied: running?.appliedIndex,
    }));
    return JSON.stringify({ leader: leader?.name, members, machines });
  }

  /** At the end: what everybody holds, what the clients heard, what runs. */
  async #judge(): Promise<void> {
    const checks = this.#checks;
    const state = checks.oracleState().join();
    for (const { name, running } of this.#admin.wanted) {
      if (running === undefined) continue;
      const own = canonicalState(Buffer.concat([...running.store.save()])).join();
      checks.check(own === state, () => `${name} holds another state than was committed`);
      let isRead = false;
      const barrier = running.log.readBarrier(new AbortController().signal).then(() => {
        isRead = true;
      });
      barrier.catch((error: unknown) => checks.fail(`${name} does not answer a read at the end: ${errorText(error)}`));
      checks.check(await this.#until(10_000, () => isRead), () => `${name} does not answer a read at the end`);
    }
    for (const { name, running } of this.#machines) {
      if (running === undefined || !this.#admin.isRemoved(running.raftId)) continue;
      checks.check(running.log.isRemoved, () => `${name} was removed, and nobody has told it`);
    }
    for (const [register, history] of this.#registers.histories.entries()) {
      const verdict = checkLinearizable(swapModel, history, { stepsMax: 300_000 });
      if (verdict === "unknown") this.#unknownVerdicts += 1;
      checks.check(
        verdict !== "not-linearizable",
        () => `what clients saw of register ${register} is not linearizable`,
      );
    }
    const leader = this.#admin.leader();
    const view = leader?.store.view();
    for (const service of view?.services.all() ?? []) {
      const problem = view === undefined ? undefined : restProblem(view, service);
      checks.check(problem === undefined, () => problem ?? "");
    }
  }

  #makeMachines(): void {
    const random = this.#fork();
    const count = [1, 2, 3, 3, 3, 4, 5][random.int(0, 7)] ?? 3;
    const world = {
      scheduler: this.#scheduler,
      network: this.#network,
      checks: this.#checks,
      trace: (line: string) => this.#trace(line),
      logger: (name: string) => this.#logger(name),
      clusterId: CLUSTER,
      snapshotEvery: (this.#ballast > 0 ? 60 : 5) + Math.round(random.float() ** 2 * 60),
      keptEntries: random.int(0, 30),
      segmentBytes: 1_024 * (this.#ballast > 0 ? 256 : random.int(8, 48)),
      fill: async (store: Store) => {
        await this.#registers.create(store);
        await createMachines(store, this.#machines);
        await createWorkers(store);
        for (let place = 0; place < this.#ballast; place += 1) await createBallast(store, place);
      },
      onWrite: (store: Store) => this.#onWrite(store),
    };
    for (let number = 1; number <= count; number += 1) {
      const pace = { rate: 0.95 + random.float() * 0.1, offsetMs: Math.round((random.float() - 0.5) * 4_000) };
      const machine = new Machine({ name: `m${number}`, world, random: this.#fork(), pace });
      machine.diskState.syncMs = random.float() < 0.2 ? 20 + random.float() * 130 : 0.3 + random.float() ** 2 * 15;
      this.#machines.push(machine);
    }
  }

  #onWrite(store: Store): void {
    try {
      checkAlways(store.view());
      const problem = this.#serviceChecks.look(store.view());
      this.#checks.check(problem === undefined, () => problem ?? "");
    } catch (error) {
      this.#checks.fail(errorText(error));
    }
    const dropped = this.#registers.findDropped(store.view());
    this.#checks.check(
      dropped === undefined,
      () => `the swap to ${dropped ?? 0} took place, and its client was told that it did not`,
    );
  }

  /** One client: call after call, each at some manager, mostly the one that leads. */
  #client(pauseMs: number): void {
    const random = this.#fork();
    const next = (): void => {
      this.#scheduler.after(random.float() * pauseMs, () => {
        if (!this.#isWorking) return;
        const running = this.#pick(random);
        if (running === undefined) {
          next();
          return;
        }
        const abort = new AbortController();
        let isOver = false;
        const over = (): void => {
          if (isOver) return;
          isOver = true;
          cancel();
          next();
        };
        const cancel = this.#scheduler.after(CLIENT_PATIENCE_MS, () => {
          abort.abort(new SwarmError("Cancelled", "the client waits no longer"));
          over();
        });
        const readBarrier = async (signal: AbortSignal): Promise<void> => {
          const wasRemoved = this.#admin.isRemoved(running.raftId);
          await running.log.readBarrier(signal);
          this.#checks.check(
            !wasRemoved,
            () => `${running.name} answers a read as ${running.raftId}, which was removed`,
          );
        };
        const manager = { store: running.store, readBarrier };
        void running.process.ask(() => this.#registers.call(manager, abort.signal)).then(over);
      });
    };
    next();
  }

  #pick(random: Random): Running | undefined {
    const up = this.#machines.flatMap(({ running }) => (running === undefined ? [] : [running]));
    const leaders = up.filter((running) => running.leads !== undefined);
    const from = leaders.length > 0 && random.float() < 0.7 ? leaders : up;
    return from[random.int(0, from.length)];
  }

  #startAgents(): void {
    for (const nodeId of WORKERS) {
      const random = this.#fork();
      const agent = new SimAgent({
        nodeId,
        random,
        clusterId: CLUSTER,
        nowMs: () => this.#scheduler.nowMs,
        leader: () => this.#admin.leader(),
        mayFail: () => this.#isFaulty,
        slowness: random.float() < 0.5 ? 0 : random.float() * 0.8,
      });
      this.#agents.push(agent);
      const isFlaky = random.float() < 0.3;
      const next = (): void => {
        this.#scheduler.after(100 + random.float() * 300, () => {
          if (isFlaky && this.#isFaulty && random.float() < 0.02) {
            const ms = random.float() * AWAY_MAX_MS;
            this.#trace(`${nodeId} is away for ${Math.round(ms)} ms`);
            agent.leave(ms);
          }
          agent.tick();
          next();
        });
      };
      next();
    }
  }

  #act(): void {
    const random = this.#fork();
    const next = (): void => {
      this.#scheduler.after(500 + random.float() * 2_500, () => {
        if (!this.#isFaulty) return;
        const leader = this.#admin.leader();
        if (leader !== undefined) leader.process.run(() => void this.#people.act(leader.store));
        next();
      });
    };
    next();
  }

  #logger(name: string): Logger {
    const { onTrace } = this.#options;
    if (onTrace === undefined) return silentLogger;
    return createLogger({
      component: name,
      level: "debug",
      now: () => 0,
      write: (line) => onTrace(`${this.#stamp()}   ${line.slice(line.indexOf("Z ") + 2).trimEnd()}`),
    });
  }

  #trace(line: string): void {
    this.#hash = crc32(`${this.#stamp()} ${line}`, this.#hash);
    this.#options.onTrace?.(`${this.#stamp()} ${line}`);
  }

  #stamp(): string {
    return (this.#scheduler.nowMs / 1_000).toFixed(3).padStart(8);
  }

  #fork(): Random {
    return seededRandom(this.#random.int(0, 2 ** 31));
  }
}
