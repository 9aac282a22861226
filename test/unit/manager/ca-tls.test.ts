// TLS between nodes over loopback: which versions, roots and certificates are let in, and as whom.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { type TLSSocket, connect, createSecureContext } from "node:tls";
import { ChannelCredentials } from "@grpc/grpc-js";
import { type Clock, systemClock } from "../../../proto/base/clock.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { NodeCaService } from "../../../proto/gen/ca.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { tlsChannel } from "../../../proto/rpc/channel.ts";
import {
  type ClientSecurity,
  type TlsIdentity,
  anonymousCredentials,
  clientCredentials,
  uncheckedCredentials,
} from "../../../proto/rpc/tls.ts";
import { newKeyAndRequest } from "../../../agent/identity-request.ts";
import { type CaServer, type ClusterCa, makeClusterCa, serveCa } from "../../support/cluster-ca.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

const { signal } = new AbortController();

async function withServer(
  body: (server: CaServer, ca: ClusterCa) => Promise<void>,
  clock: Clock = systemClock,
): Promise<void> {
  const ca = await makeClusterCa({ seed: 1 });
  const server = await serveCa(ca, clock);
  try {
    await body(server, ca);
  } finally {
    await server.close();
  }
}

/** A renewal, which needs a certificate: answers the node's id, or throws. */
async function renew(server: CaServer, security: ClientSecurity): Promise<string> {
  const channel = tlsChannel(server.address, security);
  try {
    const { csrPem } = await newKeyAndRequest();
    const request = { csrPem: Buffer.from(csrPem), token: "", availability: 0 as const };
    return (await createClient(NodeCaService, channel).issueNodeCertificate(request, { signal, timeoutMs: 3_000 }))
      .nodeId;
  } finally {
    channel.close();
  }
}

async function fetchRoot(server: CaServer, security: ClientSecurity): Promise<string> {
  const channel = tlsChannel(server.address, security);
  try {
    const client = createClient(NodeCaService, channel);
    return Buffer.from((await client.getRootCaCertificate({}, { signal, timeoutMs: 3_000 })).certificatePem).toString();
  } finally {
    channel.close();
  }
}

/** The protocol of a bare TLS connection, or the error's code. */
function handshake(
  server: CaServer,
  options: object,
): Promise<{ readonly result: string; readonly peer?: X509Certificate }> {
  const [host, port] = server.address.split(":");
  return new Promise((resolve) => {
    const socket: TLSSocket = connect(
      { host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"], ...options },
      () => {
        const peer = socket.getPeerX509Certificate();
        resolve({ result: socket.getProtocol() ?? "", ...(peer !== undefined && { peer }) });
        socket.destroy();
      },
    );
    socket.on("error", (error: NodeJS.ErrnoException) => resolve({ result: error.code ?? error.message }));
  });
}

function refusedWith(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => isSwarmError(error) && error.code === code && message.test(error.message);
}

test("TLS 1.3 is spoken and TLS 1.2 is refused", async () => {
  await withServer(async (server) => {
    assert.equal((await handshake(server, { minVersion: "TLSv1.3" })).result, "TLSv1.3");
    assert.match((await handshake(server, { maxVersion: "TLSv1.2" })).result, /ALERT_PROTOCOL_VERSION/);
  });
});

test("a node is known by its certificate", async () => {
  await withServer(async (server, ca) => {
    const identity = await ca.certify({ role: "worker", nodeId: "n".repeat(25) });
    // It has a certificate, but the cluster does not have the node: the sentence shows who the server took it for.
    await assert.rejects(
      renew(server, clientCredentials(identity)),
      refusedWith("PermissionDenied", /node n{25} is not, or is no longer, a member/),
    );
  });
});

test("a caller without a certificate is nobody: it may fetch the root and not renew", async () => {
  await withServer(async (server, ca) => {
    const security = anonymousCredentials({ caPem: ca.root.certPem });
    assert.equal(await fetchRoot(server, security), ca.root.certPem);
    await assert.rejects(renew(server, security), refusedWith("Unauthenticated", /a join token is needed/));
  });
});

test("a certificate of another cluster is refused, and not taken for nobody", async () => {
  await withServer(async (server, ca) => {
    const foreign = await (await makeClusterCa({ seed: 2 })).certify({ role: "manager" });
    const security = clientCredentials({ ...foreign, caPem: ca.root.certPem });
    await assert.rejects(fetchRoot(server, security), refusedWith("Unauthenticated", /not one of this cluster/));
  });
});

test("an expired certificate is refused, and not taken for nobody", async () => {
  await withServer(async (server, ca) => {
    const expired = await ca.certify({ role: "worker", expiryMs: -60_000 });
    await assert.rejects(fetchRoot(server, clientCredentials(expired)), refusedWith("Unauthenticated", /has expired/));
  });
});

test("a certificate that expires while its connection stands is refused from then on", async () => {
  const clock = new ManualClock(systemClock.now());
  await withServer(async (server, ca) => {
    const identity = await ca.certify({ role: "worker", expiryMs: 3_600_000 });
    const channel = tlsChannel(server.address, clientCredentials(identity));
    try {
      const client = createClient(NodeCaService, channel);
      await client.getRootCaCertificate({}, { signal });
      await clock.advance(3_700_000);
      await assert.rejects(client.getRootCaCertificate({}, { signal }), refusedWith("Unauthenticated", /has expired/));
    } finally {
      channel.close();
    }
  }, clock);
});

test("a client refuses a server of another cluster, and one that is no manager", async () => {
  await withServer(async (server, ca) => {
    const other = await makeClusterCa({ seed: 2 });
    await assert.rejects(
      fetchRoot(server, anonymousCredentials({ caPem: other.root.certPem })),
      refusedWith("Unavailable", /self-signed|unable to (verify|get)/i),
    );
    server.use(await ca.certify({ role: "worker" }));
    await assert.rejects(
      fetchRoot(server, anonymousCredentials({ caPem: ca.root.certPem })),
      refusedWith("Unavailable", /is not that of a manager/),
    );
  });
});

test("an unchecked connection reaches any server, to ask which cluster it is of", async () => {
  await withServer(async (server, ca) => {
    assert.equal(await fetchRoot(server, uncheckedCredentials()), ca.root.certPem);
  });
});

test("a self-made certificate with a manager's name is refused", async () => {
  await withServer(async (server, ca) => {
    const impostor = await makeClusterCa({ seed: 5 });
    const identity: TlsIdentity = await impostor.certify({ role: "manager" });
    const context = createSecureContext({
      cert: identity.certPem,
      key: identity.keyPem,
      ca: ca.root.certPem,
      minVersion: "TLSv1.3",
    });
    const credentials = ChannelCredentials.createFromSecureContext(context, { rejectUnauthorized: false });
    await assert.rejects(
      renew(server, { credentials, options: { "grpc.ssl_target_name_override": "anything" } }),
      refusedWith("Unauthenticated", /not one of this cluster/),
    );
  });
});

test("after a renewal new connections see the new certificate and old ones go on", async () => {
  await withServer(async (server, ca) => {
    const channel = tlsChannel(server.address, anonymousCredentials({ caPem: ca.root.certPem }));
    try {
      const client = createClient(NodeCaService, channel);
      await client.getRootCaCertificate({}, { signal });
      const before = await handshake(server, {});
      const next = await ca.certify({ role: "manager" });
      server.use(next);
      const after = await handshake(server, {});
      assert.notEqual(after.peer?.serialNumber, before.peer?.serialNumber);
      assert.equal(after.peer?.serialNumber, new X509Certificate(next.certPem).serialNumber);
      await client.getRootCaCertificate({}, { signal });
      await settled();
    } finally {
      channel.close();
    }
  });
});
