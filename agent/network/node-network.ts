// The network of one node: a bridge that its containers hang on, an address for each, a way out, and published ports (mode
// host). What is given out is journalled; what the kernel has is compared with it from time to time and repaired.

import { readFile } from "node:fs/promises";
import { NetworkWorker } from "../../native/index.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import { type PortConfig, PortConfig_PublishMode } from "../../proto/gen/specs.ts";
import { KernelNetwork } from "./kernel.ts";
import { PortClaims, portText } from "./port-claims.ts";
import { ReservationFile, type Reserved } from "./reservations.ts";
import {
  CANDIDATES,
  type Subnet,
  gatewayOf,
  nextAddress,
  offsetOf,
  overlap,
  parseSubnet,
  routesOf,
  toText,
} from "./subnet.ts";

export interface NodeNetworkOptions {
  /** `<state>/network`. */
  readonly dir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Absent: tsswarm0. */
  readonly bridge?: string;
  /** CIDR form; absent: the first candidate that overlaps no route of the host. */
  readonly subnet?: string;
}

export interface TaskNetwork {
  /** CIDR form. */
  readonly addresses: readonly string[];
  readonly gateway: string;
  /** As published: every port set. */
  readonly ports: readonly PortConfig[];
}

const CHECK_MS = 30_000;
const CABLE_NAME_LENGTH = 15;
/** Where ports that are left to us are chosen from. */
const DYNAMIC_PORTS = { first: 32_768, last: 60_999 } as const;

export class NodeNetwork {
  readonly #options: NodeNetworkOptions;
  readonly #bridge: string;
  readonly #file: ReservationFile;
  readonly #claims: PortClaims = new PortClaims();
  readonly #worker: NetworkWorker = new NetworkWorker();
  readonly #kernel: KernelNetwork;
  #reserved: Map<string, Reserved> = new Map();
  #subnet: Subnet | undefined;
  #lastOffset = 0;
  #nextPort: number = DYNAMIC_PORTS.first;
  #stopCheck: () => void = () => undefined;

  constructor(options: NodeNetworkOptions) {
    this.#options = options;
    this.#bridge = options.bridge ?? "tsswarm0";
    this.#file = new ReservationFile(options);
    this.#kernel = new KernelNetwork({ worker: this.#worker, bridge: this.#bridge });
  }

  /** Makes what is missing and adopts what is there. */
  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const saved = await this.#file.read();
    this.#reserved = new Map(saved.reserved);
    this.#lastOffset = saved.lastOffset;
    this.#subnet = parseSubnet(this.#options.subnet ?? saved.subnet ?? (await this.#chooseSubnet()));
    await this.#kernel.build(this.#subnet, this.#reserved.values());
    for (const { ports } of this.#reserved.values()) for (const port of ports) await this.#holdAgain(port);
    this.#checkLater();
  }

  /** An address and the ports, taken until `detach`. Throws FailedPrecondition naming the port and who has it. */
  async reserve(task: { readonly taskId: string; readonly ports: readonly PortConfig[] }): Promise<TaskNetwork> {
    const subnet = this.#started();
    const known = this.#reserved.get(task.taskId);
    if (known !== undefined) return this.#view(known, subnet);
    const wanted = task.ports.filter((port) => port.publishMode === PortConfig_PublishMode.HOST);
    const address = nextAddress(subnet, { last: this.#lastOffset, taken: new Set(this.#addresses()) });
    // Written down before anything is awaited, so that two tasks never get the same.
    this.#lastOffset = offsetOf(subnet, address);
    this.#reserved.set(task.taskId, { address, ports: [] });
    const held: PortConfig[] = [];
    try {
      for (const port of wanted) held.push(await this.#takePort(port, task.taskId));
      this.#reserved.set(task.taskId, { address, ports: held });
      await this.#save();
    } catch (error) {
      this.#reserved.delete(task.taskId);
      for (const port of held) await this.#claims.release(port);
      throw error;
    }
    return this.#view({ address, ports: held }, subnet);
  }

  /** Wires the container's namespace up and publishes its ports. `pid`: a process in it. */
  async attach(taskId: string, pid: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const subnet = this.#started();
    const reserved = this.#reserved.get(taskId);
    if (reserved === undefined)
      throw new SwarmError("FailedPrecondition", `task ${taskId} has no address reserved on this node`);
    const name = cableName(taskId);
    await this.#kernel.unplug(name);
    await this.#kernel.plug({ name, pid, address: reserved.address, subnet });
    await this.#kernel.publish(reserved);
  }

  /** Ports, cable and address are free again. Call it when the container has ended; what is not there is no error. */
  async detach(taskId: string, _signal: AbortSignal): Promise<void> {
    const reserved = this.#reserved.get(taskId);
    if (reserved === undefined) return;
    await this.#kernel.withdraw(reserved);
    await this.#kernel.unplug(cableName(taskId));
    for (const port of reserved.ports) await this.#claims.release(port);
    this.#reserved.delete(taskId);
    await this.#save();
  }

  /** Gives back what belongs to none of these, and takes cables away that belong to nobody. */
  async reconcile(live: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    for (const taskId of [...this.#reserved.keys()]) if (!live.has(taskId)) await this.detach(taskId, signal);
    const known = new Set([...this.#reserved.keys()].map(cableName));
    for (const name of await this.#kernel.cables()) if (!known.has(name)) await this.#kernel.unplug(name);
  }

  /** `remove` takes bridge, table and our rules in the host's firewall away; without it they serve on. */
  async stop(options: { readonly remove: boolean }, signal: AbortSignal): Promise<void> {
    this.#stopCheck();
    if (options.remove && this.#subnet !== undefined) {
      await this.reconcile(new Set(), signal);
      await this.#kernel.remove();
    }
    this.#subnet = undefined;
    await this.#claims.releaseAll();
    await this.#worker.stop();
  }

  async #chooseSubnet(): Promise<string> {
    const routes = routesOf(await readFile("/proc/thread-self/net/route", "utf8"), this.#bridge);
    const free = CANDIDATES.find((candidate) => !routes.some((route) => overlap(route, parseSubnet(candidate))));
    if (free === undefined)
      throw new SwarmError(
        "FailedPrecondition",
        "every subnet that could be this node's overlaps a route of the host; choose one",
      );
    return free;
  }

  async #takePort(port: PortConfig, taskId: string): Promise<PortConfig> {
    if (port.publishedPort === 0) return this.#takeFreePort(port);
    const owner = [...this.#reserved].find(
      ([id, { ports }]) => id !== taskId && ports.some((each) => portText(each) === portText(port)),
    );
    if (owner !== undefined || this.#claims.isHeld(port)) {
      throw new SwarmError(
        "FailedPrecondition",
        `port ${portText(port)} is already in use on this node by ${owner === undefined ? "another task" : `container ${owner[0].slice(0, 12)}`}`,
      );
    }
    await this.#claims.hold(port);
    return port;
  }

  async #takeFreePort(port: PortConfig): Promise<PortConfig> {
    const count = DYNAMIC_PORTS.last - DYNAMIC_PORTS.first + 1;
    for (let tries = 0; tries < count; tries += 1) {
      const chosen = { ...port, publishedPort: this.#nextPort };
      this.#nextPort = this.#nextPort === DYNAMIC_PORTS.last ? DYNAMIC_PORTS.first : this.#nextPort + 1;
      if (this.#claims.isHeld(chosen)) continue;
      try {
        await this.#claims.hold(chosen);
        return chosen;
      } catch (error) {
        if (!isSwarmError(error, "FailedPrecondition")) throw error;
      }
    }
    throw new SwarmError(
      "ResourceExhausted",
      `no port from ${DYNAMIC_PORTS.first} to ${DYNAMIC_PORTS.last} is free on this node`,
    );
  }

  /** After a restart the container is running whoever has the port now: it is told, and the redirection wins. */
  async #holdAgain(port: PortConfig): Promise<void> {
    try {
      await this.#claims.hold(port);
    } catch (error) {
      this.#options.logger.warn("a published port is taken by another program, which will hear nothing", {
        port: portText(port),
        error: errorText(error),
      });
    }
  }

  #checkLater(): void {
    this.#stopCheck = this.#options.clock.after(CHECK_MS, () => {
      this.#check()
        .catch((error: unknown) =>
          this.#options.logger.warn("the node's network could not be checked", { error: errorText(error) }),
        )
        .finally(() => {
          if (this.#subnet !== undefined) this.#checkLater();
        });
    });
  }

  async #check(): Promise<void> {
    const subnet = this.#subnet;
    if (subnet === undefined) return;
    if (await this.#kernel.isWhole(subnet)) {
      await this.#kernel.passFirewall();
      return;
    }
    this.#options.logger.warn("part of the node's network was taken away by somebody; it is made again");
    await this.#kernel.build(subnet, this.#reserved.values());
  }

  #started(): Subnet {
    if (this.#subnet === undefined) throw new SwarmError("Unavailable", "the node's network is not started");
    return this.#subnet;
  }

  *#addresses(): Generator<string> {
    for (const { address } of this.#reserved.values()) yield address;
  }

  #view(reserved: Reserved, subnet: Subnet): TaskNetwork {
    return { addresses: [`${reserved.address}/${subnet.prefix}`], gateway: gatewayOf(subnet), ports: reserved.ports };
  }

  #save(): Promise<void> {
    const subnet = this.#started();
    return this.#file.write({
      subnet: `${toText(subnet.base)}/${subnet.prefix}`,
      lastOffset: this.#lastOffset,
      reserved: this.#reserved,
    });
  }
}

/** The host's end of a container's cable; interface names have at most 15 letters. */
function cableName(taskId: string): string {
  return `ts${taskId}`.slice(0, CABLE_NAME_LENGTH);
}
