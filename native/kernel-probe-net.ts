// Whether the kernel makes the network devices and tables that containers need, found out by making them in a network
// namespace that lives no longer than the question. Messages are rtnetlink(7) and nf_tables (linux/netfilter/nf_tables.h).

import { closeSync, openSync } from "node:fs";
import { assert } from "../proto/base/assert.ts";
import { check, lastErrno, libc } from "./ffi.ts";

const CLONE_NEWNET = 0x40000000;
const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0x80000;
const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
/** Longest wait for the kernel's answer. In seconds. */
const ANSWER_SECONDS = 5;

const unshare = libc<(flags: number) => number>("int unshare(int flags)");
const setns = libc<(fd: number, type: number) => number>("int setns(int fd, int type)");
const openSocket = libc<(domain: number, type: number, protocol: number) => number>(
  "int socket(int domain, int type, int protocol)",
);
const setOption = libc<(fd: number, level: number, name: number, value: Uint8Array, length: number) => number>(
  "int setsockopt(int fd, int level, int name, const void *value, unsigned int length)",
);
const send = libc<(fd: number, data: Uint8Array, length: number, flags: number) => number>(
  "long send(int fd, const void *data, unsigned long length, int flags)",
);
const receive = libc<(fd: number, data: Uint8Array, length: number, flags: number) => number>(
  "long recv(int fd, void *data, unsigned long length, int flags)",
);

/**
 * Runs `work` on this thread in a network namespace of its own, which is gone when it returns. `work` must not wait: other
 * work of this thread would find itself in there. Throws when the kernel makes no such namespace.
 */
export function inFreshNetwork<T>(work: () => T): T {
  const home = openSync("/proc/thread-self/ns/net", "r");
  try {
    check(unshare(CLONE_NEWNET), "making a network namespace");
    try {
      return work();
    } finally {
      assert(setns(home, CLONE_NEWNET) === 0, "a thread finds back to its network namespace");
    }
  } finally {
    closeSync(home);
  }
}

const REQUEST_ACK_CREATE = 0x1 | 0x4 | 0x400;
const RTM_NEWLINK = 16;
const IFLA_IFNAME = 3;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;

/** errno of making a device of this kind ("bridge", "veth", "vxlan"); 0 when it was made. In a fresh network only. */
export function probeLink(kind: string): number {
  // A vxlan device must be told its network and its port (in network order).
  const vxlan = Buffer.concat([attribute(1, number32(1)), attribute(15, Buffer.from([4789 >> 8, 4789 & 0xff]))]);
  const data = kind === "vxlan" ? [attribute(IFLA_INFO_DATA, vxlan)] : [];
  const body = Buffer.concat([
    Buffer.alloc(16),
    attribute(IFLA_IFNAME, text("probe0")),
    attribute(IFLA_LINKINFO, Buffer.concat([attribute(IFLA_INFO_KIND, text(kind)), ...data])),
  ]);
  return ask(NETLINK_ROUTE, message({ type: RTM_NEWLINK, flags: REQUEST_ACK_CREATE, body }));
}

const NFNL_SUBSYS_NFTABLES = 10;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const NEWTABLE = (NFNL_SUBSYS_NFTABLES << 8) | 0;
const NEWCHAIN = (NFNL_SUBSYS_NFTABLES << 8) | 3;
const NFPROTO_IPV4 = 2;
const NF_INET_POST_ROUTING = 4;

/** errno of making a table with a chain that translates addresses; 0 when it was made. In a fresh network only. */
export function probeTables(): number {
  const batch = (type: number): Buffer =>
    message({ type, flags: 1, body: Buffer.from([0, 0, 0, NFNL_SUBSYS_NFTABLES]) });
  const family = Buffer.from([NFPROTO_IPV4, 0, 0, 0]);
  const table = Buffer.concat([family, attribute(1, text("probe"))]);
  const hook = Buffer.concat([attribute(1, network32(NF_INET_POST_ROUTING)), attribute(2, network32(100))]);
  const chain = Buffer.concat([
    family,
    attribute(1, text("probe")),
    attribute(3, text("out")),
    attribute(4 | 0x8000, hook),
    attribute(7, text("nat")),
  ]);
  return ask(
    NETLINK_NETFILTER,
    Buffer.concat([
      batch(BATCH_BEGIN),
      message({ type: NEWTABLE, flags: 0x1 | 0x400, body: table }),
      message({ type: NEWCHAIN, flags: REQUEST_ACK_CREATE, body: chain }),
      batch(BATCH_END),
    ]),
  );
}

/** Sends messages of which one wants an answer; returns the errno in the first answer that comes. */
function ask(protocol: number, data: Buffer): number {
  const socket = check(openSocket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol), "opening a netlink socket");
  try {
    const timeout = Buffer.alloc(16);
    timeout.writeBigInt64LE(BigInt(ANSWER_SECONDS), 0);
    check(setOption(socket, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length), "bounding a netlink socket");
    check(send(socket, data, data.length, 0), "sending a netlink message");
    const answer = Buffer.alloc(8192);
    if (receive(socket, answer, answer.length, 0) < 0) return lastErrno();
    // struct nlmsghdr, then struct nlmsgerr, whose first word is 0 or a negative errno.
    return -answer.readInt32LE(16);
  } finally {
    closeSync(socket);
  }
}

function message(options: { readonly type: number; readonly flags: number; readonly body: Buffer }): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + options.body.length, 0);
  header.writeUInt16LE(options.type, 4);
  header.writeUInt16LE(options.flags, 6);
  return Buffer.concat([header, options.body]);
}

/** struct nlattr with its data, filled up to a multiple of four bytes. */
function attribute(type: number, data: Buffer): Buffer {
  const whole = Buffer.alloc((4 + data.length + 3) & ~3);
  whole.writeUInt16LE(4 + data.length, 0);
  whole.writeUInt16LE(type, 2);
  data.copy(whole, 4);
  return whole;
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function network32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
