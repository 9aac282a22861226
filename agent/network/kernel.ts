// What the node's network is in the kernel: the bridge, the cables to containers, the table with the published ports. Each call
// brings the kernel to the wanted state from whatever it is in.

import { readFile, writeFile } from "node:fs/promises";
import { type MapElement, type NetworkWorker, nftables, rtnetlink } from "../../native/index.ts";
import { defined } from "../../proto/base/assert.ts";
import { SwarmError, isSwarmError } from "../../proto/base/errors.ts";
import { HostFirewall } from "./host-firewall.ts";
import { PORTS, TABLE, addPorts, tableMessages, tableRules } from "./rules.ts";
import { type Subnet, gatewayOf, toNumber } from "./subnet.ts";

const MTU = 1_500;
const LOOPBACK_INDEX = 1;
const BRIDGED_PASS_TABLES = "net/bridge/bridge-nf-call-iptables";

export interface KernelOptions {
  readonly worker: NetworkWorker;
  readonly bridge: string;
}

/** What is to be there. */
export interface WantedNetwork {
  readonly subnet: Subnet;
  /** Published ports. */
  readonly elements: readonly MapElement[];
  /** The node's ends of the cables to containers. */
  readonly cables: ReadonlySet<string>;
}

export class KernelNetwork {
  readonly firewall: HostFirewall;
  readonly #worker: NetworkWorker;
  readonly #bridge: string;
  #bridgeIndex = 0;
  readonly #hairpins: Set<string> = new Set();

  constructor(options: KernelOptions) {
    this.#worker = options.worker;
    this.#bridge = options.bridge;
    this.firewall = new HostFirewall(options);
  }

  /** Bridge, sysctls, table and the way through the host's firewall. `wanted` is asked again right before it is applied. */
  async build(wanted: () => WantedNetwork): Promise<void> {
    await this.#ensureBridge(wanted().subnet);
    await this.#connectCables(wanted().cables);
    for (const [name, value] of this.#sysctls()) await writeSysctl(name, value);
    const { subnet, elements } = wanted();
    await this.#nft(tableMessages({ bridge: this.#bridge, subnet }, elements));
    await this.firewall.pass();
  }

  /** What of it somebody else changed or took away, in words; empty: all is as wanted. */
  async drift({ subnet, elements, cables }: WantedNetwork): Promise<readonly string[]> {
    const found: string[] = [];
    const listed = this.#worker.run([
      { protocol: "route", messages: [rtnetlink.dumpLinks()] },
      { protocol: "route", messages: [rtnetlink.dumpAddresses()] },
      { protocol: "nftables", messages: [nftables.dumpRules(TABLE)] },
      { protocol: "nftables", messages: [nftables.dumpElements(PORTS)] },
    ]);
    let lists;
    try {
      lists = await listed;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return ["the nf_tables table"];
      throw error;
    }
    const [linkList = [], addressList = [], ruleList = [], elementList = []] = lists;
    const links = rtnetlink.linksOf(linkList);
    const bridge = links.find((link) => link.name === this.#bridge);
    if (bridge?.up !== true || bridge.index !== this.#bridgeIndex) found.push("the bridge");
    const gateway = gatewayOf(subnet);
    const addresses = rtnetlink.addressesOf(addressList).filter((each) => each.index === bridge?.index);
    if (!addresses.some((each) => each.address === gateway)) found.push("the bridge's address");
    // A cable that is gone went with its container, which is soon detached.
    const plugged = links.filter((link) => cables.has(link.name));
    if (plugged.some((link) => link.master !== this.#bridgeIndex || !link.up)) found.push("a container's cable");
    const ours = tableRules({ bridge: this.#bridge, subnet });
    if (!sameTexts(nftables.rulesOf(ruleList).map(ruleText), ours.map(ruleText))) found.push("the rules");
    if (!sameTexts(nftables.elementsOf(elementList).map(elementText), elements.map(elementText)))
      found.push("the published ports");
    for (const [name, value] of this.#sysctls()) if ((await readSysctl(name)) !== value) found.push(name);
    if ((await this.#withoutHairpin(plugged.map((link) => link.name))).length > 0) found.push(BRIDGED_PASS_TABLES);
    return found;
  }

  /** A cable from the bridge into the namespace of a process, with the address and the default route there. */
  async plug(cable: {
    readonly name: string;
    readonly pid: number;
    readonly address: string;
    readonly subnet: Subnet;
  }): Promise<void> {
    const { name, pid, address, subnet } = cable;
    const peer = { name: "eth0", mac: macOf(address), pid };
    const [, list = []] = await this.#worker.run([
      { protocol: "route", messages: [rtnetlink.makeVeth({ name, mtu: MTU, master: this.#bridgeIndex, peer })] },
      { protocol: "route", pid, messages: [rtnetlink.dumpLinks()] },
    ]);
    // Its number is the kernel's choice: old tunnel modules put devices of their own into every new namespace.
    const { index } = defined(
      rtnetlink.linksOf(list).find((link) => link.name === peer.name),
      "the device just made",
    );
    const inside = [
      rtnetlink.setUp(LOOPBACK_INDEX),
      rtnetlink.setUp(index),
      rtnetlink.addAddress({ index, address, prefix: subnet.prefix }),
      rtnetlink.addDefaultRoute({ index, gateway: gatewayOf(subnet) }),
    ];
    await this.#worker.run([{ protocol: "route", pid, messages: inside }]);
    await this.#setHairpins([name]);
  }

  /** What is gone already is no error: a cable goes with the namespace it leads to. */
  async unplug(name: string): Promise<void> {
    this.#hairpins.delete(name);
    try {
      await this.#worker.run([{ protocol: "route", messages: [rtnetlink.deleteLink(name)] }]);
    } catch (error) {
      if (!isErrno(error, "ENODEV")) throw error;
    }
  }

  async publish(elements: readonly MapElement[]): Promise<void> {
    if (elements.length > 0) await this.#nft(addPorts(elements));
  }

  /** Elements that are not there are no error; the others go all the same. */
  async withdraw(keys: readonly Uint8Array[]): Promise<void> {
    if (keys.length === 0) return;
    try {
      await this.#nft([nftables.deleteElements(PORTS, keys)]);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      if (keys.length > 1) for (const key of keys) await this.withdraw([key]);
    }
  }

  /** Names of the cables on the bridge. */
  async cables(): Promise<readonly string[]> {
    const links = await this.#links();
    const bridge = links.find((link) => link.name === this.#bridge);
    return links.filter((link) => bridge !== undefined && link.master === bridge.index).map((link) => link.name);
  }

  /** Bridge, table and our rules in the host's chains. */
  async remove(): Promise<void> {
    await this.firewall.withdraw();
    await this.#nft([nftables.addTable(TABLE), nftables.deleteTable(TABLE)]);
    await this.unplug(this.#bridge);
    this.#bridgeIndex = 0;
  }

  async #ensureBridge(subnet: Subnet): Promise<void> {
    const name = this.#bridge;
    const gateway = gatewayOf(subnet);
    await this.#unlessThere([rtnetlink.makeBridge({ name, mtu: MTU, mac: macOf(gateway) })]);
    const bridge = (await this.#links()).find((link) => link.name === name);
    if (bridge?.kind !== "bridge") {
      throw new SwarmError("FailedPrecondition", `the network device ${name} is no bridge; rename or remove it`);
    }
    const { index } = bridge;
    this.#bridgeIndex = index;
    const [list = []] = await this.#worker.run([{ protocol: "route", messages: [rtnetlink.dumpAddresses()] }]);
    const stale = rtnetlink.addressesOf(list).filter((each) => each.index === index && each.address !== gateway);
    await this.#worker.run([{ protocol: "route", messages: [rtnetlink.setUp(index)] }]);
    await this.#unlessThere([rtnetlink.addAddress({ index, address: gateway, prefix: subnet.prefix })]);
    for (const each of stale)
      await this.#worker.run([{ protocol: "route", messages: [rtnetlink.deleteAddress(each)] }]);
  }

  /** Cables that a bridge now gone has left behind. */
  async #connectCables(cables: ReadonlySet<string>): Promise<void> {
    const loose = (await this.#links()).filter(
      (link) => cables.has(link.name) && (link.master !== this.#bridgeIndex || !link.up),
    );
    for (const { index } of loose) {
      const messages = [rtnetlink.setMaster({ index, master: this.#bridgeIndex })];
      await this.#worker.run([{ protocol: "route", messages }]);
    }
    this.#hairpins.clear();
    const all = new Set(await this.cables());
    await this.#setHairpins([...cables].filter((name) => all.has(name)));
  }

  async #setHairpins(cables: Iterable<string>): Promise<void> {
    for (const name of await this.#withoutHairpin(cables)) {
      await this.#worker.run([{ protocol: "route", messages: [rtnetlink.setHairpin(name)] }]);
      this.#hairpins.add(name);
    }
  }

  /**
   * Where bridged packets pass IP's tables (br_netfilter), the port that a container calls is translated while its packet is
   * still the bridge's; for one that calls itself the way is back by the same port, which only hairpin mode allows.
   */
  async #withoutHairpin(cables: Iterable<string>): Promise<readonly string[]> {
    if ((await readSysctl(BRIDGED_PASS_TABLES)) !== "1") return [];
    return [...cables].filter((name) => !this.#hairpins.has(name));
  }

  async #unlessThere(messages: Parameters<typeof nftables.batch>[0]): Promise<void> {
    try {
      await this.#worker.run([{ protocol: "route", messages }]);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
  }

  async #links(): Promise<readonly rtnetlink.Link[]> {
    const [list = []] = await this.#worker.run([{ protocol: "route", messages: [rtnetlink.dumpLinks()] }]);
    return rtnetlink.linksOf(list);
  }

  async #nft(messages: Parameters<typeof nftables.batch>[0]): Promise<void> {
    await this.#worker.run([{ protocol: "nftables", messages: nftables.batch(messages) }]);
  }

  #sysctls(): readonly (readonly [string, string])[] {
    return [
      ["net/ipv4/ip_forward", "1"],
      [`net/ipv4/conf/${this.#bridge}/route_localnet`, "1"],
    ];
  }
}

function ruleText(rule: { readonly chain: string; readonly comment: string }): string {
  return `${rule.chain}: ${rule.comment}`;
}

function elementText({ key, data }: MapElement): string {
  return `${Buffer.from(key).toString("hex")} ${Buffer.from(data).toString("hex")}`;
}

/** In any order; a list that is read while it grows may tell an element twice. */
function sameTexts(found: readonly string[], wanted: readonly string[]): boolean {
  const all = new Set(found);
  return all.size === new Set(wanted).size && wanted.every((each) => all.has(each));
}

function isErrno(error: unknown, name: string): boolean {
  return isSwarmError(error) && error.details["errno"] === name;
}

/** Docker's convention: 02:42 and the four bytes of the address. */
function macOf(address: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(toNumber(address) | 0);
  return ["02", "42", ...[...bytes].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

/** undefined: there is no such setting, because its device is gone. */
async function readSysctl(name: string): Promise<string | undefined> {
  try {
    return (await readFile(`/proc/sys/${name}`, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return undefined;
  }
}

async function writeSysctl(name: string, value: string): Promise<void> {
  if ((await readSysctl(name)) !== value) await writeFile(`/proc/sys/${name}`, value);
}
