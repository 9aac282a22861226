// Clients of the managers of a bench's lab, and what the benches about managers ask of them.

import { startDaemon, killDaemon } from "../../../deploy/lab/process.ts";
import { placesOf } from "../../../deploy/lab/lab.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { ManagerStatus_Reachability } from "../../../proto/gen/objects.ts";
import { ServiceSpec, TaskSpec } from "../../../proto/gen/specs.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { type RpcChannel, unixChannel } from "../../../proto/rpc/channel.ts";
import type { Client } from "../../../proto/rpc/methods.ts";
import type { BenchLab } from "./bench-lab.ts";

const POLL_MS = 50;

export interface ManagerEnd {
  readonly name: string;
  readonly control: Client<typeof ControlService>;
}

export class ManagerGroup {
  readonly #bench: BenchLab;
  readonly #channels: RpcChannel[] = [];
  readonly #ends: ManagerEnd[] = [];
  #services = 0;

  constructor(bench: BenchLab) {
    this.#bench = bench;
    for (const { name } of bench.lab.nodes.filter((node) => node.role === "manager")) {
      const channel = unixChannel(placesOf(bench.lab.name, name).socket);
      this.#channels.push(channel);
      this.#ends.push({ name, control: createClient(ControlService, channel) });
    }
  }

  close(): void {
    for (const channel of this.#channels) channel.close();
  }

  /** Settles with the leader and one that is not, when every manager is reachable and one leads. */
  async settled(signal: AbortSignal): Promise<{ readonly leader: ManagerEnd; readonly follower: ManagerEnd }> {
    for (;;) {
      for (const end of this.#ends) {
        const leader = await this.#leaderBy(end, signal);
        const follower = this.#ends.find((each) => each !== leader);
        if (leader !== undefined && follower !== undefined) return { leader, follower };
      }
      await systemClock.sleep(POLL_MS, signal);
    }
  }

  /** Creates a service of no replicas. */
  async create(end: ManagerEnd, signal: AbortSignal): Promise<void> {
    const spec = emptySpec(`bench-${this.#services++}`);
    await end.control.createService({ spec }, { signal });
  }

  /** Changes a service of its own each time it is called. */
  async updater(end: ManagerEnd, signal: AbortSignal): Promise<() => Promise<void>> {
    const made = await end.control.createService({ spec: emptySpec(`bench-${this.#services++}`) }, { signal });
    let service = made.service;
    let value = 0;
    return async () => {
      if (service === undefined) throw new Error("the manager answered without the service");
      const spec = { ...emptySpec(service.spec?.name ?? ""), labels: { value: `${value++}` } };
      const request = { id: service.id, version: service.meta?.version ?? 0, spec };
      service = (await end.control.updateService(request, { signal })).service;
    };
  }

  /** Which manager leads, as one that answers says. */
  async leading(signal: AbortSignal): Promise<ManagerEnd> {
    for (;;) {
      for (const end of this.#ends) {
        const found = await this.#leaderBy(end, signal);
        if (found !== undefined) return found;
      }
      await systemClock.sleep(POLL_MS, signal);
    }
  }

  /** Services per second, so many at a time. */
  async createsPerSecond(
    end: ManagerEnd,
    load: { readonly count: number; readonly atATime: number },
    signal: AbortSignal,
  ): Promise<number> {
    let left = load.count;
    const work = async (): Promise<void> => {
      while (left-- > 0) await this.create(end, signal);
    };
    const startedMs = systemClock.monotonicMs();
    await Promise.all(Array.from({ length: load.atATime }, work));
    return (load.count * 1_000) / (systemClock.monotonicMs() - startedMs);
  }

  /** Milliseconds from kill -9 of the leader's daemon to the end of the first `service create` that succeeds at another manager. */
  async failover(signal: AbortSignal): Promise<number> {
    const { leader, follower } = await this.settled(signal);
    const node = this.#bench.lab.nodes.find((each) => each.name === leader.name);
    if (node === undefined) throw new Error(`the lab has no ${leader.name}`);
    const words = [
      "service",
      "create",
      "-d",
      "--replicas",
      "0",
      "--name",
      `failover-${this.#services++}`,
      "tsswarm/demo:1",
    ];
    const startedMs = systemClock.monotonicMs();
    const killed = killDaemon(this.#bench.lab, leader.name);
    for (;;) {
      signal.throwIfAborted();
      const [result] = await Promise.allSettled([this.#bench.tsswarm(words, signal, { at: follower.name })]);
      if (result.status === "fulfilled") break;
    }
    const tookMs = systemClock.monotonicMs() - startedMs;
    await killed;
    await startDaemon(this.#bench.lab, node);
    await this.settled(signal);
    return tookMs;
  }

  async #leaderBy(end: ManagerEnd, signal: AbortSignal): Promise<ManagerEnd | undefined> {
    const [answer] = await Promise.allSettled([end.control.listNodes({ filters: [] }, { signal })]);
    if (answer.status === "rejected") return undefined;
    const managers = answer.value.nodes.filter((node) => node.managerStatus !== undefined);
    const up = managers.filter((node) => node.managerStatus?.reachability === ManagerStatus_Reachability.REACHABLE);
    const leader = managers.find((node) => node.managerStatus?.leader === true);
    if (up.length < this.#ends.length || leader === undefined) return undefined;
    return this.#ends.find((each) => each.name === leader.description?.hostname);
  }
}

function emptySpec(name: string): ServiceSpec {
  const task = TaskSpec.create({ container: { image: "tsswarm/demo:1" } });
  return ServiceSpec.create({ name, mode: { $case: "replicated", value: { replicas: 0 } }, task });
}
