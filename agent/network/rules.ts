// The node's nf_tables table: published ports in a map, so that publishing one is one element; the way out for containers; and
// the host's own firewall told to let our bridge pass. All as messages, pure.

import { type MapElement, expressions, interfaceName, ipv4, nftables, u16be } from "../../native/index.ts";
import { type PortConfig, PortConfig_Protocol } from "../../proto/gen/specs.ts";
import { type Subnet, maskText, toText } from "./subnet.ts";

type Message = ReturnType<typeof nftables.addTable>;
type TableName = Parameters<typeof nftables.addTable>[0];
type ChainName = TableName & { readonly chain: string };

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
const PRIORITY = { RAW: -300, DSTNAT: -100, SRCNAT: 100 } as const;
const CT = { STATE: 0, STATUS: 2 } as const;
const STATUS_DNAT = hostU32(32);
const STATE_KNOWN = hostU32(2 | 4);
const ZERO = hostU32(0);

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

/** Everything but the ports; the table is made anew, in one transaction. */
export function tableMessages(options: { readonly bridge: string; readonly subnet: Subnet }): readonly Message[] {
  const { bridge, subnet } = options;
  const chain = (name: string): ChainName => ({ ...TABLE, chain: name });
  const out = [meta(META.OIFNAME, R.A), compare(1, interfaceName(bridge))];
  const translated = [conntrack(CT.STATUS, R.A), mask(R.A, STATUS_DNAT), compare(R.A, ZERO, COMPARE.NEQ)];
  const fromSubnet = [
    payload({ base: 1, offset: 12, length: 4 }, R.A),
    mask(R.A, ipv4(maskText(subnet))),
    compare(R.A, ipv4(toText(subnet.base))),
  ];
  const fromLoopback = [
    payload({ base: 1, offset: 12, length: 4 }, R.A),
    mask(R.A, ipv4("255.0.0.0")),
    compare(R.A, ipv4("127.0.0.0")),
  ];
  const toPort = [
    fibDestinationType(R.A),
    compare(R.A, RTN_LOCAL),
    meta(META.L4PROTO, R.A),
    payload({ base: 2, offset: 2, length: 2 }, R.B),
    lookup({ name: PORTS.map, from: R.A, to: R.C }),
    dnat({ address: R.C, port: R.D }),
  ];
  return [
    nftables.addTable(TABLE),
    nftables.deleteTable(TABLE),
    nftables.addTable(TABLE),
    nftables.addMap(TABLE, {
      name: PORTS.map,
      key: { type: KEY_TYPE, length: 8 },
      data: { type: DATA_TYPE, length: 8 },
    }),
    nftables.addBaseChain(chain("guard"), { type: "filter", hook: nftables.HOOK.PREROUTING, priority: PRIORITY.RAW }),
    nftables.addBaseChain(chain("prerouting"), {
      type: "nat",
      hook: nftables.HOOK.PREROUTING,
      priority: PRIORITY.DSTNAT,
    }),
    nftables.addBaseChain(chain("output"), { type: "nat", hook: nftables.HOOK.OUTPUT, priority: PRIORITY.DSTNAT }),
    nftables.addBaseChain(chain("postrouting"), {
      type: "nat",
      hook: nftables.HOOK.POSTROUTING,
      priority: PRIORITY.SRCNAT,
    }),
    nftables.addRule(chain("guard"), {
      comment: "nobody reaches 127.0.0.0/8 from a container",
      expressions: [
        meta(META.IIFNAME, R.A),
        compare(1, interfaceName(bridge)),
        payload({ base: 1, offset: 16, length: 4 }, R.A),
        mask(R.A, ipv4("255.0.0.0")),
        compare(R.A, ipv4("127.0.0.0")),
        verdict(VERDICT.DROP),
      ],
    }),
    nftables.addRule(chain("prerouting"), { comment: "published ports", expressions: toPort }),
    nftables.addRule(chain("output"), { comment: "published ports, from this node", expressions: toPort }),
    nftables.addRule(chain("postrouting"), {
      comment: "the way out",
      expressions: [
        ...fromSubnet,
        meta(META.OIFNAME, R.A),
        compare(1, interfaceName(bridge), COMPARE.NEQ),
        masquerade(),
      ],
    }),
    nftables.addRule(chain("postrouting"), {
      comment: "a container that calls a port of its own node",
      expressions: [...out, ...fromSubnet, ...translated, masquerade()],
    }),
    nftables.addRule(chain("postrouting"), {
      comment: "127.0.0.1 as the client of a published port",
      expressions: [...out, ...fromLoopback, ...translated, masquerade()],
    }),
  ];
}

/** The element that publishes a port of a container. */
export function portElement(port: PortConfig, address: string): MapElement {
  return { key: portKey(port), data: Buffer.concat([ipv4(address), u16be(port.targetPort), Buffer.alloc(2)]) };
}

export function portKey(port: PortConfig): Buffer {
  const protocol = port.protocol === PortConfig_Protocol.UDP ? PROTOCOL.UDP : PROTOCOL.TCP;
  return Buffer.concat([Buffer.from([protocol, 0, 0, 0]), u16be(port.publishedPort), Buffer.alloc(2)]);
}

/** Rules at the head of a host's forward chain that let our bridge's packets pass it. */
export function passMessages(chain: ChainName, bridge: string): readonly Message[] {
  const from = [meta(META.IIFNAME, R.A), compare(1, interfaceName(bridge)), verdict(VERDICT.ACCEPT)];
  const to = [meta(META.OIFNAME, R.A), compare(1, interfaceName(bridge))];
  const answers = [
    ...to,
    conntrack(CT.STATE, R.A),
    mask(R.A, STATE_KNOWN),
    compare(R.A, ZERO, COMPARE.NEQ),
    verdict(VERDICT.ACCEPT),
  ];
  const published = [
    ...to,
    conntrack(CT.STATUS, R.A),
    mask(R.A, STATUS_DNAT),
    compare(R.A, ZERO, COMPARE.NEQ),
    verdict(VERDICT.ACCEPT),
  ];
  return [from, answers, published].map((list) =>
    nftables.addRule(chain, { expressions: list, comment: MARK, first: true }),
  );
}
