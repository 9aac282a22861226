// A group of whole managers in one process: real logs on disks in memory, the real driver, calls and messages carried in memory, on a
// clock that the test moves. A test kills, cuts off and restarts them, and calls them as people, agents and each other do.

import assert from "node:assert/strict";
import { newKeyAndRequest } from "../../agent/identity-request.ts";
import { Manager } from "../../manager/manager.ts";
import type { GroupManagerOptions } from "../../manager/api.ts";
import type { Bootstrapped } from "../../manager/bootstrap.ts";
import type { ManagerNetwork } from "../../manager/network.ts";
import type { ManagerLink } from "../../manager/peers.ts";
import { abortable } from "../../proto/base/abort.ts";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import { type Logger, silentLogger } from "../../proto/base/log.ts";
import { seededRandom } from "../../proto/base/random.ts";
import type { Node } from "../../proto/gen/objects.ts";
import { NodeCaService } from "../../proto/gen/ca.ts";
import { DispatcherService } from "../../proto/gen/dispatcher.ts";
import { NodeRole, NodeSpec, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { type CallContext, type Caller, callerKind } from "../../proto/rpc/caller.ts";
import type { CallOptions, Client, Handlers, Service } from "../../proto/rpc/methods.ts";
import { ManualClock } from "./manual-clock.ts";
import { MemoryNetwork } from "./memory-network.ts";
import { SimDisk } from "./sim-disk.ts";

type Access = Readonly<Record<string, readonly string[]>>;
type Handler = (input: unknown, context: CallContext) => unknown;

export interface Machine {
  readonly name: string;
  addr: string;
  readonly disk: SimDisk;
  nodeId: string;
  /** Somebody answers at its address, be it a manager yet or not. */
  isListening: boolean;
  /** Undefined: not running. */
  manager: Manager | undefined;
  /** What it serves, by service. */
  served: Map<Service, { readonly handlers: Readonly<Record<string, Handler>>; readonly access: Access }>;
  stop: AbortController;
  /** Settles with what `run` ended with. */
  ended: Promise<unknown>;
}

export const never: AbortSignal = new AbortController().signal;
export const LOCAL: CallContext = { caller: { kind: "local" }, signal: never };

const SNAPSHOT_EVERY = 200;

export class ManagerGroup {
  readonly clock: ManualClock = new ManualClock(Date.parse("2026-01-01"));
  readonly machines: Machine[] = [];
  clusterId = "";
  made: Bootstrapped | undefined;
  /** Pairs "from to" of names between which nothing arrives. */
  readonly #cut = new Set<string>();
  readonly #raft: MemoryNetwork;
  readonly #logger: Logger;
  readonly #seed: number;
  #starts = 0;

  constructor(options: { readonly seed: number; readonly logger?: Logger }) {
    this.#seed = options.seed;
    this.#logger = options.logger ?? silentLogger;
    this.#raft = new MemoryNetwork({ clock: this.clock, logger: this.#logger, delayMs: 1 });
  }

  /** A cluster of so many managers, m1 first and leading. */
  static async of(count: number, options: { readonly seed: number; readonly logger?: Logger }): Promise<ManagerGroup> {
    const group = new ManagerGroup(options);
    await group.init();
    for (let number = 2; number <= count; number += 1) await group.addManager();
    return group;
  }

  async init(): Promise<Machine> {
    const machine = this.addMachine();
    machine.nodeId = "m".repeat(24) + "1";
    const { csrPem } = await newKeyAndRequest();
    const request = {
      nodeId: machine.nodeId,
      spec: undefined,
      advertiseAddr: machine.addr,
      availability: NodeSpec_Availability.ACTIVE,
      csrPem,
    };
    const { made, manager } = await Manager.create(this.options(machine), request, never);
    this.made = made;
    this.clusterId = made.clusterId;
    this.run(machine, manager);
    await this.until("the first manager leads", () => manager.status().role === "leader");
    return machine;
  }

  /** A machine joins with the manager token, and counts for the quorum. */
  async addManager(): Promise<Machine> {
    const machine = this.addMachine();
    const cluster = await this.settle(this.leader().control.getCluster({}, LOCAL));
    await this.certify(machine, cluster.rootCa?.joinTokenManager ?? "");
    await this.join(machine);
    await this.untilVoter(machine);
    return machine;
  }

  addMachine(): Machine {
    const number = this.machines.length + 1;
    const machine: Machine = {
      name: `m${number}`,
      addr: `10.0.0.${number}:2377`,
      disk: new SimDisk(),
      nodeId: "",
      isListening: false,
      manager: undefined,
      served: new Map(),
      stop: new AbortController(),
      ended: Promise.resolve(),
    };
    this.machines.push(machine);
    return machine;
  }

  /** Gets the machine an identity with a join token. */
  async certify(machine: Machine, token: string): Promise<NodeRole> {
    const { csrPem } = await newKeyAndRequest();
    const asked = { csrPem: Buffer.from(csrPem), token, availability: NodeSpec_Availability.ACTIVE };
    const anybody = this.machines.find((each) => each.manager !== undefined && each !== machine);
    assert.ok(anybody !== undefined);
    const nobody: CallContext = { caller: { kind: "anonymous", addr: "10.0.0.99:1" }, signal: never };
    const issued = await this.settle(this.handlers(anybody, NodeCaService).issueNodeCertificate(asked, nobody));
    machine.nodeId = issued.nodeId;
    return issued.role;
  }

  /** As the daemon does it with a manager's certificate and no log. */
  async join(machine: Machine): Promise<Manager> {
    machine.served = new Map();
    machine.isListening = true;
    const managers = this.machines.flatMap((each) => (each.manager === undefined ? [] : [each.addr]));
    const { nodeId } = machine;
    machine.stop = new AbortController();
    const joining = Manager.join(this.options(machine), { nodeId, clusterId: this.clusterId, managers }, never);
    const manager = await this.settle(joining, 90_000);
    this.run(machine, manager);
    return manager;
  }

  run(machine: Machine, manager: Manager): void {
    machine.manager = manager;
    machine.isListening = true;
    machine.served = new Map();
    manager.register({
      add: (service, handlers, access) => {
        machine.served.set(service, { handlers: handlers as never, access: access });
      },
    });
    machine.stop = new AbortController();
    machine.ended = manager.run(machine.stop.signal).then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  /** As kill -9: nothing more is said or written; what was not synced is lost. */
  kill(machine: Machine): void {
    machine.stop.abort(new SwarmError("Cancelled", "killed"));
    machine.manager = undefined;
    machine.isListening = false;
    machine.served = new Map();
    machine.disk.restart("lose", seededRandom(this.#seed + this.#starts));
  }

  async restart(machine: Machine): Promise<Manager> {
    const manager = await this.settle(Manager.open(this.options(machine), never));
    assert.ok(manager !== undefined, `there is a log on ${machine.name}`);
    this.run(machine, manager);
    return manager;
  }

  async close(): Promise<void> {
    for (const machine of this.machines) {
      const { manager } = machine;
      if (manager === undefined) continue;
      machine.stop.abort(new SwarmError("Cancelled", "the test is over"));
      await this.settle(machine.ended);
      await this.settle(manager.close());
      machine.manager = undefined;
      machine.isListening = false;
    }
  }

  /** Nothing passes between the machine and the others, neither calls nor Raft's messages. */
  cutOff(machine: Machine): void {
    for (const other of this.machines) {
      if (other === machine) continue;
      this.#cut.add(`${machine.name} ${other.name}`).add(`${other.name} ${machine.name}`);
    }
    const others = this.#namedRaftIds().filter((each) => each.name !== machine.name);
    const self = this.#namedRaftIds().find((each) => each.name === machine.name);
    if (self !== undefined)
      this.#raft.isolate(
        self.raftId,
        others.map((each) => each.raftId),
      );
  }

  heal(): void {
    this.#cut.clear();
    this.#raft.heal();
  }

  get leading(): Machine | undefined {
    const found = this.machines.filter((each) => each.manager?.status().role === "leader");
    return found.find((each) => each.manager?.status().members.find((member) => member.isSelf)?.isLeader) ?? found[0];
  }

  leader(): Manager {
    const manager = this.leading?.manager;
    assert.ok(manager !== undefined, "the group has a leader");
    return manager;
  }

  machine(name: string): Machine {
    const machine = this.machines.find((each) => each.name === name);
    assert.ok(machine !== undefined);
    return machine;
  }

  managerOf(name: string): Manager {
    const { manager } = this.machine(name);
    assert.ok(manager !== undefined, `${name} runs`);
    return manager;
  }

  followers(): Machine[] {
    return this.machines.filter((each) => each.manager !== undefined && each !== this.leading);
  }

  /** What a manager serves to nodes, with the checks of its access table. */
  handlers<S extends Service>(machine: Machine, service: S): Handlers<S> {
    const entries = Object.keys(service).map((name) => [
      name,
      (input: unknown, context: CallContext) => {
        const call = (): unknown => this.#serve(machine, { service, name })(input, context);
        return service[name]?.responseStream === true ? call() : Promise.try(call);
      },
    ]);
    return Object.fromEntries(entries) as Handlers<S>;
  }

  dispatcher(machine: Machine): Handlers<DispatcherService> {
    return this.handlers(machine, DispatcherService);
  }

  asNode(machine: Pick<Machine, "nodeId" | "addr">, role: "worker" | "manager" = "manager"): CallContext {
    const { addr, nodeId } = machine;
    return { caller: { kind: "node", nodeId, role, clusterId: this.clusterId, addr }, signal: never };
  }

  async setRole(through: Manager, change: { readonly nodeId: string; readonly role: NodeRole }): Promise<Node> {
    const { meta, spec } = await this.settle(through.control.getNode({ ref: change.nodeId }, LOCAL));
    return this.settle(
      through.control.updateNode(
        {
          id: change.nodeId,
          version: meta?.version ?? 0,
          spec: { ...(spec ?? NodeSpec.create()), role: change.role },
        },
        LOCAL,
      ),
    );
  }

  async untilVoter(machine: Machine): Promise<void> {
    await this.until(`${machine.name} counts for the quorum and is known as a manager`, () => {
      const { members } = this.leader().status();
      return members.some((member) => member.nodeId === machine.nodeId && !member.isLearner);
    });
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

  options(machine: Machine): GroupManagerOptions {
    this.#starts += 1;
    return {
      stateDir: "/state",
      advertiseAddr: machine.addr,
      dial: () => assert.fail("calls are carried in memory"),
      network: this.#networkOf(machine),
      clock: this.clock,
      random: seededRandom(this.#seed * 1_000 + this.#starts),
      logger: this.#logger.child(machine.name),
      disk: machine.disk,
      snapshotEvery: SNAPSHOT_EVERY,
      segmentBytes: 65_536,
      strict: true,
    };
  }

  #namedRaftIds(): readonly { readonly name: string; readonly raftId: number }[] {
    return [...this.#raftIds].map(([name, raftId]) => ({ name, raftId }));
  }

  readonly #raftIds = new Map<string, number>();

  #networkOf(machine: Machine): ManagerNetwork {
    return {
      connect: (addr) => this.#link(machine, addr),
      raft: (receiver, { nodeId, raftId }) => {
        this.#raftIds.set(machine.name, raftId);
        return {
          transport: this.#raft.join({ raftId, nodeId, addr: machine.addr }, receiver),
          register: () => undefined,
          reconnect: () => undefined,
          close: () => this.#raft.leave(raftId),
        };
      },
    };
  }

  #link(from: Machine, addr: string): ManagerLink {
    const to = this.machines.find((each) => each.addr === addr);
    const lost = (): SwarmError =>
      new SwarmError("Unavailable", `Cannot connect to ${addr}: nobody answers`, { cause: new Error("no connection") });
    // A machine listens before it is a member.
    const isUp = (): boolean => to?.isListening === true && !this.#cut.has(`${from.name} ${to.name}`);
    const call = (service: Service, name: string) => (input: unknown, options: CallOptions) => {
      const { forwardedFor, signal } = options as CallOptions & { readonly forwardedFor?: Caller };
      const context = {
        signal,
        caller: forwardedFor ?? this.asNode(from).caller,
        ...(forwardedFor !== undefined && { forwardedBy: from.nodeId }),
      };
      const isStream = service[name]?.responseStream === true;
      if (to === undefined || !isUp()) return isStream ? failing(lost()) : Promise.reject(lost());
      const serve = this.#serve(to, { service, name });
      if (isStream)
        return this.#overWire(() => serve(input, context) as AsyncIterable<unknown>, { isUp, lost, signal });
      const answer = Promise.try(() => serve(input, context)).catch((error: unknown) =>
        Promise.reject(asOnWire(error)),
      );
      return abortable(
        answer.then(async (value) => {
          await this.clock.sleep(1, signal);
          if (!isUp()) throw lost();
          return value;
        }),
        signal,
      );
    };
    return {
      client: <S extends Service>(service: S) =>
        Object.fromEntries(Object.keys(service).map((name) => [name, call(service, name)])) as Client<S>,
      ready: async ({ signal, timeoutMs }) => {
        const untilMs = this.clock.monotonicMs() + timeoutMs;
        while (!isUp()) {
          if (this.clock.monotonicMs() >= untilMs) throw lost();
          await this.clock.sleep(100, signal);
        }
      },
      close: () => undefined,
    };
  }

  async *#overWire(
    open: () => AsyncIterable<unknown>,
    wire: { readonly isUp: () => boolean; readonly lost: () => SwarmError; readonly signal: AbortSignal },
  ): AsyncGenerator {
    const iterator = open()[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await abortable(iterator.next(), wire.signal).catch((error: unknown) => {
          throw asOnWire(error);
        });
        if (!wire.isUp()) throw wire.lost();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      void iterator.return?.().catch(() => undefined);
    }
  }

  #serve(machine: Machine, method: { readonly service: Service; readonly name: string }): Handler {
    const { name, service } = method;
    return (input, context) => {
      const served = machine.served.get(service);
      const handler = served?.handlers[name];
      if (served === undefined || handler === undefined)
        throw new SwarmError("Unavailable", `${machine.name} does not serve ${name}`, {
          cause: new Error("unimplemented"),
        });
      if (!(served.access[name] ?? []).includes(callerKind(context.caller)))
        throw new SwarmError("PermissionDenied", `${callerKind(context.caller)} may not call ${name}`);
      return handler(input, context);
    };
  }
}

/** What is left of an error on the other side: its code and sentence. */
function asOnWire(error: unknown): SwarmError {
  return isSwarmError(error) ? new SwarmError(error.code, error.message) : new SwarmError("Internal", errorText(error));
}

// eslint-disable-next-line require-yield -- a stream that fails before its first message
async function* failing(error: SwarmError): AsyncGenerator {
  await Promise.resolve();
  throw error;
}
