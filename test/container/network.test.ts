// The network of a node with real packets. The file runs itself again in a network namespace of its own, which plays the node;
// a second machine and the containers are processes in further namespaces. Nothing of the host's network is touched.

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { NodeNetwork } from "../../agent/index.ts";
import { createLogger } from "../../proto/base/log.ts";
import { PortConfig, PortConfig_Protocol, PortConfig_PublishMode } from "../../proto/gen/specs.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { LOST_MS, Peer, call } from "./support/network-peer.ts";

const HOME = "TSSWARM_TEST_HOME_NETNS";
const here = readlinkSync("/proc/self/ns/net");
const CHECK_MS = 10_000;
/** Addresses of the node and of the other machine on the wire between them. */
const NODE = "10.9.0.1";
const OUTSIDE = "10.9.0.2";
const dir = process.env[HOME] === undefined ? "" : mkdtempSync(join(tmpdir(), "tsswarm-network-"));
const logged: string[] = [];
const logger = createLogger({ component: "network", level: "info", now: () => 0, write: (line) => logged.push(line) });

function sh(script: string): string {
  return execFileSync("sh", ["-ec", script], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

function inside(pid: number, script: string): string {
  return sh(`nsenter -t ${pid} -n sh -ec '${script}'`);
}

function bound(): AbortSignal {
  return AbortSignal.timeout(60_000);
}

/** "8080:80/udp", "0:80". */
function ports(...texts: readonly string[]): readonly PortConfig[] {
  return texts.map((text) => {
    const [numbers = "", protocol = "tcp"] = text.split("/");
    const [publishedPort = 0, targetPort = 0] = numbers.split(":").map(Number);
    return PortConfig.fromPartial({
      publishedPort,
      targetPort,
      protocol: protocol === "udp" ? PortConfig_Protocol.UDP : PortConfig_Protocol.TCP,
      publishMode: PortConfig_PublishMode.HOST,
    });
  });
}

let clock = new ManualClock();
let network = new NodeNetwork({ dir, clock, logger });
let outside: Peer;
const linksBefore = process.env[HOME] === undefined ? "" : sh("ip -br link show");

interface Container {
  readonly id: string;
  readonly peer: Peer;
  readonly address: string;
}

let containers = 0;

/** A container that serves its name on TCP and UDP port 80. */
async function container(t: TestContext, ...published: readonly string[]): Promise<Container> {
  containers += 1;
  const id = `${containers}`.padStart(4, "0").padEnd(64, "c");
  const reserved = await network.reserve({ taskId: id, ports: ports(...published) });
  const peer = await Peer.start();
  t.after(async () => {
    await peer.stop();
    await network.detach(id, bound());
  });
  const name = id.slice(0, 4);
  await peer.serve({ protocol: "tcp", port: 80, name });
  await peer.serve({ protocol: "udp", port: 80, name });
  await network.attach(id, peer.pid, bound());
  return { id: name, peer, address: reserved.addresses[0]?.split("/")[0] ?? assert.fail("no address") };
}

/** Lets the periodic look at the kernel happen, and waits for its end. */
async function check(): Promise<void> {
  assert.equal(clock.pending, 1, "one check is waited for");
  await clock.advance(CHECK_MS);
  await eventually(() => clock.pending === 1);
}

function tests(): void {
  before(async () => {
    sh("ip link set lo up");
    outside = await Peer.start();
    sh(`ip link add wire type veth peer name eth0 netns ${outside.pid}
        ip addr add ${NODE}/24 dev wire; ip link set wire up`);
    inside(outside.pid, `ip addr add ${OUTSIDE}/24 dev eth0; ip link set eth0 up; ip link set lo up`);
    await outside.serve({ protocol: "tcp", port: 7000, name: "outside" });
    await outside.serve({ protocol: "udp", port: 7000, name: "outside" });
    await network.start(bound());
  });

  after(async () => {
    await network.stop({ remove: true }, bound()).catch((error: unknown) => console.error(error));
    await outside.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("a container has an address on the bridge, reaches its gateway and other containers, and the world by its node's address", async (t) => {
    const one = await container(t);
    const two = await container(t);
    assert.match(one.address, /^172\.30\.0\.\d+$/);
    assert.notEqual(one.address, two.address);
    assert.match(inside(one.peer.pid, "ip -br addr show eth0"), new RegExp(`eth0@\\S+ +UP +${one.address}/16`));
    assert.match(inside(one.peer.pid, "ip route"), /^default via 172\.30\.0\.1 dev eth0/m);
    inside(one.peer.pid, "busybox ping -c 1 -W 5 172.30.0.1; busybox ping -c 1 -W 5 127.0.0.1");
    for (const protocol of ["tcp", "udp"] as const) {
      const seen = await one.peer.call({ protocol, host: two.address, port: 80 });
      assert.equal(seen, `${two.id} ${one.address}`);
      assert.equal(await one.peer.call({ protocol, host: OUTSIDE, port: 7000 }), `outside ${NODE}`);
    }
    inside(two.peer.pid, `busybox ping -c 1 -W 5 ${OUTSIDE}`);
  });

  for (const filtered of bridgeFilterStates()) {
    test(`a published port is reached from everywhere, ${filtered.name}`, async (t) => {
      filtered.set();
      const served = await container(t, "8080:80", "8080:80/udp");
      const other = await container(t);
      const listed = sh("nft list map ip tsswarm ports");
      for (const protocol of ["tcp", "udp"] as const) {
        assert.ok(listed.includes(`${protocol} . 8080 : ${served.address} . 80`), listed);
        const target = { protocol, port: 8080 };
        const answer = new RegExp(`^${served.id} `);
        // Another machine, which the container sees by its own address.
        assert.equal(await outside.call({ ...target, host: NODE }), `${served.id} ${OUTSIDE}`);
        // The node itself, by each of its addresses.
        for (const host of [NODE, "127.0.0.1", "127.0.0.2", "172.30.0.1"])
          assert.match(await call({ ...target, host }), answer, `${protocol} from the node to ${host}`);
        // Containers of the node, the serving one among them.
        for (const { peer, id } of [other, served]) {
          for (const host of [NODE, "172.30.0.1"])
            assert.match(await peer.call({ ...target, host }), answer, `${protocol} from ${id} to ${host}`);
        }
      }
    });
  }

  test("nothing but published ports is reached from another machine, and nothing of the node's loopback from a container", async (t) => {
    const { address, id, peer } = await container(t, "8081:80");
    inside(outside.pid, `ip route add 172.30.0.0/16 via ${NODE}`);
    t.after(() => inside(outside.pid, "ip route del 172.30.0.0/16"));
    const direct = { protocol: "tcp", host: address, port: 80, withinMs: LOST_MS } as const;
    assert.equal(await outside.call(direct), "lost");
    assert.equal(await outside.call({ ...direct, host: NODE, port: 80 }), "ECONNREFUSED");
    assert.match(await outside.call({ ...direct, host: NODE, port: 8081 }), new RegExp(`^${id} `));
    sh("nft flush chain ip tsswarm forward");
    assert.equal(await outside.call(direct), `${id} ${OUTSIDE}`, "without our rule it is reached");

    const loopback = createServer((socket) => socket.end("loopback"));
    await once(loopback.listen(9_000, "127.0.0.9"), "listening");
    t.after(() => loopback.close());
    inside(
      peer.pid,
      `echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; ip route del table local 127.0.0.0/8 dev lo
       ip route add 127.0.0.9 via 172.30.0.1 dev eth0 src ${address}`,
    );
    const guarded = { protocol: "tcp", host: "127.0.0.9", port: 9_000, withinMs: LOST_MS } as const;
    assert.equal(await peer.call(guarded), "lost");
    sh("nft flush chain ip tsswarm guard");
    assert.equal(await peer.call(guarded), "loopback", "without our rule it is reached");
    await check();
    assert.equal(await outside.call(direct), "lost");
    assert.equal(await peer.call(guarded), "lost");
  });

  test("a port that is taken is refused with the name of who has it, and takes nothing with it", async (t) => {
    await container(t, "8082:80");
    const taken = { taskId: "taken".padEnd(64, "0"), ports: ports("8090:80", "8082:80") };
    await assert.rejects(network.reserve(taken), {
      code: "FailedPrecondition",
      message: /^port 8082\/tcp is already in use on this node by container \d{4}c{8}; publish another port/,
    });
    const tcp = createServer();
    await once(tcp.listen(8_091, "127.0.0.1"), "listening");
    const udp = createSocket("udp4");
    await once(udp.bind(8_091, NODE), "listening");
    t.after(() => {
      tcp.close();
      udp.close();
    });
    for (const port of ["8091:80", "8091:80/udp"]) {
      await assert.rejects(network.reserve({ ...taken, ports: ports("8090:80", port) }), {
        code: "FailedPrecondition",
        message: /^port 8091\/(tcp|udp) is already in use on this node by a program outside of tsswarm; stop it/,
      });
    }
    const [first, second] = await Promise.allSettled(
      ["a", "b"].map((letter) => network.reserve({ taskId: letter.repeat(64), ports: ports("8090:80") })),
    );
    assert.equal(first?.status, "fulfilled", "8090 was given back each time");
    assert.match(String(second?.status === "rejected" ? second.reason : ""), /8090\/tcp .* container a{12};/);
    const program = createServer();
    const refused = once(program, "error");
    program.listen(8_090, "0.0.0.0");
    assert.equal(((await refused)[0] as NodeJS.ErrnoException).code, "EADDRINUSE");
    await network.detach("a".repeat(64), bound());
    await once(program.listen(8_090, "0.0.0.0"), "listening");
    program.close();
  });

  test("a port that is left to the node is one that nobody has", async (t) => {
    const program = createServer();
    await once(program.listen(32_769, "0.0.0.0"), "listening");
    t.after(() => program.close());
    const task = { taskId: "f".repeat(64), ports: ports("0:80", "0:80", "0:80/udp") };
    t.after(() => network.detach(task.taskId, bound()));
    const reserved = await network.reserve(task);
    assert.deepEqual(await network.reserve(task), reserved);
    const chosen = reserved.ports.map((port) => port.publishedPort);
    assert.equal(new Set(chosen).size, 3);
    assert.ok(chosen.every((port) => port >= 32_768 && port <= 60_999 && port !== 32_769));
  });

  const FIREWALLS = [
    {
      name: "nftables with policy drop",
      set: "nft add table inet host; nft 'add chain inet host forward { type filter hook forward priority 10; policy drop; }'",
      flush: "nft flush chain inet host forward",
      clear: "nft delete table inet host",
    },
    {
      name: "a last rule that rejects, as firewalld has it",
      set: `nft add table inet host; nft 'add chain inet host forward { type filter hook forward priority 10; }'
            nft add rule inet host forward ct state established accept; nft add rule inet host forward counter reject`,
      flush: "nft flush chain inet host forward; nft add rule inet host forward reject",
      clear: "nft delete table inet host",
    },
    {
      name: "iptables with policy DROP, as Docker and ufw set it",
      set: `nft add table ip filter; nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'
            nft add rule ip filter FORWARD iifname docker0 counter accept`,
      flush: "nft flush chain ip filter FORWARD",
      clear: "nft delete table ip filter",
    },
  ];
  for (const { name, set, flush, clear } of FIREWALLS) {
    test(`containers pass the host's firewall: ${name}`, async (t) => {
      const { id, peer } = await container(t, "8083:80", "8083:80/udp");
      const pass = async (protocol: "tcp" | "udp", withinMs?: number): Promise<readonly string[]> => {
        const limit = withinMs === undefined ? {} : { withinMs };
        return [
          await outside.call({ protocol, host: NODE, port: 8083, ...limit }),
          await peer.call({ protocol, host: OUTSIDE, port: 7000, ...limit }),
        ];
      };
      sh(set);
      t.after(() => sh(`${clear} || :`));
      assert.ok(
        (await pass("tcp", LOST_MS)).every((said) => !/^\d|^outside/.test(said)),
        "the firewall works",
      );
      await check();
      for (const protocol of ["tcp", "udp"] as const)
        assert.deepEqual(await pass(protocol), [`${id} ${OUTSIDE}`, `outside ${NODE}`]);
      if (name.startsWith("iptables") && spawnSync("iptables", ["--version"]).status === 0)
        assert.match(sh("iptables -S FORWARD"), /-A FORWARD -i tsswarm0 .*-j ACCEPT/, "iptables reads its table still");
      // As `ufw reload` does.
      sh(flush);
      assert.ok((await pass("tcp", LOST_MS)).every((said) => !/^\d|^outside/.test(said)));
      const rulesOnce = (): number => sh("nft list ruleset").split("tsswarm: containers of this node").length - 1;
      await check();
      assert.deepEqual(await pass("tcp"), [`${id} ${OUTSIDE}`, `outside ${NODE}`]);
      assert.equal(rulesOnce(), 2);
      await check();
      assert.equal(rulesOnce(), 2, "our rules are put there once");
    });
  }

  test("what somebody else takes away is made again: the ruleset, the bridge, forwarding", async (t) => {
    const { id, peer } = await container(t, "8084:80");
    const breakings = [
      "nft flush ruleset",
      "nft flush map ip tsswarm ports",
      "nft add element ip tsswarm ports '{ tcp . 9999 : 10.0.0.1 . 1 }'",
      "ip link delete tsswarm0",
      "ip addr flush dev tsswarm0",
      "ip link set tsswarm0 down",
      "for link in $(ip -o link show | sed -n 's/^[0-9]*: \\(ts0[^@]*\\)@.*/\\1/p'); do ip link set $link nomaster; done",
      "echo 0 > /proc/sys/net/ipv4/ip_forward",
      "echo 0 > /proc/sys/net/ipv4/conf/tsswarm0/route_localnet",
    ];
    for (const breaking of breakings) {
      sh(breaking);
      logged.length = 0;
      await check();
      assert.match(logged.join(""), /somebody else changed part of the node's network/, breaking);
      assert.equal(await outside.call({ protocol: "tcp", host: NODE, port: 8084 }), `${id} ${OUTSIDE}`, breaking);
      assert.match(await call({ protocol: "tcp", host: "127.0.0.1", port: 8084 }), new RegExp(`^${id} `), breaking);
      assert.equal(await peer.call({ protocol: "tcp", host: OUTSIDE, port: 7000 }), `outside ${NODE}`, breaking);
      logged.length = 0;
      await check();
      assert.deepEqual(logged, [], "repaired once");
    }
    assert.doesNotMatch(sh("nft list map ip tsswarm ports"), /9999/);
  });

  test("a container that ends before it is detached is no drift", async (t) => {
    const { peer } = await container(t, "8092:80");
    await peer.stop();
    await eventually(() => !sh("ip -br link show").includes("ts0"));
    logged.length = 0;
    await check();
    await check();
    assert.deepEqual(logged, []);
  });

  test("an agent that starts again adopts what runs, while it serves on", async (t) => {
    const lives = await container(t, "8085:80");
    const ends = await container(t, "8086:80");
    const neverMade = "e".repeat(64);
    const reserved = await network.reserve({ taskId: neverMade, ports: ports("8087:80") });
    await network.stop({ remove: false }, bound());
    const reached = { protocol: "tcp", host: NODE, port: 8085 } as const;
    assert.equal(await outside.call(reached), `${lives.id} ${OUTSIDE}`, "without an agent");
    await ends.peer.stop();
    // A program that took the port in the meantime is told of, and the container keeps it.
    const program = createServer((socket) => socket.end("program"));
    await once(program.listen(8_085, "0.0.0.0"), "listening");
    t.after(() => program.close());

    clock = new ManualClock();
    network = new NodeNetwork({ dir, clock, logger });
    logged.length = 0;
    await network.start(bound());
    await network.start(bound());
    assert.match(logged.join(""), /a published port is taken by another program.*8085\/tcp/);
    assert.equal(await outside.call(reached), `${lives.id} ${OUTSIDE}`);
    assert.doesNotMatch(sh("nft list map ip tsswarm ports"), /808[67]/, "what is not wired up is not published");
    const again = await network.reserve({ taskId: neverMade, ports: [] });
    assert.deepEqual(again, reserved);
    await assert.rejects(
      network.reserve({ taskId: "d".repeat(64), ports: ports("8085:80") }),
      /8085\/tcp .* container/,
    );
    await network.reconcile(new Set([lives.id.padEnd(64, "c")]), bound());
    const free = await network.reserve({ taskId: neverMade, ports: ports("8086:80", "8087:80") });
    assert.notDeepEqual(free.addresses, [`${ends.address}/16`], "an address that was given back rests");
    assert.equal(await outside.call(reached), `${lives.id} ${OUTSIDE}`);
    await network.detach(neverMade, bound());
  });

  test("200 containers that come and go leave nothing behind", async (t) => {
    const holder = await Peer.start();
    t.after(() => holder.stop());
    const state = (): string => `${sh("ip -br link show; nft list ruleset")}${readdirSync("/proc/self/fd").length}`;
    const once1 = async (number: number): Promise<void> => {
      const id = `9${number}`.padEnd(64, "d");
      await network.reserve({ taskId: id, ports: ports("8088:80", "8088:80/udp") });
      await network.attach(id, holder.pid, bound());
      await network.detach(id, bound());
      await network.detach(id, bound());
    };
    await once1(0);
    const first = state();
    for (let number = 1; number <= 200; number += 1) await once1(number);
    assert.equal(state(), first);
    assert.match(readFileSync(join(dir, "reservations.json"), "utf8"), /"reserved":\{\}/);
  });

  test("a change of the kernel that fails is told with the kernel's reason", async (t) => {
    await assert.rejects(network.attach("b".repeat(64), process.pid, bound()), /task b+ has no address reserved/);
    const task = { taskId: "b".repeat(64), ports: ports("8089:80") };
    t.after(() => network.detach(task.taskId, bound()));
    await network.reserve(task);
    const gone = spawn("true");
    await once(gone, "exit");
    await assert.rejects(network.attach(task.taskId, gone.pid ?? 0, bound()), /making or changing a link.*\(E[A-Z]+\)/);
    assert.doesNotMatch(sh("ip -br link show; nft list ruleset"), /tsb|8089/);
  });

  test("what is left of the node's network at its end is nothing, also in the host's firewall", async (t) => {
    sh(
      "nft add table ip filter; nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
    );
    t.after(() => sh("nft delete table ip filter"));
    const { id } = await container(t, "8080:80");
    await check();
    assert.equal(await outside.call({ protocol: "tcp", host: NODE, port: 8080 }), `${id} ${OUTSIDE}`);
    await network.stop({ remove: true }, bound());
    const wire = /^wire@\S+ .*\n/m;
    assert.equal(
      sh("ip -br link show")
        .replace(wire, "")
        .replace(/^lo .*\n/m, ""),
      linksBefore.replace(/^lo .*\n/m, ""),
    );
    assert.doesNotMatch(sh("nft list ruleset"), /tsswarm/);
    assert.equal(clock.pending, 0);
    await once(createServer().listen(8_080, "0.0.0.0").unref(), "listening");
  });

  test("a subnet that a route of the host overlaps is not the node's", async () => {
    rmSync(join(dir, "reservations.json"), { force: true });
    sh(`ip route add 172.30.128.0/20 via ${OUTSIDE}`);
    await network.start(bound());
    const { gateway } = await network.reserve({ taskId: "a".repeat(64), ports: [] });
    assert.equal(gateway, "172.29.0.1");
    await network.stop({ remove: true }, bound());
  });
}

/** br_netfilter shows bridged packets to IP's tables where it is loaded, which changes the way of a packet that comes back. */
function bridgeFilterStates(): readonly { readonly name: string; readonly set: () => void }[] {
  const path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  if (!readdirSync("/proc/sys/net").includes("bridge")) return [{ name: "without br_netfilter", set: () => undefined }];
  return ["0", "1"].map((value) => ({
    name: `with bridge-nf-call-iptables ${value}`,
    set: () => writeFileSync(path, value),
  }));
}

const home = process.env[HOME];
if (home !== undefined) {
  assert.notEqual(home, here, "the tests run in a network namespace of their own");
  tests();
} else {
  const child: ChildProcess = spawn(
    "unshare",
    ["-n", process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)],
    { stdio: "inherit", env: { ...process.env, [HOME]: here } },
  );
  process.once("SIGTERM", () => child.kill());
  const [code] = (await once(child, "exit")) as [number | null];
  process.exitCode = code ?? 1;
}
