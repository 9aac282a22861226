// The network of one node: a bridge that its containers hang on, an address for each, a way out, and published ports (mode
// host). What is given out is journalled; what the kernel has is compared with it from time to time and repaired.

import { readFile } from "node:fs/promises";
import { NetworkWorker } from "../../native/index.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import { type PortConfig, PortConfig_PublishMode } from "../../proto/gen/specs.ts";
import { KernelNetwork, type WantedNetwork } from "./kernel.ts";
import { PortClaims, portText } from "./port-claims.ts";
import { ReservationFile, type Reserved } from "./reservations.ts";
import { portElement, portKey } from "./rules.ts";
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

/** How often the kernel is looked at for what somebody else changed: `ufw reload` shuts containers off until then. */
const CHECK_MS = 10_000;
const CABLE_NAME_LENGTH = 15;

export class NodeNetwork {
  readonly #options: NodeNetworkOptions;
  readonly #bridge: string;
  readonly #file: ReservationFile;
  readonly #claims: PortClaims = new PortClaims();
  readonly #worker: NetworkWorker = new NetworkWorker();
  readonly #kernel: KernelNetwork;
  #reserved: Map<string, Reserved> = new Map();
  /** Those of the reserved whose cable and ports are to be in the kernel. */
  readonly #attached: Set<string> = new Set();
  /** Undefined: not started. */
  #subnet: Subnet | undefined;
  #lastOffset = 0;
  #stopCheck: () => void = () => undefined;
  #checking: Promise<void> = Promise.resolve();

  constructor(options: NodeNetworkOptions) {
    this.#options = options;
    this.#bridge = options.bridge ?? "tsswarm0";
    this.#file = new ReservationFile(options);
    this.#kernel = new KernelNetwork({ worker: this.#worker, bridge: this.#bridge });
  }

  /** Makes what is missing and adopts what is there. Again is nothing. */
  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#subnet !== undefined) return;
    const saved = await this.#file.read();
    const subnet = await this.#chooseSubnet(saved.subnet, saved.reserved.size > 0);
    this.#reserved = new Map(saved.reserved);
    this.#lastOffset = saved.lastOffset;
    // A cable goes with its container's namespace: whose is there was attached and lives.
    const cables = new Set(await this.#kernel.cables());
    this.#attached.clear();
    for (const taskId of this.#reserved.keys()) if (cables.has(cableName(taskId))) this.#attached.add(taskId);
    await this.#kernel.build(() => this.#wanted(subnet));
    for (const [taskId, { ports }] of this.#reserved) for (const port of ports) await this.#keep(port, taskId);
    this.#subnet = subnet;
    this.#checkLater();
  }

  /** An address and the ports, taken until `detach`. Throws FailedPrecondition naming the port and who has it. */
  async reserve(task: { readonly taskId: string; readonly ports: readonly PortConfig[] }): Promise<TaskNetwork> {
    const subnet = this.#started();
    const { taskId } = task;
    const known = this.#reserved.get(taskId);
    if (known !== undefined) return this.#view(known, subnet);
    const wanted = task.ports.filter((port) => port.publishMode === PortConfig_PublishMode.HOST);
    const address = nextAddress(subnet, { last: this.#lastOffset, taken: new Set(this.#addresses()) });
    // Noted before anything is waited for, so that two tasks never get the same.
    this.#lastOffset = offsetOf(subnet, address);
    this.#reserved.set(taskId, { address, ports: [] });
    const held: PortConfig[] = [];
    try {
      for (const port of wanted) held.push(await this.#claims.take(port, taskId));
      this.#reserved.set(taskId, { address, ports: held });
      await this.#save();
    } catch (error) {
      this.#reserved.delete(taskId);
      for (const port of held) await this.#claims.release(port, taskId);
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
    this.#attached.add(taskId);
    await this.#kernel.publish(elementsOf(reserved));
  }

  /** Nothing but the ports of this node leads to a container, and who comes there is served until its end. */
  withdraw(_taskId: string, _signal: AbortSignal): Promise<void> {
    return Promise.resolve();
  }

  /** Ports, cable and address are free again. Call it when the container has ended; what is not there is no error. */
  async detach(taskId: string, _signal: AbortSignal): Promise<void> {
    const reserved = this.#reserved.get(taskId);
    if (reserved === undefined) return;
    this.#attached.delete(taskId);
    await this.#kernel.withdraw(reserved.ports.map(portKey));
    await this.#kernel.unplug(cableName(taskId));
    for (const port of reserved.ports) await this.#claims.release(port, taskId);
    this.#reserved.delete(taskId);
    await this.#save();
  }

  /** Gives back what belongs to none of these, takes cables away that belong to nobody, and repairs the rest. */
  async reconcile(live: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    await this.#keepOnly(live, signal);
    await this.#check();
  }

  async #keepOnly(live: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    for (const taskId of [...this.#reserved.keys()]) if (!live.has(taskId)) await this.detach(taskId, signal);
    const known = new Set([...this.#reserved.keys()].map(cableName));
    for (const name of await this.#kernel.cables()) {
      if (known.has(name)) continue;
      this.#options.logger.warn("a cable on the bridge belongs to no container; it is taken away", { cable: name });
      await this.#kernel.unplug(name);
    }
  }

  /** `remove` takes bridge, table and our rules in the host's firewall away; without it they serve on. */
  async stop(options: { readonly remove: boolean }, signal: AbortSignal): Promise<void> {
    const subnet = this.#subnet;
    this.#stopCheck();
    await this.#checking;
    if (options.remove && subnet !== undefined) {
      await this.#keepOnly(new Set(), signal);
      await this.#kernel.remove();
    }
    this.#subnet = undefined;
    await this.#claims.releaseAll();
    await this.#worker.stop();
  }

  /** The configured one; else the one of last time, which containers that run are bound to; else one that nothing overlaps. */
  async #chooseSubnet(saved: string | undefined, inUse: boolean): Promise<Subnet> {
    if (this.#options.subnet !== undefined) return parseSubnet(this.#options.subnet);
    const routes = routesOf(await readFile("/proc/thread-self/net/route", "utf8"), this.#bridge);
    const isFree = (text: string): boolean => !routes.some((route) => overlap(route, parseSubnet(text)));
    if (saved !== undefined && (inUse || isFree(saved))) return parseSubnet(saved);
    const free = CANDIDATES.find(isFree);
    if (free === undefined)
      throw new SwarmError(
        "FailedPrecondition",
        "every subnet that could be this node's overlaps a route of the host; choose one",
      );
    return parseSubnet(free);
  }

  /** After a restart the container is running whoever has the port now: it is told, and the redirection wins. */
  async #keep(port: PortConfig, taskId: string): Promise<void> {
    const reason = await this.#claims.keep(port, taskId);
    if (reason === undefined) return;
    this.#options.logger.warn("a published port is taken by another program, which will hear nothing", {
      port: portText(port),
      reason,
    });
  }

  #checkLater(): void {
    this.#stopCheck = this.#options.clock.after(CHECK_MS, () => {
      this.#checking = this.#check()
        .catch((error: unknown) => {
          this.#options.logger.warn("the node's network could not be checked", { error: errorText(error) });
        })
        .finally(() => {
          if (this.#subnet !== undefined) this.#checkLater();
        });
    });
  }

  async #check(): Promise<void> {
    const subnet = this.#started();
    const changed = await this.#kernel.drift(this.#wanted(subnet));
    if (changed.length > 0) {
      this.#options.logger.warn("somebody else changed part of the node's network; it is made again", {
        what: changed.join(", "),
      });
      await this.#kernel.build(() => this.#wanted(subnet));
    } else if ((await this.#kernel.firewall.pass()) > 0) {
      this.#options.logger.info("the host's firewall is told to let containers pass");
    }
  }

  #wanted(subnet: Subnet): WantedNetwork {
    const attached = [...this.#attached];
    const elements = attached.flatMap((taskId) => {
      const reserved = this.#reserved.get(taskId);
      return reserved === undefined ? [] : elementsOf(reserved);
    });
    return { subnet, elements, cables: new Set(attached.map(cableName)) };
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

function elementsOf({ address, ports }: Reserved): ReturnType<typeof portElement>[] {
  return ports.map((port) => portElement(port, address));
}

/** The host's end of a container's cable; interface names have at most 15 letters. */
function cableName(taskId: string): string {
  return `ts${taskId}`.slice(0, CABLE_NAME_LENGTH);
}
