// What the node's network is in the kernel: the bridge, the cables to containers, the table. Each call brings the kernel to the
// wanted state from whatever it is in.

import { readFile, writeFile } from "node:fs/promises";
import { type NetworkWorker, nftables, rtnetlink } from "../../native/index.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import type { Reserved } from "./reservations.ts";
import { MARK, PORTS, TABLE, passMessages, portElement, portKey, tableMessages } from "./rules.ts";
import { type Subnet, gatewayOf, toNumber } from "./subnet.ts";

const MTU = 1_500;
const LOOPBACK_INDEX = 1;
/** Of eth0 in the container: the first device after the loopback. */
const PEER_INDEX = 2;

export interface KernelOptions {
  readonly worker: NetworkWorker;
  readonly bridge: string;
}

export class KernelNetwork {
  readonly #worker: NetworkWorker;
  readonly #bridge: string;
  #bridgeIndex = 0;

  constructor(options: KernelOptions) {
    this.#worker = options.worker;
    this.#bridge = options.bridge;
  }

  /** The bridge with its address, the sysctls, the table with `reserved`'s ports, and the way through the host's firewall. */
  async build(subnet: Subnet, reserved: Iterable<Reserved>): Promise<void> {
    await this.#ensureBridge(subnet);
    await sysctl("net/ipv4/ip_forward", "1");
    await sysctl(`net/ipv4/conf/${this.#bridge}/route_localnet`, "1");
    const elements = [...reserved].flatMap(({ address, ports }) => ports.map((port) => portElement(port, address)));
    const table = tableMessages({ bridge: this.#bridge, subnet });
    const ports = elements.length === 0 ? [] : [nftables.addElements(PORTS, elements)];
    await this.#nft([...table, ...ports]);
    await this.passFirewall();
  }

  /** True when bridge and table are there with exactly these ports' number; a cheap look for what somebody else removed. */
  async isWhole(subnet: Subnet): Promise<boolean> {
    const [links = [], addresses = [], chains = []] = await this.#worker.run([
      { protocol: "route", messages: [rtnetlink.dumpLinks()] },
      { protocol: "route", messages: [rtnetlink.dumpAddresses()] },
      { protocol: "nftables", messages: [nftables.dumpChains(TABLE.family)] },
    ]);
    const bridge = rtnetlink.linksOf(links).find((link) => link.name === this.#bridge);
    const own = nftables.baseChainsOf(chains).filter((chain) => chain.table === TABLE.table);
    return (
      bridge?.up === true &&
      own.length === 4 &&
      rtnetlink.addressesOf(addresses).some((each) => each.index === bridge.index && each.address === gatewayOf(subnet))
    );
  }

  /** Puts our rules at the head of every forward chain of the host that drops by policy and has none of ours. */
  async passFirewall(): Promise<void> {
    for (const chain of await this.#foreignForwardChains()) {
      if (chain.policy !== nftables.POLICY.DROP) continue;
      if ((await this.#ourRules(chain)).length === 0) await this.#nft(passMessages(chain, this.#bridge));
    }
  }

  /** A cable from the bridge into the namespace of a process, with the address and the default route there. */
  async plug(cable: {
    readonly name: string;
    readonly pid: number;
    readonly address: string;
    readonly subnet: Subnet;
  }): Promise<void> {
    const { name, pid, address, subnet } = cable;
    const veth = {
      name,
      mtu: MTU,
      master: this.#bridgeIndex,
      peer: { name: "eth0", index: PEER_INDEX, mac: macOf(address), pid },
    };
    const inside = [
      rtnetlink.setUp(LOOPBACK_INDEX),
      rtnetlink.setUp(PEER_INDEX),
      rtnetlink.addAddress({ index: PEER_INDEX, address, prefix: subnet.prefix }),
      rtnetlink.addDefaultRoute({ index: PEER_INDEX, gateway: gatewayOf(subnet) }),
    ];
    await this.#worker.run([
      { protocol: "route", messages: [rtnetlink.makeVeth(veth)] },
      { protocol: "route", pid, messages: inside },
    ]);
  }

  /** What is gone already is no error: a cable goes with the namespace it leads to. */
  async unplug(name: string): Promise<void> {
    try {
      await this.#worker.run([{ protocol: "route", messages: [rtnetlink.deleteLink(name)] }]);
    } catch (error) {
      if (!isErrno(error, "ENODEV")) throw error;
    }
  }

  async publish(reserved: Reserved): Promise<void> {
    if (reserved.ports.length === 0) return;
    await this.#nft([
      nftables.addElements(
        PORTS,
        reserved.ports.map((port) => portElement(port, reserved.address)),
      ),
    ]);
  }

  async withdraw(reserved: Reserved): Promise<void> {
    if (reserved.ports.length === 0) return;
    try {
      await this.#nft([nftables.deleteElements(PORTS, reserved.ports.map(portKey))]);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }

  /** Names of the cables on the bridge. */
  async cables(): Promise<readonly string[]> {
    const [links = []] = await this.#worker.run([{ protocol: "route", messages: [rtnetlink.dumpLinks()] }]);
    return rtnetlink
      .linksOf(links)
      .filter((link) => link.master === this.#bridgeIndex && this.#bridgeIndex !== 0)
      .map((link) => link.name);
  }

  /** Bridge, table and our rules in the host's chains. */
  async remove(): Promise<void> {
    for (const chain of await this.#foreignForwardChains()) {
      const ours = await this.#ourRules(chain);
      if (ours.length > 0) await this.#nft(ours.map((rule) => nftables.deleteRule(chain, rule.handle)));
    }
    await this.#nft([nftables.addTable(TABLE), nftables.deleteTable(TABLE)]);
    await this.unplug(this.#bridge);
    this.#bridgeIndex = 0;
  }

  async #ensureBridge(subnet: Subnet): Promise<void> {
    const name = this.#bridge;
    try {
      await this.#worker.run([
        { protocol: "route", messages: [rtnetlink.makeBridge({ name, mtu: MTU, mac: macOf(gatewayOf(subnet)) })] },
      ]);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    const [links = []] = await this.#worker.run([{ protocol: "route", messages: [rtnetlink.dumpLinks()] }]);
    const index = rtnetlink.linksOf(links).find((link) => link.name === name)?.index ?? 0;
    this.#bridgeIndex = index;
    try {
      const messages = [
        rtnetlink.setUp(index),
        rtnetlink.addAddress({ index, address: gatewayOf(subnet), prefix: subnet.prefix }),
      ];
      await this.#worker.run([{ protocol: "route", messages }]);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
  }

  async #foreignForwardChains(): Promise<readonly nftables.BaseChain[]> {
    const families = [nftables.FAMILY.IPV4, nftables.FAMILY.INET];
    const dumps = await this.#worker.run(
      families.map((family) => ({ protocol: "nftables", messages: [nftables.dumpChains(family)] })),
    );
    const chains = dumps.flatMap((messages) => nftables.baseChainsOf(messages));
    return chains.filter((chain) => chain.hook === nftables.HOOK.FORWARD && chain.table !== TABLE.table);
  }

  async #ourRules(chain: nftables.ChainName): Promise<readonly nftables.KnownRule[]> {
    const [messages = []] = await this.#worker.run([{ protocol: "nftables", messages: [nftables.dumpRules(chain)] }]);
    return nftables.rulesOf(messages).filter((rule) => rule.comment === MARK);
  }

  async #nft(messages: Parameters<typeof nftables.batch>[0]): Promise<void> {
    await this.#worker.run([{ protocol: "nftables", messages: nftables.batch(messages) }]);
  }
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

async function sysctl(name: string, value: string): Promise<void> {
  const path = `/proc/sys/${name}`;
  if ((await readFile(path, "utf8")).trim() !== value) await writeFile(path, value);
}
