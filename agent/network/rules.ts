// The node's nf_tables table: published ports in a map, so that publishing one is one element; the way out for containers; and
// the host's own firewall told to let our bridge pass. All as messages, pure.

import { type MapElement, expressions, interfaceName, ipv4, nftables, u16be } from "../../native/index.ts";
import { type PortConfig, PortConfig_Protocol } from "../../proto/gen/specs.ts";
import { type Subnet, maskText, parseSubnet, toText } from "./subnet.ts";

type Message = ReturnType<typeof nftables.addTable>;
type TableName = Parameters<typeof nftables.addTable>[0];
type ChainName = TableName & { readonly chain: string };
type Expression = ReturnType<typeof expressions.masquerade>;

export const TABLE: TableName = { family: nftables.FAMILY.IPV4, table: "tsswarm" };
export const PORTS: TableName & { readonly map: string } = { family: TABLE.family, table: TABLE.table, map: "ports" };
/** How our rules in the host's chains are known again. */
export const MARK = "tsswarm: containers of this node";

/** Registers of 4 bytes. */
const R = { A: 8, B: 9, C: 10, D: 11 } as const;
const RTN_LOCAL = hostU32(2);
const PROTOCOL = { TCP: 6, UDP: 17 } as const;
/** nft's type numbers: inet_proto 12, inet_service 13, ipv4_addr 7; six bits a part. */
const KEY_TYPE = (12 << 6) | 13;
const DATA_TYPE = (7 << 6) | 13;
const PRIORITY = { RAW: -300, DSTNAT: -100, FILTER: 0, SRCNAT: 100 } as const;
const CT = { STATE: 0, STATUS: 2 } as const;
const STATUS_DNAT = hostU32(32);
const STATE_KNOWN = hostU32(2 | 4);
const ZERO = hostU32(0);
/** Offsets of the addresses in an IPv4 header. */
const SOURCE = 12;
const DESTINATION = 16;
const LOOPBACK = parseSubnet("127.0.0.0/8");
const ELEMENTS_MAX = 1_000;

function hostU32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

const {
  compare,
  conntrack,
  dnat,
  fibDestinationType,
  lookup,
  mask,
  masquerade,
  meta,
  payload,
  verdict,
  COMPARE,
  META,
  VERDICT,
} = expressions;

type Chain = "guard" | "forward" | "prerouting" | "output" | "postrouting";

/** A rule of our table. */
export interface TableRule {
  readonly chain: Chain;
  /** What `nft list` shows beside it, and how it is known again. */
  readonly comment: string;
  readonly expressions: readonly Expression[];
}

const CHAINS: Readonly<Record<Chain, Parameters<typeof nftables.addBaseChain>[1]>> = {
  guard: { type: "filter", hook: nftables.HOOK.PREROUTING, priority: PRIORITY.RAW },
  forward: { type: "filter", hook: nftables.HOOK.FORWARD, priority: PRIORITY.FILTER },
  prerouting: { type: "nat", hook: nftables.HOOK.PREROUTING, priority: PRIORITY.DSTNAT },
  output: { type: "nat", hook: nftables.HOOK.OUTPUT, priority: PRIORITY.DSTNAT },
  postrouting: { type: "nat", hook: nftables.HOOK.POSTROUTING, priority: PRIORITY.SRCNAT },
};

export interface TableOptions {
  readonly bridge: string;
  readonly subnet: Subnet;
}

/** The rules of our table, chain by chain in their order. None of them is about one container. */
export function tableRules({ bridge, subnet }: TableOptions): readonly TableRule[] {
  const name = interfaceName(bridge);
  const fromBridge = [meta(META.IIFNAME, R.A), compare(R.A, name)];
  const notFromBridge = [meta(META.IIFNAME, R.A), compare(R.A, name, COMPARE.NEQ)];
  const toBridge = [meta(META.OIFNAME, R.A), compare(R.A, name)];
  const notToBridge = [meta(META.OIFNAME, R.A), compare(R.A, name, COMPARE.NEQ)];
  const address = (offset: number, within: Subnet): readonly Expression[] => [
    payload({ base: 1, offset, length: 4 }, R.A),
    mask(R.A, ipv4(maskText(within))),
    compare(R.A, ipv4(toText(within.base))),
  ];
  const translated = [conntrack(CT.STATUS, R.A), mask(R.A, STATUS_DNAT), compare(R.A, ZERO, COMPARE.NEQ)];
  const toPort = [
    fibDestinationType(R.A),
    compare(R.A, RTN_LOCAL),
    meta(META.L4PROTO, R.A),
    payload({ base: 2, offset: 2, length: 2 }, R.B),
    lookup({ name: PORTS.map, from: R.A, to: R.C }),
    dnat({ address: R.C, port: R.D }),
  ];
  return [
    {
      chain: "guard",
      comment: "nobody reaches 127.0.0.0/8 from a container",
      expressions: [...fromBridge, ...address(DESTINATION, LOOPBACK), verdict(VERDICT.DROP)],
    },
    {
      chain: "forward",
      comment: "into a container: published ports and answers only",
      expressions: [
        ...toBridge,
        ...notFromBridge,
        ...[conntrack(CT.STATUS, R.A), mask(R.A, STATUS_DNAT), compare(R.A, ZERO)],
        ...[conntrack(CT.STATE, R.A), mask(R.A, STATE_KNOWN), compare(R.A, ZERO)],
        verdict(VERDICT.DROP),
      ],
    },
    { chain: "prerouting", comment: "published ports", expressions: toPort },
    { chain: "output", comment: "published ports, from this node", expressions: toPort },
    {
      chain: "postrouting",
      comment: "the way out",
      expressions: [...address(SOURCE, subnet), ...notToBridge, masquerade()],
    },
    {
      chain: "postrouting",
      comment: "a container that calls a port of its own node",
      expressions: [...toBridge, ...address(SOURCE, subnet), ...translated, masquerade()],
    },
    {
      chain: "postrouting",
      comment: "127.0.0.1 as the client of a published port",
      expressions: [...toBridge, ...address(SOURCE, LOOPBACK), ...translated, masquerade()],
    },
  ];
}

/** The whole table with these ports, made anew whatever there was; for one transaction. */
export function tableMessages(options: TableOptions, elements: readonly MapElement[]): readonly Message[] {
  return [
    nftables.addTable(TABLE),
    nftables.deleteTable(TABLE),
    nftables.addTable(TABLE),
    nftables.addMap(TABLE, {
      name: PORTS.map,
      key: { type: KEY_TYPE, length: 8 },
      data: { type: DATA_TYPE, length: 8 },
    }),
    ...Object.entries(CHAINS).map(([chain, base]) => nftables.addBaseChain({ ...TABLE, chain }, base)),
    ...tableRules(options).map(({ chain, comment, expressions: list }) =>
      nftables.addRule({ ...TABLE, chain }, { comment, expressions: list }),
    ),
    ...addPorts(elements),
  ];
}

/** An attribute holds at most 64 KiB, so many elements go in several messages. */
export function addPorts(elements: readonly MapElement[]): readonly Message[] {
  const count = Math.ceil(elements.length / ELEMENTS_MAX);
  return Array.from({ length: count }, (_, index) =>
    nftables.addElements(PORTS, elements.slice(index * ELEMENTS_MAX, (index + 1) * ELEMENTS_MAX)),
  );
}

/** The element that publishes a port of a container. */
export function portElement(port: PortConfig, address: string): MapElement {
  return { key: portKey(port), data: Buffer.concat([ipv4(address), u16be(port.targetPort), Buffer.alloc(2)]) };
}

export function portKey(port: PortConfig): Buffer {
  const protocol = port.protocol === PortConfig_Protocol.UDP ? PROTOCOL.UDP : PROTOCOL.TCP;
  return Buffer.concat([Buffer.from([protocol, 0, 0, 0]), u16be(port.publishedPort), Buffer.alloc(2)]);
}

/**
 * Rules at the head of a chain of the host that let our bridge's packets pass it; what comes in to containers is decided in our
 * own table. Only what iptables can read too: anything else in a table of its own makes it refuse the whole table.
 */
export function passMessages(chain: ChainName, bridge: string): readonly Message[] {
  return [META.OIFNAME, META.IIFNAME].map((key) =>
    nftables.addRule(chain, {
      expressions: [meta(key, R.A), compare(R.A, interfaceName(bridge)), verdict(VERDICT.ACCEPT)],
      comment: MARK,
      first: true,
    }),
  );
}

/** How many rules passMessages adds to a chain. */
export const PASS_RULES = 2;
