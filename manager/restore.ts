// From a backup to the first state of a new group: the saved state, with this node as its only manager and a fresh certificate for
// it. Services, tasks, workers, tokens and the certificate authority are as they were.

import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, errorText } from "../proto/base/errors.ts";
import type { Random } from "../proto/base/random.ts";
import { ManagerStatus_Reachability, Node } from "../proto/gen/objects.ts";
import { NodeRole, NodeSpec } from "../proto/gen/specs.ts";
import { DEFAULTS } from "../proto/model/defaults.ts";
import { wholeNode } from "../proto/model/objects.ts";
import type { RestoreGroup } from "./api.ts";
import { type Backup, decodeBackup } from "./backup.ts";
import type { Bootstrapped } from "./bootstrap.ts";
import { Authority } from "./ca/authority.ts";
import { draftStore } from "./found.ts";
import type { Store } from "./store/store.ts";

/** Throws InvalidArgument for what is no whole backup, and for a bad signing request. */
export async function restoreGroup(
  parts: { readonly clock: Clock; readonly random: Random; readonly advertiseAddr: string },
  request: RestoreGroup,
): Promise<{ readonly draft: Store; readonly made: Bootstrapped }> {
  const { advertiseAddr, clock, random } = parts;
  const backup = await decodeBackup(request.backup);
  const draft = savedStore(clock, backup);
  const [cluster] = draft.view().clusters.all();
  if (cluster?.id !== backup.clusterId)
    throw new SwarmError("InvalidArgument", "the backup cannot be used: it does not hold the cluster that it names");
  const { caCertPem, caKeyPem, joinTokenWorker } = cluster.rootCa;
  const caCertificatePem = Buffer.from(caCertPem).toString();
  const authority = await Authority.open(
    { clock, random },
    { keyPem: Buffer.from(caKeyPem).toString(), certPem: caCertificatePem },
  );
  const issued = await authority.issue(request.csrPem, {
    nodeId: request.nodeId,
    role: "manager",
    clusterId: cluster.id,
    expiryMs: cluster.spec.nodeCertExpiryMs ?? DEFAULTS.nodeCertExpiryMs,
  });
  await draft.update((tx) => {
    for (const node of tx.nodes.all()) {
      if (node.id === request.nodeId || (node.spec.role === NodeRole.WORKER && node.role === NodeRole.WORKER)) continue;
      const spec = { ...node.spec, role: NodeRole.WORKER };
      tx.nodes.update({ ...node, spec, role: NodeRole.WORKER, managerStatus: undefined });
    }
    const known = tx.nodes.get(request.nodeId);
    const self = {
      ...(known ?? wholeNode({ ...Node.create(), id: request.nodeId })),
      spec: {
        ...(known?.spec ?? { ...NodeSpec.create(), availability: request.availability }),
        role: NodeRole.MANAGER,
      },
      role: NodeRole.MANAGER,
      managerStatus: { addr: advertiseAddr, leader: false, reachability: ManagerStatus_Reachability.UNKNOWN },
      certExpiresAtMs: issued.notAfterMs,
    };
    if (known === undefined) tx.nodes.create(self);
    else tx.nodes.update(self);
  });
  return {
    draft,
    made: {
      nodeId: request.nodeId,
      clusterId: cluster.id,
      certificatePem: issued.certPem,
      caCertificatePem,
      certExpiresAtMs: issued.notAfterMs,
      joinTokenWorker,
    },
  };
}

function savedStore(clock: Clock, { index, state }: Backup): Store {
  try {
    return draftStore(clock, { bytes: state, index });
  } catch (error) {
    throw new SwarmError(
      "InvalidArgument",
      `the backup cannot be used: its state cannot be read: ${errorText(error)}`,
      {
        cause: error,
      },
    );
  }
}
