// Managers over real TLS connections on loopback, with logs on a real disk: a second one joins with the token, calls through it reach
// the leader in the name of who made them, and errors arrive as they were thrown.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { newKeyAndRequest } from "../../../agent/identity-request.ts";
import type { GroupManagerOptions } from "../../../manager/api.ts";
import { Manager } from "../../../manager/index.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { systemRandom } from "../../../proto/base/random.ts";
import { NodeCaService } from "../../../proto/gen/ca.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { DispatcherService } from "../../../proto/gen/dispatcher.ts";
import { NodeRole, NodeSpec_Availability } from "../../../proto/gen/specs.ts";
import { newId } from "../../../proto/model/ids.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { type RpcChannel, tlsChannel } from "../../../proto/rpc/channel.ts";
import { RpcServer } from "../../../proto/rpc/serve.ts";
import { callerOf } from "../../../proto/rpc/tls-caller.ts";
import {
  type ClientSecurity,
  type TlsIdentity,
  anonymousCredentials,
  clientCredentials,
  serverCredentials,
} from "../../../proto/rpc/tls.ts";
import { webSpec } from "../../support/cluster-state.ts";
import { eventually } from "../../support/eventually.ts";
import { LOCAL, never } from "../../support/manager-group.ts";

/** host:port on loopback where nobody listens. */
function freeAddr(): Promise<string> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const at = probe.address();
      probe.close(() => {
        resolve(typeof at === "object" && at !== null ? `127.0.0.1:${at.port}` : "");
      });
    });
  });
}

async function listen(addr: string, identity: TlsIdentity): Promise<RpcServer> {
  const server = new RpcServer({ logger: silentLogger, callerOf });
  await server.listenTls(
    addr,
    serverCredentials(() => identity),
  );
  return server;
}

test("a second manager joins over TLS, passes calls on, and refuses those who may not make them", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-managers-"));
  const ends: (() => Promise<unknown>)[] = [() => rm(dir, { recursive: true })];
  try {
    const options = (addr: string, identity: () => TlsIdentity): GroupManagerOptions => ({
      stateDir: join(dir, addr),
      advertiseAddr: addr,
      dial: (to) => tlsChannel(to, clientCredentials(identity())),
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      segmentBytes: 262_144,
    });
    const serve = (manager: Manager, server: RpcServer): void => {
      const stop = new AbortController();
      manager.register(server);
      const running = manager.run(stop.signal);
      ends.unshift(async () => {
        stop.abort(new Error("the test is over"));
        await server.close(0);
        await running;
        await manager.close();
      });
    };
    const open = (addr: string, security: ClientSecurity): RpcChannel => {
      const channel = tlsChannel(addr, security);
      ends.unshift(() => Promise.try(() => channel.close()));
      return channel;
    };

    const [addr, secondAddr] = [await freeAddr(), await freeAddr()];
    const { csrPem, keyPem } = await newKeyAndRequest();
    const availability = NodeSpec_Availability.ACTIVE;
    const request = { nodeId: newId(systemRandom), spec: undefined, advertiseAddr: addr, availability, csrPem };
    const held: { identity?: TlsIdentity } = {};
    const known = (): TlsIdentity => {
      assert.ok(held.identity !== undefined);
      return held.identity;
    };
    const { made, manager: first } = await Manager.create(options(addr, known), request, never);
    held.identity = { certPem: made.certificatePem, keyPem, caPem: made.caCertificatePem };
    serve(first, await listen(addr, held.identity));
    await eventually(() => first.status().role === "leader");
    const token = (await first.control.getCluster({}, LOCAL)).rootCa?.joinTokenManager ?? "";

    const nobody = open(addr, anonymousCredentials({ caPem: made.caCertificatePem }));
    const key = await newKeyAndRequest();
    const asked = { csrPem: Buffer.from(key.csrPem), token, availability };
    const issued = await createClient(NodeCaService, nobody).issueNodeCertificate(asked, { signal: never });
    assert.equal(issued.role, NodeRole.MANAGER);
    const certPem = Buffer.from(issued.certificatePem).toString();
    const own = { certPem, keyPem: key.keyPem, caPem: made.caCertificatePem };
    const server = await listen(secondAddr, own);
    const joining = { nodeId: issued.nodeId, clusterId: issued.clusterId, managers: [addr] };
    const second = await Manager.join(
      options(secondAddr, () => own),
      joining,
      never,
    );
    serve(second, server);
    await eventually(() => first.status().members.filter((member) => !member.isLearner).length === 2);

    await second.control.createService({ spec: webSpec() }, LOCAL);
    await assert.rejects(second.control.createService({ spec: webSpec() }, LOCAL), { code: "AlreadyExists" });
    const watch = second.control.watch({ kinds: ["service"], serviceId: "", includePresent: true }, LOCAL);
    for await (const { changes } of watch) {
      assert.equal(changes.length, 1);
      break;
    }
    const control = createClient(ControlService, open(secondAddr, clientCredentials(own)));
    assert.equal((await control.listNodes({ filters: [] }, { signal: never })).nodes.length, 2);
    const stranger = open(secondAddr, anonymousCredentials({ caPem: made.caCertificatePem }));
    await assert.rejects(createClient(ControlService, stranger).listNodes({ filters: [] }, { signal: never }), {
      code: "PermissionDenied",
    });
    const bad = { ...asked, token: `${token.slice(0, -3)}000` };
    await assert.rejects(createClient(NodeCaService, stranger).issueNodeCertificate(bad, { signal: never }), {
      code: "PermissionDenied",
      message: /invalid join token/,
    });
    const dispatcher = createClient(DispatcherService, open(secondAddr, clientCredentials(own)));
    const session = dispatcher.session({ description: undefined, sessionId: "" }, { signal: never });
    for await (const { leaderAddr, managers } of session)
      assert.deepEqual([leaderAddr, [...managers].sort()], [addr, [addr, secondAddr].sort()]);
  } finally {
    for (const end of ends) await end();
  }
});
