// What the flags of `swarm update` make of the cluster's settings.

import assert from "node:assert/strict";
import { test } from "node:test";
import { changedCluster } from "../../../deploy/cli/swarm/update.ts";
import { ClusterSpec } from "../../../proto/gen/specs.ts";

const before = ClusterSpec.create({ name: "default", heartbeatPeriodMs: 7_000, taskHistoryLimit: 3 });

test("swarm update changes what its flags name and nothing else", () => {
  assert.deepEqual(changedCluster(before, {}), before);
  assert.deepEqual(changedCluster(before, { taskHistoryLimit: "0" }), { ...before, taskHistoryLimit: 0 });
  const changed = changedCluster(before, { certExpiry: "48h", dispatcherHeartbeat: "10s" });
  assert.deepEqual(changed, { ...before, nodeCertExpiryMs: 172_800_000, heartbeatPeriodMs: 10_000 });
});

test("swarm update refuses a history limit that is no whole number", () => {
  for (const taskHistoryLimit of ["-1", "many", "1.5", ""])
    assert.throws(() => changedCluster(before, { taskHistoryLimit }), /--task-history-limit/);
});
