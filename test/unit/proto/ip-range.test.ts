// Addresses and subnets as constraints name them.

import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { isInRange, parseIpRange } from "../../../proto/model/ip-range.ts";

function holds(range: string, address: string): boolean {
  const parsed = parseIpRange(range);
  assert.ok(parsed, range);
  return isInRange(address, parsed);
}

test("an address is in a subnet when its leading bits are", () => {
  assert.ok(holds("10.0.0.0/8", "10.255.1.2"));
  assert.ok(!holds("10.0.0.0/8", "11.0.0.1"));
  assert.ok(holds("0.0.0.0/0", "11.0.0.1:2377"));
  assert.ok(holds("2001:db8::/32", "[2001:db8:0:1::7]:2377"));
  assert.ok(!holds("2001:db8::/32", "2001:db9::1"));
  assert.ok(holds("::ffff:10.0.0.7", "10.0.0.7"));
  assert.ok(!holds("::/0", "10.0.0.7"), "the two kinds of addresses do not mix");
  assert.ok(!holds("10.0.0.0/8", ""), "a node without an address is in no subnet");
});

test("what is an address is what the platform takes for one", () => {
  const part = fc.oneof(
    fc.nat(300).map(String),
    fc.integer({ min: 0, max: 70_000 }).map((n) => n.toString(16)),
    fc.constant(""),
  );
  const texts = fc.oneof(
    fc.ipV4(),
    fc.ipV6().filter((text) => !text.includes(".")),
    fc.array(part, { maxLength: 9 }).map((parts) => parts.join(":")),
    fc.array(part, { maxLength: 5 }).map((parts) => parts.join(".")),
  );
  fc.assert(
    fc.property(texts, (text) => {
      // A zero before a decimal part is octal to some and refused by others: it is taken as decimal here.
      fc.pre(!/(^|\.)0\d/.test(text));
      assert.equal(parseIpRange(text) !== undefined, isIP(text) !== 0, text);
    }),
    { numRuns: 500 },
  );
});
