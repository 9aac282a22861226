// Which subnet and addresses a node gives out, what its table consists of, and the file that remembers what was given.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";

import { ReservationFile, type SavedNetwork } from "../../../agent/network/reservations.ts";
import { PASS_RULES, addPorts, passMessages, portElement, tableRules } from "../../../agent/network/rules.ts";
import {
  CANDIDATES,
  gatewayOf,
  maskText,
  nextAddress,
  offsetOf,
  overlap,
  parseSubnet,
  routesOf,
  toNumber,
  toText,
} from "../../../agent/network/subnet.ts";
import { encodeMessage } from "../../../native/netlink-bytes.ts";
import { createLogger } from "../../../proto/base/log.ts";
import { PortConfig, PortConfig_Protocol } from "../../../proto/gen/specs.ts";

const PORT = PortConfig.fromPartial({ publishedPort: 8_080, targetPort: 80 });

test("every address of a subnet is given once before one is given again, and never the gateway's or the broadcast's", () => {
  fc.assert(
    fc.property(fc.integer({ min: 24, max: 29 }), fc.integer({ min: 0, max: 300 }), (prefix, last) => {
      const subnet = parseSubnet(`10.1.2.0/${prefix}`);
      const taken = new Set<string>();
      let at = last;
      const count = 2 ** (32 - prefix) - 3;
      for (let given = 0; given < count; given += 1) {
        const address = nextAddress(subnet, { last: at, taken });
        assert.ok(!taken.has(address));
        at = offsetOf(subnet, address);
        assert.ok(at >= 2 && at <= count + 1, address);
        taken.add(address);
      }
      assert.throws(() => nextAddress(subnet, { last: at, taken }), { code: "ResourceExhausted" });
    }),
  );
});

test("an address that was given back rests until the others had their turn", () => {
  const subnet = parseSubnet("172.30.0.0/16");
  const first = nextAddress(subnet, { last: 0, taken: new Set() });
  assert.equal(first, "172.30.0.2");
  assert.equal(nextAddress(subnet, { last: offsetOf(subnet, first), taken: new Set() }), "172.30.0.3");
  assert.equal(nextAddress(subnet, { last: offsetOf(subnet, "172.30.255.254"), taken: new Set() }), "172.30.0.2");
});

test("subnets are read, and what is none is refused with its text", () => {
  const subnet = parseSubnet("172.30.7.9/16");
  assert.equal(toText(subnet.base), "172.30.0.0");
  assert.deepEqual([gatewayOf(subnet), maskText(subnet)], ["172.30.0.1", "255.255.0.0"]);
  for (const text of ["172.30.0.0", "172.30.0.0/30", "172.30.0.0/7", "fd00::/64", ""])
    assert.throws(() => parseSubnet(text), {
      code: "InvalidArgument",
      message: new RegExp(`invalid subnet "${text}"`),
    });
});

test("subnets overlap when one lies in the other", () => {
  const pairs: readonly (readonly [string, string, boolean])[] = [
    ["172.30.0.0/16", "172.30.128.0/20", true],
    ["172.16.0.0/12", "172.30.0.0/16", true],
    ["172.30.0.0/16", "172.31.0.0/16", false],
    ["10.0.0.0/8", "172.30.0.0/16", false],
  ];
  for (const [a, b, expected] of pairs) {
    assert.equal(overlap(parseSubnet(a), parseSubnet(b)), expected, `${a} ${b}`);
    assert.equal(overlap(parseSubnet(b), parseSubnet(a)), expected, `${b} ${a}`);
  }
  assert.ok(
    CANDIDATES.every((one) => CANDIDATES.every((two) => one === two || !overlap(parseSubnet(one), parseSubnet(two)))),
  );
});

test("the host's routes are read as the kernel prints them, without the default route and the bridge's own", () => {
  const table = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wg0\t00801EAC\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0
wg0\t05801EAC\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
tsswarm0\t00001EAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
`;
  assert.deepEqual(
    routesOf(table, "tsswarm0").map(({ base, prefix }) => `${toText(base)}/${prefix}`),
    ["10.0.0.0/16", "172.30.128.0/20", "172.30.128.5/32"],
  );
});

test("a number and its address are the same", () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      assert.equal(toText(toNumber(address)), address);
    }),
  );
});

test("a published port is one element: protocol and port to address and port", () => {
  const hex = ({ key, data }: ReturnType<typeof portElement>): readonly string[] =>
    [key, data].map((bytes) => Buffer.from(bytes).toString("hex"));
  assert.deepEqual(hex(portElement(PORT, "172.30.0.2")), ["060000001f900000", "ac1e000200500000"]);
  const udp = { ...PORT, protocol: PortConfig_Protocol.UDP };
  assert.deepEqual(hex(portElement(udp, "172.30.0.2")), ["110000001f900000", "ac1e000200500000"]);
});

test("thousands of published ports fit into messages", () => {
  const elements = Array.from({ length: 5_500 }, (_, index) =>
    portElement({ ...PORT, publishedPort: index + 1 }, "172.30.0.2"),
  );
  const messages = addPorts(elements);
  assert.equal(messages.length, 6);
  for (const message of messages) assert.ok(encodeMessage(message, 1).length < 65_536);
  assert.deepEqual(addPorts([]), []);
});

test("the table's rules are about no container, and each says what it is for", () => {
  const rules = tableRules({ bridge: "tsswarm0", subnet: parseSubnet("172.30.0.0/16") });
  assert.equal(new Set(rules.map((rule) => rule.comment)).size, rules.length);
  for (const { comment } of rules) assert.ok(Buffer.byteLength(comment) < 128, comment);
});

test("a host's chain gets nothing that iptables cannot read", () => {
  const messages = passMessages({ family: 2, table: "filter", chain: "FORWARD" }, "tsswarm0");
  assert.equal(messages.length, PASS_RULES);
  for (const message of messages) {
    const bytes = encodeMessage(message, 1).toString("latin1");
    assert.ok(["meta", "cmp", "immediate"].every((name) => bytes.includes(`${name}\0`)));
    assert.ok(["ct", "lookup", "fib"].every((name) => !bytes.includes(`\0${name}\0`)));
  }
});

test("what was given out is read back, and a damaged file is told and empty", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "tsswarm-reservations-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const logged: string[] = [];
  const logger = createLogger({ component: "n", level: "info", now: () => 0, write: (line) => logged.push(line) });
  const file = new ReservationFile({ dir: join(dir, "network"), logger });
  const empty: SavedNetwork = { subnet: undefined, lastOffset: 0, reserved: new Map() };
  assert.deepEqual(await file.read(), empty);
  const states = [1, 2, 3].map((lastOffset): SavedNetwork => ({
    subnet: "172.30.0.0/16",
    lastOffset,
    reserved: new Map([["a", { address: "172.30.0.2", ports: [PORT] }]]),
  }));
  await Promise.all(states.map((state) => file.write(state)));
  assert.deepEqual(await file.read(), states[2]);
  assert.deepEqual(logged, []);
  const path = join(dir, "network", "reservations.json");
  writeFileSync(path, readFileSync(path, "utf8").slice(0, -10));
  assert.deepEqual(await file.read(), empty);
  assert.match(logged.join(""), /the reservations of addresses cannot be read/);
  const blocked = new ReservationFile({ dir: join(path, "below"), logger });
  await assert.rejects(blocked.write(empty), {
    message: /the addresses of containers cannot be written down: ENOTDIR/,
  });
});
