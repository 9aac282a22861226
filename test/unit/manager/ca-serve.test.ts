// Certificates that are asked for while the store moves on: what is handed out is what the node is by then.

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { NodeRole } from "../../../proto/gen/specs.ts";
import { newKeyAndRequest } from "../../../agent/identity-request.ts";
import { nodeCaHandlers } from "../../../manager/ca/serve.ts";
import { isNotTaken } from "../../../manager/store/not-taken.ts";
import { makeClusterCa } from "../../support/cluster-ca.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const { signal } = new AbortController();

test("a node that is demoted while its certificate is signed gets no manager's certificate", async () => {
  const ca = await makeClusterCa({ seed: 3 });
  const clock = new ManualClock(Date.now());
  const handlers = nodeCaHandlers({ store: ca.store, clock, random: seededRandom(5), logger: silentLogger });
  const { csrPem } = await newKeyAndRequest();
  const request = { csrPem: Buffer.from(csrPem), token: "", availability: 0 as const };
  const stranger = { kind: "anonymous", addr: "10.0.0.9:1" } as const;
  const { nodeId } = await handlers.issueNodeCertificate(
    { ...request, token: ca.managerToken },
    { caller: stranger, signal },
  );
  const caller = { kind: "node", nodeId, role: "manager", clusterId: ca.clusterId, addr: "10.0.0.9:1" } as const;
  const asked = handlers.issueNodeCertificate(request, { caller, signal });
  const refused = assert.rejects(asked, isNotTaken);
  await ca.store.update((tx) => {
    const node = tx.nodes.get(nodeId);
    assert.ok(node !== undefined);
    tx.nodes.update({ ...node, role: NodeRole.WORKER });
  });
  await refused;
  const issued = await handlers.issueNodeCertificate(request, { caller, signal });
  assert.equal(issued.role, NodeRole.WORKER);
});
