// Managers as one group: any of them answers, a lost leader is replaced within a command, roles change while everything runs, and the
// state survives whatever the members do. Real logs, disks in memory, a clock that the test moves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeRole } from "../../../proto/gen/specs.ts";
import { webSpec } from "../../support/cluster-state.ts";
import { LOCAL, ManagerGroup } from "../../support/manager-group.ts";

test("three managers become one group, and any of them takes writes and answers with the newest state", async () => {
  const group = await ManagerGroup.of(3, { seed: 1 });
  const { nodes } = await group.settle(group.managerOf("m2").control.listNodes({ filters: [] }, LOCAL));
  assert.deepEqual(
    nodes.map((node) => [node.managerStatus?.addr, node.managerStatus?.leader, node.role === NodeRole.MANAGER]).sort(),
    [
      ["10.0.0.1:2377", true, true],
      ["10.0.0.2:2377", false, true],
      ["10.0.0.3:2377", false, true],
    ],
  );
  const { service } = await group.settle(group.managerOf("m3").control.createService({ spec: webSpec() }, LOCAL));
  for (const name of ["m1", "m2", "m3"]) {
    const found = await group.settle(group.managerOf(name).control.getService({ ref: "web" }, LOCAL));
    assert.equal(found.id, service?.id);
  }
  await group.close();
});
