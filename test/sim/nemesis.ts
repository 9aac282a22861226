// What goes wrong in a simulation, drawn from the seed: each run has its own kinds of trouble, and its own pace.

import { type Loss, LOSSES } from "../support/sim-disk.ts";
import type { Random } from "../../proto/base/random.ts";
import type { Admin } from "./admin.ts";
import type { Machine } from "./machine.ts";
import type { Network, NetworkState } from "./network.ts";

export interface NemesisOptions {
  readonly machines: readonly Machine[];
  readonly admin: Admin;
  readonly network: Network;
  readonly networkState: NetworkState;
  readonly random: Random;
  readonly trace: (line: string) => void;
  readonly after: (ms: number, action: () => void) => () => void;
}

const KINDS = [
  "partition",
  "oneWay",
  "isolateLeader",
  "isolateLeader",
  "heal",
  "lossy",
  "kill",
  "powerOff",
  "powerOffInCall",
  "powerOffAll",
  "pause",
  "slowDisk",
  "badDisk",
  "fullDisk",
  "transfer",
  "wipe",
  "leave",
  "join",
] as const;
/** Mostly syncs: what happens there matters most. */
const CALLS = ["sync", "sync", "sync", "write", "rename", "syncDir"] as const;

type Kind = (typeof KINDS)[number];

export const CALM: NetworkState = { lose: 0, double: 0, overtake: 0, delayMs: 1 };

export class Nemesis {
  readonly #options: NemesisOptions;
  /** Those of this run, some more often than others. */
  readonly #kinds: readonly Kind[];
  readonly #paceMs: number;
  #isOver = false;

  constructor(options: NemesisOptions) {
    this.#options = options;
    const { random } = options;
    const weighted = KINDS.flatMap((kind) =>
      Array.from({ length: random.float() < 0.5 ? 0 : random.int(1, 4) }, () => kind),
    );
    this.#kinds = ["heal", ...weighted];
    this.#paceMs = 300 + random.float() * 2_500;
  }

  start(): void {
    const { after, random } = this.#options;
    after(this.#paceMs * (0.3 + random.float() * 1.4), () => {
      if (this.#isOver) return;
      this.#do(this.#kinds[random.int(0, this.#kinds.length)] ?? "heal");
      this.start();
    });
  }

  /** Everything works from now on, and everybody who was down comes up. */
  end(): void {
    this.#isOver = true;
    this.#heal();
    for (const machine of this.#options.machines) {
      machine.diskState.isFull = false;
      machine.diskState.failing = undefined;
      machine.diskState.trap = undefined;
      machine.diskState.syncMs = 1;
      machine.resume();
      machine.boot();
    }
  }

  #do(kind: Kind): void {
    const { random, trace, admin, machines } = this.#options;
    const leading = machines.find((each) => each.name === admin.leader()?.name);
    const any = machines[random.int(0, machines.length)];
    // What befalls leaders matters most.
    const machine = random.float() < 0.3 ? (leading ?? any) : any;
    if (machine === undefined) return;
    switch (kind) {
      case "heal":
        this.#heal();
        break;
      case "partition":
        this.#partition();
        break;
      case "oneWay":
        this.#cutOff(machine, { isOneWay: true });
        break;
      case "isolateLeader":
        if (leading !== undefined) this.#cutOff(leading, { isOneWay: random.float() < 0.3 });
        break;
      case "lossy":
        Object.assign(this.#options.networkState, {
          lose: random.float() * 0.3,
          double: random.float() * 0.2,
          overtake: random.float() * 0.3,
          delayMs: 0.5 + random.float() ** 3 * 80,
        });
        trace(`network: ${JSON.stringify(this.#options.networkState)}`);
        break;
      case "kill":
        this.#stop(machine, "keep");
        break;
      case "powerOff":
        this.#stop(machine, this.#loss());
        break;
      case "powerOffInCall": {
        const call = CALLS[random.int(0, CALLS.length)] ?? "sync";
        const loss = this.#loss();
        trace(`${machine.name} is to lose power in the next ${call}`);
        machine.diskState.trap = { call, loss };
        break;
      }
      case "powerOffAll":
        for (const each of machines) this.#stop(each, this.#loss());
        break;
      case "pause": {
        const ms = random.float() < 0.5 ? random.float() * 500 : random.float() * 6_000;
        trace(`${machine.name} is held up for ${Math.round(ms)} ms`);
        machine.pause();
        this.#options.after(ms, () => machine.resume());
        break;
      }
      case "slowDisk":
        machine.diskState.syncMs = random.float() < 0.3 ? 1 : random.float() ** 4 * 2_000;
        trace(`${machine.name}: a sync takes about ${Math.round(machine.diskState.syncMs)} ms`);
        break;
      case "badDisk": {
        const call = CALLS[random.int(0, CALLS.length)] ?? "sync";
        trace(`${machine.name}: the next ${call} fails`);
        machine.diskState.failing = { call, left: 1 };
        break;
      }
      case "fullDisk":
        machine.diskState.isFull = !machine.diskState.isFull;
        trace(`${machine.name}: the disk is ${machine.diskState.isFull ? "full" : "not full any more"}`);
        break;
      case "transfer": {
        const leader = admin.leader();
        trace(`${leader?.name ?? "nobody"} is asked to hand over`);
        leader?.log.transferLeadership(undefined, new AbortController().signal).catch(() => undefined);
        break;
      }
      case "wipe":
        if (this.#mayWipe(machine)) machine.wipe();
        break;
      case "leave":
        if (admin.wanted.size > 1 && this.#isEnoughWithout(machine)) {
          trace(`${machine.name} is to leave`);
          admin.unwant(machine);
        }
        break;
      case "join":
        admin.want(machine);
    }
  }

  #mayWipe(machine: Machine): boolean {
    const leader = this.#options.admin.leader();
    const voters = leader?.log.members().filter((member) => !member.isLearner) ?? [];
    return leader?.name !== machine.name && voters.length > 2 && this.#isEnoughWithout(machine, voters.length);
  }

  /** Whether those who stay have a majority with their disks when this one is gone: what is lost for good is lost. */
  #isEnoughWithout(machine: Machine, voterCount = 0): boolean {
    const { admin } = this.#options;
    const voters =
      admin
        .leader()
        ?.log.members()
        .filter((member) => !member.isLearner) ?? [];
    const others = [...admin.wanted].filter((each) => each !== machine);
    const staying = voters.filter((voter) => others.some((each) => each.name === voter.nodeId));
    const whole = staying.filter(
      (voter) => voter.reachable && others.some((each) => each.isUp && each.raftId === voter.raftId),
    );
    const isWanted = admin.wanted.has(machine) && voters.some((voter) => voter.nodeId === machine.name);
    const least = voterCount > 0 ? Math.max(voterCount, staying.length + (isWanted ? 1 : 0)) : staying.length;
    return whole.length > 0 && whole.length * 2 > least;
  }

  #stop(machine: Machine, loss: Loss): void {
    const { random, after } = this.#options;
    machine.kill(loss);
    after(random.float() * 4_000, () => machine.boot());
  }

  #loss(): Loss {
    return LOSSES[this.#options.random.int(0, LOSSES.length)] ?? "lose";
  }

  #heal(): void {
    this.#options.trace("network: whole and calm");
    this.#options.network.healAll();
    Object.assign(this.#options.networkState, CALM);
  }

  #partition(): void {
    const { machines, network, random, trace } = this.#options;
    const sides = machines.map((machine) => ({ machine, side: random.int(0, 2) }));
    trace(
      `network: cut into ${[0, 1]
        .map((side) =>
          sides
            .filter((each) => each.side === side)
            .map((each) => each.machine.name)
            .join("+"),
        )
        .join(" | ")}`,
    );
    for (const a of sides)
      for (const b of sides) if (a.side !== b.side) network.cut({ from: a.machine.addr, to: b.machine.addr });
  }

  #cutOff(machine: Machine, { isOneWay }: { readonly isOneWay: boolean }): void {
    const { machines, network, random, trace } = this.#options;
    const isOutward = random.float() < 0.5;
    trace(`network: ${machine.name} is cut off${isOneWay ? (isOutward ? ", what it says" : ", what it hears") : ""}`);
    for (const other of machines) {
      if (other === machine) continue;
      if (!isOneWay || isOutward) network.cut({ from: machine.addr, to: other.addr });
      if (!isOneWay || !isOutward) network.cut({ from: other.addr, to: machine.addr });
    }
  }
}
