// The cluster object: read, settings, join tokens. The CA's key never leaves; tokens go to operators alone.

import { SwarmError } from "../../proto/base/errors.ts";
import type { UpdateClusterRequest } from "../../proto/gen/control.ts";
import type { Cluster, RootCa } from "../../proto/gen/objects.ts";
import type { WholeCluster } from "../../proto/model/objects.ts";
import type { CallContext, Caller } from "../../proto/rpc/caller.ts";
import type { Store } from "../store/store.ts";
import type { ReadTx } from "../store/tx.ts";
import { checkVersion } from "./versions.ts";
import { validateClusterSpec } from "./validate-node.ts";

export interface ClusterDeps {
  readonly store: Store;
  /** The root with fresh tokens for these roles. */
  readonly rotateTokens: (rootCa: RootCa, roles: readonly ("worker" | "manager")[]) => RootCa;
}

export function getCluster({ store }: ClusterDeps, { caller }: CallContext): Cluster {
  return withoutSecrets(theCluster(store.view()), caller);
}

/** Throws OutOfSequence for a stale version. Rotating a token ends the old one for joins to come. */
export async function updateCluster(
  { store, rotateTokens }: ClusterDeps,
  request: UpdateClusterRequest,
  { caller }: CallContext,
): Promise<Cluster> {
  if (request.spec !== undefined) validateClusterSpec(request.spec);
  await store.update((tx) => {
    const cluster = theCluster(tx);
    checkVersion({ found: cluster.meta.version, asked: request.version });
    const { spec, rotateWorkerToken, rotateManagerToken } = request;
    tx.clusters.update({
      ...cluster,
      spec: spec === undefined ? cluster.spec : { ...spec, name: spec.name || cluster.spec.name },
      rootCa: rotateTokens(cluster.rootCa, [
        ...(rotateWorkerToken ? (["worker"] as const) : []),
        ...(rotateManagerToken ? (["manager"] as const) : []),
      ]),
    });
  });
  return withoutSecrets(theCluster(store.view()), caller);
}

/** The one cluster object. */
function theCluster(view: ReadTx): WholeCluster {
  const [cluster] = view.clusters.all();
  if (cluster === undefined) throw new SwarmError("FailedPrecondition", "this node is not a swarm manager yet");
  return cluster;
}

/** What may leave the managers: never the CA's key; the tokens only for those who may let nodes in. */
export function withoutSecrets(cluster: WholeCluster, caller: Caller): Cluster {
  const operator = caller.kind === "local" || (caller.kind === "node" && caller.role === "manager");
  return {
    ...cluster,
    rootCa: {
      ...cluster.rootCa,
      caKeyPem: Buffer.alloc(0),
      ...(!operator && { joinTokenWorker: "", joinTokenManager: "" }),
    },
  };
}
