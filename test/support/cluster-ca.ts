// A manager's certificate side for tests: a root, a store with the cluster in it, and a TLS listener that serves NodeCa.

import type { Clock } from "../../proto/base/clock.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { silentLogger } from "../../proto/base/log.ts";
import { seededRandom } from "../../proto/base/random.ts";
import { NodeCaService } from "../../proto/gen/ca.ts";
import { Cluster } from "../../proto/gen/objects.ts";
import { newId } from "../../proto/model/ids.ts";
import { wholeCluster } from "../../proto/model/objects.ts";
import { RpcServer } from "../../proto/rpc/serve.ts";
import { callerOf } from "../../proto/rpc/tls-caller.ts";
import { type NodeRoleName, type TlsIdentity, serverCredentials } from "../../proto/rpc/tls.ts";
import { newKeyAndRequest } from "../../agent/identity-request.ts";
import { Authority, type Root, createRoot } from "../../manager/ca/authority.ts";
import { nodeCaHandlers } from "../../manager/ca/serve.ts";
import { rootCaObject } from "../../manager/ca/tokens.ts";
import type { Proposer } from "../../manager/store/proposer.ts";
import { Store } from "../../manager/store/store.ts";

export interface ClusterCa {
  readonly root: Root;
  readonly clusterId: string;
  readonly store: Store;
  readonly workerToken: string;
  readonly managerToken: string;
  /** A certificate with a key of its own. */
  certify(subject: {
    readonly role: NodeRoleName;
    readonly nodeId?: string;
    readonly expiryMs?: number;
  }): Promise<TlsIdentity>;
}

export async function makeClusterCa(options: { readonly seed: number; readonly clock?: Clock }): Promise<ClusterCa> {
  const sources = { clock: options.clock ?? systemClock, random: seededRandom(options.seed) };
  const root = await createRoot(sources);
  const authority = await Authority.open(sources, root);
  const store = new Store({ now: () => sources.clock.now() });
  store.attach(immediate());
  const clusterId = newId(sources.random);
  const rootCa = rootCaObject(root, sources.random);
  await store.update((tx) => tx.clusters.create(wholeCluster(Cluster.create({ id: clusterId, rootCa }))));
  return {
    root,
    clusterId,
    store,
    workerToken: rootCa.joinTokenWorker,
    managerToken: rootCa.joinTokenManager,
    certify: async ({ role, nodeId = newId(sources.random), expiryMs = 3_600_000 }) => {
      const { keyPem, csrPem } = await newKeyAndRequest();
      const { certPem } = await authority.issue(csrPem, { role, nodeId, clusterId, expiryMs });
      return { certPem, keyPem, caPem: root.certPem };
    },
  };
}

export interface CaServer {
  readonly address: string;
  /** What the listener shows from the next reload on. */
  use(identity: TlsIdentity): void;
  close(): Promise<void>;
}

/** Serves NodeCa on loopback, with a certificate of a manager. */
export async function serveCa(ca: ClusterCa, clock: Clock = systemClock): Promise<CaServer> {
  let identity = await ca.certify({ role: "manager" });
  const credentials = serverCredentials(() => identity);
  const server = new RpcServer({ logger: silentLogger, callerOf: (call) => callerOf(call, clock) });
  const anyone = ["anonymous", "worker", "manager"] as const;
  server.add(NodeCaService, nodeCaHandlers({ store: ca.store, clock, random: seededRandom(7), logger: silentLogger }), {
    getRootCaCertificate: anyone,
    issueNodeCertificate: anyone,
  });
  const port = await server.listenTls("127.0.0.1:0", credentials);
  return {
    address: `127.0.0.1:${port}`,
    use: (next) => {
      identity = next;
      credentials.reload();
    },
    close: () => server.close(100),
  };
}

/** A log that forgets: every change is committed at once. */
function immediate(): Proposer {
  let index = 0;
  return {
    propose: (_changes, onCommit) => {
      index += 1;
      onCommit(index);
      return Promise.resolve({ kind: "committed", index });
    },
  };
}
