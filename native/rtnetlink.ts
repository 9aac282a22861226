// Messages of rtnetlink: links, addresses, routes. Pure; netlink.ts sends them.

import {
  type Attribute,
  FLAGS,
  type NetlinkMessage,
  type ReceivedMessage,
  decodeAttributes,
  encodeAttributes,
  ipv4,
  ipv4Text,
  mac,
  text,
} from "./netlink-bytes.ts";

const RTM = { NEWLINK: 16, DELLINK: 17, GETLINK: 18, NEWADDR: 20, DELADDR: 21, GETADDR: 22, NEWROUTE: 24 } as const;
const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, MASTER: 10, LINKINFO: 18, NET_NS_PID: 19 } as const;
const LINKINFO = { KIND: 1, DATA: 2, PORT_KIND: 4, PORT_DATA: 5 } as const;
const BRIDGE_PORT_HAIRPIN = 4;
const VETH_PEER = 1;
const BRIDGE_STP_STATE = 5;
const UP = 1;
const AF_INET = 2;
const SCOPE_UNIVERSE = 0;
const IFA = { ADDRESS: 1, LOCAL: 2 } as const;
const RTA = { OIF: 4, GATEWAY: 5 } as const;
const MAKE = FLAGS.ACK | FLAGS.CREATE | FLAGS.EXCL;

interface LinkHeader {
  readonly index?: number;
  readonly up?: boolean;
}

function linkHeader({ index = 0, up = false }: LinkHeader): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32LE(index, 4);
  if (up) {
    bytes.writeUInt32LE(UP, 8);
    bytes.writeUInt32LE(UP, 12);
  }
  return bytes;
}

function kind(name: string, data: readonly Attribute[]): Attribute {
  return [
    IFLA.LINKINFO,
    [
      [LINKINFO.KIND, Buffer.from(name)],
      [LINKINFO.DATA, data],
    ],
  ];
}

export function makeBridge(options: {
  readonly name: string;
  readonly mtu: number;
  readonly mac: string;
}): NetlinkMessage {
  return {
    type: RTM.NEWLINK,
    flags: MAKE,
    header: linkHeader({ up: true }),
    attributes: [
      [IFLA.IFNAME, options.name],
      [IFLA.MTU, options.mtu],
      [IFLA.ADDRESS, mac(options.mac)],
      kind("bridge", [[BRIDGE_STP_STATE, 0]]),
    ],
  };
}

export interface VethOptions {
  readonly name: string;
  readonly mtu: number;
  /** Index of the bridge that this end is a port of. */
  readonly master: number;
  /** The other end, made directly in the network namespace of a process. */
  readonly peer: { readonly name: string; readonly mac: string; readonly pid: number };
}

export function makeVeth(options: VethOptions): NetlinkMessage {
  const { peer } = options;
  const other = Buffer.concat([
    linkHeader({}),
    encodeAttributes([
      [IFLA.IFNAME, peer.name],
      [IFLA.MTU, options.mtu],
      [IFLA.ADDRESS, mac(peer.mac)],
      [IFLA.NET_NS_PID, peer.pid],
    ]),
  ]);
  return {
    type: RTM.NEWLINK,
    flags: MAKE,
    header: linkHeader({ up: true }),
    attributes: [
      [IFLA.IFNAME, options.name],
      [IFLA.MTU, options.mtu],
      [IFLA.MASTER, options.master],
      kind("veth", [[VETH_PEER, other]]),
    ],
  };
}

export function setUp(index: number): NetlinkMessage {
  return { type: RTM.NEWLINK, flags: FLAGS.ACK, header: linkHeader({ index, up: true }), attributes: [] };
}

/** Makes a link a port of a bridge, and sets it up. */
export function setMaster(options: { readonly index: number; readonly master: number }): NetlinkMessage {
  return {
    type: RTM.NEWLINK,
    flags: FLAGS.ACK,
    header: linkHeader({ index: options.index, up: true }),
    attributes: [[IFLA.MASTER, options.master]],
  };
}

/** Lets a bridge send a frame back out of the port that it came in by. */
export function setHairpin(name: string): NetlinkMessage {
  const info: readonly Attribute[] = [
    [LINKINFO.PORT_KIND, Buffer.from("bridge")],
    [LINKINFO.PORT_DATA, [[BRIDGE_PORT_HAIRPIN, Buffer.from([1])]]],
  ];
  return {
    type: RTM.NEWLINK,
    flags: FLAGS.ACK,
    header: linkHeader({}),
    attributes: [
      [IFLA.IFNAME, name],
      [IFLA.LINKINFO, info],
    ],
  };
}

export function deleteLink(name: string): NetlinkMessage {
  return { type: RTM.DELLINK, flags: FLAGS.ACK, header: linkHeader({}), attributes: [[IFLA.IFNAME, name]] };
}

export function addAddress(address: LinkAddress): NetlinkMessage {
  return { type: RTM.NEWADDR, flags: MAKE, ...addressBody(address) };
}

export function deleteAddress(address: LinkAddress): NetlinkMessage {
  return { type: RTM.DELADDR, flags: FLAGS.ACK, ...addressBody(address) };
}

function addressBody(options: LinkAddress): Pick<NetlinkMessage, "header" | "attributes"> {
  const header = Buffer.from([AF_INET, options.prefix, 0, SCOPE_UNIVERSE, 0, 0, 0, 0]);
  header.writeUInt32LE(options.index, 4);
  const address = ipv4(options.address);
  return {
    header,
    attributes: [
      [IFA.ADDRESS, address],
      [IFA.LOCAL, address],
    ],
  };
}

/** The default route, by a gateway on a link. */
export function addDefaultRoute(options: { readonly index: number; readonly gateway: string }): NetlinkMessage {
  const TABLE_MAIN = 254;
  const PROTOCOL_STATIC = 4;
  const TYPE_UNICAST = 1;
  const header = Buffer.from([AF_INET, 0, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, SCOPE_UNIVERSE, TYPE_UNICAST, 0, 0, 0, 0]);
  return {
    type: RTM.NEWROUTE,
    flags: MAKE,
    header,
    attributes: [
      [RTA.GATEWAY, ipv4(options.gateway)],
      [RTA.OIF, options.index],
    ],
  };
}

export function dumpLinks(): NetlinkMessage {
  return { type: RTM.GETLINK, flags: FLAGS.DUMP, header: linkHeader({}), attributes: [] };
}

export function dumpAddresses(): NetlinkMessage {
  return { type: RTM.GETADDR, flags: FLAGS.DUMP, header: Buffer.from([AF_INET, 0, 0, 0, 0, 0, 0, 0]), attributes: [] };
}

export interface Link {
  readonly index: number;
  readonly name: string;
  /** "bridge", "veth" ...; empty for a device of hardware and the loopback. */
  readonly kind: string;
  /** Index of the bridge it is a port of; 0: none. */
  readonly master: number;
  readonly up: boolean;
  readonly mtu: number;
}

export function linksOf(messages: readonly ReceivedMessage[]): readonly Link[] {
  return messages
    .filter((message) => message.type === RTM.NEWLINK)
    .map(({ payload }) => {
      const attributes = decodeAttributes(payload.subarray(16));
      return {
        index: payload.readInt32LE(4),
        name: text(attributes.get(IFLA.IFNAME)),
        kind: text(decodeAttributes(attributes.get(IFLA.LINKINFO) ?? Buffer.alloc(0)).get(LINKINFO.KIND)),
        master: attributes.get(IFLA.MASTER)?.readUInt32LE(0) ?? 0,
        up: (payload.readUInt32LE(8) & UP) !== 0,
        mtu: attributes.get(IFLA.MTU)?.readUInt32LE(0) ?? 0,
      };
    });
}

export interface LinkAddress {
  /** Of the link. */
  readonly index: number;
  readonly address: string;
  readonly prefix: number;
}

export function addressesOf(messages: readonly ReceivedMessage[]): readonly LinkAddress[] {
  return messages
    .filter((message) => message.type === RTM.NEWADDR)
    .map(({ payload }) => {
      const attributes = decodeAttributes(payload.subarray(8));
      const address = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS) ?? Buffer.alloc(4);
      return { index: payload.readUInt32LE(4), address: ipv4Text(address), prefix: payload[1] ?? 0 };
    });
}
