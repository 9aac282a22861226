// Netlink messages byte by byte, as the kernel's headers lay them out, and reading what the kernel sends.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";

import {
  FLAGS,
  attributeList,
  decodeAttributes,
  decodeMessages,
  encodeAttributes,
  encodeMessage,
  ipv4,
  ipv4Text,
  mac,
  text,
  u16be,
  u32be,
} from "../../../native/netlink-bytes.ts";
import * as nftables from "../../../native/nftables.ts";
import { interfaceName, meta, verdict } from "../../../native/nftables-expressions.ts";
import * as rtnetlink from "../../../native/rtnetlink.ts";

/** Spaces and line ends are for the reader. */
function hex(text: string): string {
  return text.replaceAll(/\s/g, "");
}

function encoded(message: Parameters<typeof encodeMessage>[0], sequence = 1): string {
  return encodeMessage(message, sequence).toString("hex");
}

test("attributes are padded to four bytes, and their length does not count the padding", () => {
  const bytes = encodeAttributes([
    [3, "eth0"],
    [4, 1_500],
    [5, undefined],
    [10, [[1, Buffer.from([7])]]],
  ]);
  assert.equal(
    bytes.toString("hex"),
    hex(`0900 0300 65746830 00 000000
         0800 0400 dc050000
         0c00 0a80 0500 0100 07 000000`),
  );
});

test("attributes come back as they went, whatever they hold", () => {
  const attribute = fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(fc.array(attribute, { maxLength: 20 }), (attributes) => {
      const decoded = attributeList(encodeAttributes(attributes));
      assert.deepEqual(
        decoded.map(([type, value]) => [type, [...value]]),
        attributes.map(([type, value]) => [type, [...value]]),
      );
    }),
  );
});

test("bytes that are no messages are read without an error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const message of decodeMessages(Buffer.from(bytes))) attributeList(message.payload);
    }),
  );
});

test("the messages of one datagram are read one after the other, and one that is cut short is left out", () => {
  const one = encodeMessage({ type: 16, flags: 0, header: Buffer.from([1, 2, 3, 4, 5]), attributes: [] }, 7);
  const two = encodeMessage({ type: 17, flags: 2, header: Buffer.alloc(4), attributes: [[1, "a"]] }, 8);
  assert.equal(one.length, 24);
  const both = Buffer.concat([one, two]);
  assert.deepEqual(
    decodeMessages(both).map(({ type, flags, sequence, payload }) => [type, flags, sequence, payload.length]),
    [
      [16, FLAGS.REQUEST, 7, 5],
      [17, FLAGS.REQUEST | 2, 8, 12],
    ],
  );
  assert.equal(decodeMessages(both.subarray(0, -4)).length, 1);
});

test("addresses and numbers are in the order of the network", () => {
  assert.equal(ipv4("172.30.0.1").toString("hex"), "ac1e0001");
  assert.equal(ipv4Text(Buffer.from("ac1e0001", "hex")), "172.30.0.1");
  assert.equal(mac("02:42:ac:1e:00:01").toString("hex"), "0242ac1e0001");
  assert.equal(u16be(8_080).toString("hex"), "1f90");
  assert.equal(u32be(0xffffffff).toString("hex"), "ffffffff");
  assert.equal(text(Buffer.from("eth0\0rest")), "eth0");
});

test("a bridge is asked for with its name, its address and no spanning tree", () => {
  assert.equal(
    encoded(rtnetlink.makeBridge({ name: "br0", mtu: 1_500, mac: "02:42:0a:00:00:01" })),
    hex(`58000000 1000 0506 01000000 00000000
         00000000 00000000 01000000 01000000
         0800 0300 62723000
         0800 0400 dc050000
         0a00 0100 02420a000001 0000
         1c00 1280 0a00 0100 627269646765 0000
                   0c00 0280 0800 0500 00000000`),
  );
});

test("a cable is one message: the other end is made in the container's namespace", () => {
  const cable = { name: "v0", mtu: 1_500, master: 3, peer: { name: "eth0", mac: "02:42:0a:00:00:02", pid: 4_242 } };
  assert.equal(
    encoded(rtnetlink.makeVeth(cable)),
    hex(`84000000 1000 0506 01000000 00000000
         00000000 00000000 01000000 01000000
         0700 0300 763000 00
         0800 0400 dc050000
         0800 0a00 03000000
         4c00 1280 0800 0100 76657468
                   4000 0280 3c00 0100
                     00000000 00000000 00000000 00000000
                     0900 0300 65746830 00 000000
                     0800 0400 dc050000
                     0a00 0100 02420a000002 0000
                     0800 1300 92100000`),
  );
});

test("addresses and the default route name their link", () => {
  const address = { index: 5, address: "10.0.0.2", prefix: 16 };
  assert.equal(
    encoded(rtnetlink.addAddress(address)),
    hex(`28000000 1400 0506 01000000 00000000 02 10 00 00 05000000 0800 0100 0a000002 0800 0200 0a000002`),
  );
  assert.equal(encoded(rtnetlink.deleteAddress(address)).slice(8, 16), hex("1500 0500"));
  assert.equal(
    encoded(rtnetlink.addDefaultRoute({ index: 5, gateway: "10.0.0.1" })),
    hex(`2c000000 1800 0506 01000000 00000000
         02 00 00 00 fe 04 00 01 00000000 0800 0500 0a000001 0800 0400 05000000`),
  );
});

test("links and addresses are read from what the kernel lists", () => {
  const link = {
    type: 16,
    flags: 2,
    header: Buffer.from("00000000 09000000 43100100 00000000".replaceAll(" ", ""), "hex"),
    attributes: [
      [3, "tsabc"],
      [4, 1_450],
      [10, 3],
      [18, [[1, Buffer.from("veth\0")]]],
    ],
  } as const;
  const address = {
    type: 20,
    flags: 2,
    header: Buffer.from("0210000009000000", "hex"),
    attributes: [
      [1, ipv4("10.0.0.9")],
      [2, ipv4("10.0.0.2")],
    ],
  } as const;
  const received = decodeMessages(Buffer.concat([encodeMessage(link, 1), encodeMessage(address, 1)]));
  assert.deepEqual(rtnetlink.linksOf(received), [
    { index: 9, name: "tsabc", kind: "veth", master: 3, up: true, mtu: 1_450 },
  ]);
  assert.deepEqual(rtnetlink.addressesOf(received), [{ index: 9, address: "10.0.0.2", prefix: 16 }]);
});

test("a batch of nf_tables is framed so that it is taken whole or not at all", () => {
  const [begin, rule, end] = nftables.batch([
    nftables.addRule(
      { family: nftables.FAMILY.IPV4, table: "t", chain: "c" },
      { expressions: [meta(6, 8), verdict(1)], comment: "why", first: true },
    ),
  ]);
  assert.ok(begin !== undefined && rule !== undefined && end !== undefined);
  assert.equal(encoded(begin), hex("14000000 1000 0100 01000000 00000000 00 00 000a"));
  assert.equal(encoded(end), hex("14000000 1100 0100 01000000 00000000 00 00 000a"));
  assert.equal(
    encoded(rule),
    hex(`88000000 060a 0504 01000000 00000000 02 00 0000
         0600 0100 7400 0000
         0600 0200 6300 0000
         5800 0480
           2400 0180 0900 0100 6d657461 00 000000
                     1400 0280 0800 0100 00000008 0800 0200 00000006
           3000 0180 0e00 0100 696d6d656469617465 00 0000
                     1c00 0280 0800 0100 00000000 1000 0280 0c00 0280 0800 0100 00000001
         0a00 0700 00 04 77687900 0000`),
  );
  const [known] = nftables.rulesOf(
    decodeMessages(encodeMessage({ ...rule, attributes: [...rule.attributes, [3, Buffer.alloc(8, 1)]] }, 1)),
  );
  assert.deepEqual(known, {
    chain: "c",
    handle: Buffer.alloc(8, 1),
    comment: "why",
    expressions: ["meta", "immediate"],
    verdict: 1,
  });
});

test("elements of a map are read as they were sent", () => {
  const name = { family: nftables.FAMILY.IPV4, table: "t", map: "m" };
  const elements = [1, 2].map((value) => ({ key: Buffer.alloc(8, value), data: Buffer.alloc(8, 16 * value) }));
  const sent = nftables.addElements(name, elements);
  const answer = decodeMessages(encodeMessage(sent, 1));
  assert.deepEqual(nftables.elementsOf(answer), elements);
  assert.deepEqual(nftables.elementsOf(decodeMessages(encodeMessage(nftables.dumpElements(name), 1))), []);
});

test("base chains tell their hook and policy, others are left out", () => {
  const name = { family: nftables.FAMILY.INET, table: "t", chain: "forward" };
  const base = nftables.addBaseChain(name, { type: "filter", hook: nftables.HOOK.FORWARD, priority: -5 });
  const plain = { ...base, attributes: base.attributes.slice(0, 2) };
  const answer = decodeMessages(Buffer.concat([encodeMessage(base, 1), encodeMessage(plain, 1)]));
  assert.deepEqual(nftables.baseChainsOf(answer), [{ ...name, hook: 2, policy: nftables.POLICY.ACCEPT }]);
  assert.ok(encodeMessage(base, 1).includes(Buffer.from("08000200fffffffb", "hex")), "the priority is signed");
});

test("an interface's name is compared over all its sixteen bytes", () => {
  assert.equal(interfaceName("br0").toString("hex"), "62723000000000000000000000000000");
  assert.equal(decodeAttributes(Buffer.alloc(0)).size, 0);
});
