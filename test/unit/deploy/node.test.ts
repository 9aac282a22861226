// The daemon's small decisions: which address a node is known by, what the version is.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { chooseAdvertiseAddr, splitHostPort } from "../../../deploy/node/addresses.ts";
import { VERSION } from "../../../deploy/version.ts";

const one = [{ interfaceName: "eth0", address: "10.0.0.1" }];
const two = [...one, { interfaceName: "eth1", address: "192.168.0.1" }];

function choose(wanted: string, addresses = one): string {
  return chooseAdvertiseAddr({ wanted, listenPort: 2377, addresses });
}

test("one address is taken without a question", () => {
  assert.equal(choose(""), "10.0.0.1:2377");
});

test("several addresses and none chosen are refused with the list", () => {
  assert.throws(() => choose("", two), {
    code: "FailedPrecondition",
    message: /10\.0\.0\.1 on eth0, 192\.168\.0\.1 on eth1.*--advertise-addr/,
  });
});

test("an address, a port or an interface can be chosen", () => {
  assert.equal(choose("192.168.0.1", two), "192.168.0.1:2377");
  assert.equal(choose("192.168.0.1:4000", two), "192.168.0.1:4000");
  assert.equal(choose("eth1", two), "192.168.0.1:2377");
  assert.equal(choose("eth1:99", two), "192.168.0.1:99");
  assert.equal(choose("[::1]:99", two), "[::1]:99");
  assert.equal(choose("fd00::1", two), "[fd00::1]:2377");
});

test("what is no address of anything is refused", () => {
  assert.throws(() => choose("eth9", two), { message: /"eth9" is neither an IP address nor an interface.*eth0/ });
  assert.throws(() => choose("0.0.0.0", two), { message: /non-zero/ });
  assert.throws(() => splitHostPort("a:b:c", { flag: "--listen-addr" }), { message: /invalid --listen-addr "a:b:c"/ });
  assert.throws(() => splitHostPort("a:70000", { flag: "--listen-addr" }), { message: /port 70000 is over 65535/ });
});

test("the version is that of the package", () => {
  const manifest = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  assert.equal(VERSION, manifest.version);
});
