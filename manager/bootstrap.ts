// The first moment of a cluster: its object with a new certificate authority and join tokens, and its first node, which is its
// manager. Both are written in one transaction, so that there is a whole cluster or none.

import type { Clock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import type { Random } from "../proto/base/random.ts";
import { Cluster, ManagerStatus_Reachability, Node } from "../proto/gen/objects.ts";
import { ClusterSpec, NodeRole, NodeSpec, type NodeSpec_Availability } from "../proto/gen/specs.ts";
import { DEFAULTS } from "../proto/model/defaults.ts";
import { newId } from "../proto/model/ids.ts";
import { wholeCluster, wholeNode } from "../proto/model/objects.ts";
import { Authority, createRoot } from "./ca/authority.ts";
import { rootCaObject } from "./ca/tokens.ts";
import { validateClusterSpec, validateNodeSpec } from "./control/validate-node.ts";
import type { Store } from "./store/store.ts";

export interface Bootstrap {
  /** Id of the first node; a fresh one (proto/model/ids.ts). */
  readonly nodeId: string;
  /** Absent: all defaults. */
  readonly spec: ClusterSpec | undefined;
  /** host:port where others reach this manager. */
  readonly advertiseAddr: string;
  readonly availability: NodeSpec_Availability;
  /** Of the first node's key. */
  readonly csrPem: string;
}

/** All PEM. */
export interface Bootstrapped {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly certificatePem: string;
  readonly caCertificatePem: string;
  readonly certExpiresAtMs: number;
  readonly joinTokenWorker: string;
}

const CLUSTER_NAME = "default";

export async function bootstrap(
  parts: { readonly store: Store; readonly clock: Clock; readonly random: Random },
  request: Bootstrap,
): Promise<Bootstrapped> {
  const { store, clock, random } = parts;
  const spec = { ...(request.spec ?? ClusterSpec.create()) };
  const nodeSpec = { ...NodeSpec.create(), role: NodeRole.MANAGER, availability: request.availability };
  validateClusterSpec(spec);
  validateNodeSpec(nodeSpec);
  const clusterId = newId(random);
  const root = await createRoot({ clock, random });
  const authority = await Authority.open({ clock, random }, root);
  const issued = await authority.issue(request.csrPem, {
    nodeId: request.nodeId,
    role: "manager",
    clusterId,
    expiryMs: spec.nodeCertExpiryMs ?? DEFAULTS.nodeCertExpiryMs,
  });
  const rootCa = rootCaObject(root, random);
  const managerStatus = {
    addr: request.advertiseAddr,
    leader: true,
    reachability: ManagerStatus_Reachability.REACHABLE,
  };
  await store.update((tx) => {
    if (tx.clusters.all().length > 0)
      throw new SwarmError("FailedPrecondition", "this node's state holds a cluster already; leave it first");
    tx.clusters.create(
      wholeCluster({ ...Cluster.create(), id: clusterId, spec: { ...spec, name: spec.name || CLUSTER_NAME }, rootCa }),
    );
    tx.nodes.create(
      wholeNode({
        ...Node.create(),
        id: request.nodeId,
        spec: nodeSpec,
        role: NodeRole.MANAGER,
        managerStatus,
        certExpiresAtMs: issued.notAfterMs,
      }),
    );
  });
  return {
    nodeId: request.nodeId,
    clusterId,
    certificatePem: issued.certPem,
    caCertificatePem: root.certPem,
    certExpiresAtMs: issued.notAfterMs,
    joinTokenWorker: rootCa.joinTokenWorker,
  };
}
