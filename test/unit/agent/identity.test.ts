// A node's identity: joining over a real TLS connection, what is on disk afterwards and after crashes, and renewal on a clock
// that the test moves.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../../../proto/base/clock.ts";
import { SwarmError, isSwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { NodeSpec_Availability } from "../../../proto/gen/specs.ts";
import { tlsChannel } from "../../../proto/rpc/channel.ts";
import { removeIdentity } from "../../../agent/identity-files.ts";
import { type Dial, type JoinOptions, joinCluster, renewingIssuer } from "../../../agent/identity-join.ts";
import { type Issuer, NodeIdentity, renewalAt } from "../../../agent/identity.ts";
import { Authority } from "../../../manager/ca/authority.ts";
import { type CaServer, type ClusterCa, makeClusterCa, serveCa } from "../../support/cluster-ca.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

const { signal } = new AbortController();
const HOUR_MS = 3_600_000;
/** How far the test moves the clock at a time. */
const NAP_MS = HOUR_MS;

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const base = await mkdtemp(join(tmpdir(), "tsswarm-identity-"));
  try {
    await body(join(base, "node"));
  } finally {
    await rm(base, { recursive: true });
  }
}

function options(dir: string, clock = systemClock): Parameters<typeof NodeIdentity.load>[0] {
  return { dir, clock, random: seededRandom(5), logger: silentLogger };
}

function joining(dir: string, server: CaServer, token: string, dial: Dial = tlsChannel): JoinOptions {
  return {
    ...options(dir),
    remotes: [server.address],
    token,
    availability: NodeSpec_Availability.DRAIN,
    dial,
  };
}

async function withCluster(
  body: (cluster: { ca: ClusterCa; server: CaServer; dir: string }) => Promise<void>,
): Promise<void> {
  const ca = await makeClusterCa({ seed: 1 });
  const server = await serveCa(ca);
  try {
    await withDir((dir) => body({ ca, server, dir }));
  } finally {
    await server.close();
  }
}

function refusedWith(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => isSwarmError(error) && error.code === code && message.test(error.message);
}

/** Signs with a root of its own, at the clock's time. */
async function localIssuer(clock: ManualClock, expiryMs: number): Promise<Issuer> {
  const ca = await makeClusterCa({ seed: 3, clock });
  const authority = await Authority.open({ clock, random: seededRandom(8) }, ca.root);
  return async (csrPem) => {
    const subject = { nodeId: "n".repeat(25), role: "manager", clusterId: ca.clusterId, expiryMs } as const;
    return { certPem: (await authority.issue(csrPem, subject)).certPem, caPem: ca.root.certPem };
  };
}

test("a node joins with the worker token, is in the store, and knows itself after a restart", async () => {
  await withCluster(async ({ ca, server, dir }) => {
    const identity = await joinCluster(joining(dir, server, ca.workerToken), signal);
    assert.equal(identity.facts.role, "worker");
    assert.equal(identity.facts.clusterId, ca.clusterId);
    const node = ca.store.view().nodes.get(identity.facts.nodeId);
    assert.equal(node?.spec.availability, NodeSpec_Availability.DRAIN);
    assert.equal(node.certExpiresAtMs, identity.facts.expiresAtMs);
    assert.deepEqual((await readdir(dir)).sort(), ["ca.pem", "cert.pem", "key.pem", "node.json"]);
    for (const name of await readdir(dir)) assert.equal((await stat(join(dir, name))).mode & 0o777, 0o600, name);
    const again = await NodeIdentity.load(options(dir));
    assert.deepEqual(again?.facts, identity.facts);
    assert.deepEqual(again.tls, identity.tls);
    assert.deepEqual(again.managers, [server.address]);
    await assert.rejects(
      joinCluster(joining(dir, server, ca.workerToken), signal),
      refusedWith("FailedPrecondition", /already part of a swarm/),
    );
    await removeIdentity(dir);
    assert.equal(await NodeIdentity.load(options(dir)), undefined);
  });
});

test("a wrong, old or foreign token is refused with a sentence, and nothing is left", async () => {
  await withCluster(async ({ ca, server, dir }) => {
    const wrong = `${ca.workerToken.slice(0, -3)}000`;
    const foreign = (await makeClusterCa({ seed: 2 })).workerToken;
    const cases: readonly (readonly [string, string, RegExp])[] = [
      ["hello", "InvalidArgument", /does not begin with SWMTKN-1-/],
      [wrong, "PermissionDenied", /invalid join token/],
      [foreign, "PermissionDenied", /belongs to another cluster/],
    ];
    for (const [token, code, message] of cases) {
      await assert.rejects(async () => joinCluster(joining(dir, server, token), signal), refusedWith(code, message));
    }
    const left = await readdir(dir);
    assert.deepEqual(left, []);
    assert.equal([...ca.store.view().nodes.all()].length, 0);
  });
});

test("the token is never sent to a server of another cluster", async () => {
  await withCluster(async ({ server, dir }) => {
    const foreign = (await makeClusterCa({ seed: 2 })).workerToken;
    const dialled: string[] = [];
    const dial: Dial = (address, security) => {
      dialled.push(address);
      return tlsChannel(address, security);
    };
    await assert.rejects(
      joinCluster(joining(dir, server, foreign, dial), signal),
      refusedWith("PermissionDenied", /./),
    );
    assert.equal(dialled.length, 1, "only the root certificate was asked for");
  });
});

test("a manager that does not answer is passed over, and none answering is an error that names them", async () => {
  await withCluster(async ({ ca, server, dir }) => {
    const dead = "127.0.0.1:1";
    const join = { ...joining(dir, server, ca.workerToken), remotes: [dead] };
    await assert.rejects(joinCluster(join, signal), refusedWith("Unavailable", /Cannot connect to 127\.0\.0\.1:1/));
    const identity = await joinCluster({ ...join, remotes: [dead, server.address] }, signal);
    assert.equal(identity.facts.role, "worker");
  });
});

test("a node renews with its certificate, under the same id, with a new key; a removed one does not", async () => {
  await withCluster(async ({ ca, server, dir }) => {
    const identity = await joinCluster(joining(dir, server, ca.workerToken), signal);
    const issuer = renewingIssuer(() => identity, { addresses: () => [server.address], dial: tlsChannel });
    const before = identity.tls;
    let changes = 0;
    identity.onChange(() => (changes += 1));
    await identity.renew(issuer, signal);
    assert.equal(changes, 1);
    assert.notEqual(identity.tls.keyPem, before.keyPem);
    assert.notEqual(identity.tls.certPem, before.certPem);
    assert.equal(new X509Certificate(identity.tls.certPem).subject, new X509Certificate(before.certPem).subject);
    assert.deepEqual((await NodeIdentity.load(options(dir)))?.tls, identity.tls);
    await ca.store.update((tx) => tx.nodes.remove(identity.facts.nodeId));
    const kept = identity.tls;
    await assert.rejects(identity.renew(issuer, signal), refusedWith("PermissionDenied", /no longer, a member/));
    assert.deepEqual((await NodeIdentity.load(options(dir)))?.tls, kept);
  });
});

test("a crash between any two steps of a renewal leaves a key that fits the certificate", async () => {
  await withDir(async (dir) => {
    const issuer = await localIssuer(new ManualClock(systemClock.now()), HOUR_MS);
    const identity = await NodeIdentity.create(options(dir), { issuer, managers: [] }, signal);
    const old = identity.tls;
    await writeFile(join(dir, "key.next.pem"), "not a key yet");
    assert.deepEqual((await NodeIdentity.load(options(dir)))?.tls, old);
    await identity.renew(issuer, signal);
    // As if the power had gone after the certificate was written and before the key got its name.
    await rename(join(dir, "key.pem"), join(dir, "key.next.pem"));
    await writeFile(join(dir, "key.pem"), old.keyPem);
    assert.deepEqual((await NodeIdentity.load(options(dir)))?.tls, identity.tls);
    assert.equal(await readFile(join(dir, "key.pem"), "utf8"), identity.tls.keyPem);
    await writeFile(join(dir, "key.pem"), old.keyPem);
    await assert.rejects(
      NodeIdentity.load(options(dir)),
      refusedWith("FailedPrecondition", /no key in it belongs to cert.pem.*swarm leave --force/),
    );
  });
});

test("renewal falls between half and four fifths of a certificate's life", () => {
  const random = seededRandom(1);
  const times = Array.from({ length: 500 }, () => renewalAt({ issuedAtMs: 1_000, expiresAtMs: 2_000 }, random));
  assert.ok(times.every((atMs) => atMs >= 1_500 && atMs <= 1_800));
  assert.ok(Math.min(...times) < 1_510 && Math.max(...times) > 1_790);
});

test("the loop renews in time over a life of 90 days, and goes on after failures", async () => {
  await withDir(async (dir) => {
    const clock = new ManualClock(systemClock.now());
    const lifeMs = 90 * 24 * HOUR_MS;
    const sign = await localIssuer(clock, lifeMs);
    const identity = await NodeIdentity.create({ ...options(dir), clock }, { issuer: sign, managers: [] }, signal);
    let asked = 0;
    const renewedAt: number[] = [];
    const renewed = new Promise<void>((resolve) => {
      identity.onChange(() => {
        renewedAt.push(clock.now());
        resolve();
      });
    });
    const stop = new AbortController();
    const startMs = clock.now();
    const running = identity.run((csrPem, until) => {
      asked += 1;
      if (asked <= 3) throw new SwarmError("Unavailable", "no manager answers");
      return sign(csrPem, until);
    }, stop.signal);
    const ended = assert.rejects(running, /enough/);
    await clock.advance(lifeMs * 0.49);
    assert.equal(asked, 0, "nothing was asked for in the first half of the life");
    // The clock moves only while the loop sleeps: making a key and writing it take real time.
    for (let steps = 0; renewedAt.length === 0;) {
      if (clock.pending === 0) await settled(1);
      else await clock.advance(NAP_MS);
      steps += clock.pending === 0 ? 0 : 1;
      assert.ok(steps < 2_000, "the loop renews at last");
    }
    await renewed;
    assert.equal(asked, 4);
    assert.ok((renewedAt[0] ?? 0) - startMs <= lifeMs * 0.81);
    assert.ok(identity.facts.expiresAtMs > startMs + lifeMs);
    stop.abort(new Error("enough"));
    await ended;
    assert.equal(clock.pending, 0);
  });
});

test("a node that is given another role renews at once, and asks no more when it has it", async () => {
  await withDir(async (dir) => {
    const clock = new ManualClock(systemClock.now());
    const ca = await makeClusterCa({ seed: 3, clock });
    const authority = await Authority.open({ clock, random: seededRandom(8) }, ca.root);
    let role: "worker" | "manager" = "worker";
    let asked = 0;
    const sign: Issuer = async (csrPem) => {
      asked += 1;
      const subject = { nodeId: "n".repeat(25), role, clusterId: ca.clusterId, expiryMs: HOUR_MS };
      return { certPem: (await authority.issue(csrPem, subject)).certPem, caPem: ca.root.certPem };
    };
    const identity = await NodeIdentity.create({ ...options(dir), clock }, { issuer: sign, managers: [] }, signal);
    const stop = new AbortController();
    const ended = assert.rejects(identity.run(sign, stop.signal), /enough/);
    identity.expectRole("worker");
    await settled(1);
    assert.equal(asked, 1);
    role = "manager";
    const changed = new Promise<void>((resolve) => void identity.onChange(resolve));
    identity.expectRole("manager");
    await changed;
    assert.equal(identity.facts.role, "manager");
    identity.expectRole("manager");
    // Said before the renewal and heard after it: the answer decides.
    const once = new Promise<void>((resolve) => void identity.onChange(resolve));
    identity.expectRole("worker");
    await once;
    assert.equal(identity.facts.role, "manager");
    await settled(1);
    assert.equal(asked, 3);
    stop.abort(new Error("enough"));
    await ended;
    assert.equal(clock.pending, 0);
  });
});
