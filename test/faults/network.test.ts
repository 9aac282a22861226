// Managers that cannot hear, cannot speak, or neither, under load; and a cluster that lost its majority.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FaultLab, pause } from "./support/fault-lab.ts";

const cluster = await FaultLab.open({ name: "fnet", managers: 3 });

for (const direction of ["in", "out", "both"] as const) {
  test(`the leader is cut off (${direction}) and healed`, async () => {
    await cluster.under(async () => {
      const leader = await cluster.leader();
      await cluster.lab.cut(leader, direction);
      await pause(6_000);
      await cluster.lab.heal(leader);
    });
  });

  test(`a follower is cut off (${direction}) and healed, and the leader stays`, async () => {
    await cluster.under(async () => {
      const leader = await cluster.leader();
      const follower = await cluster.follower();
      await cluster.lab.cut(follower, direction);
      await pause(4_000);
      await cluster.lab.heal(follower);
      await cluster.untilWhole();
      assert.equal(await cluster.leader(), leader);
    });
  });
}

test("without a majority a write is refused with who is missing and what to do; tasks run on, and one more manager mends it", async () => {
  const [kept = "", ...others] = cluster.managers;
  for (const name of others) await cluster.lab.kill(name);
  await pause(4_000);
  const refused = await cluster.lab.tsswarm(kept, ["service", "create", "-d", "--replicas", "0", "tsswarm/demo:1"]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /no leader/);
  assert.match(refused.stderr, /1 of 3 managers/);
  assert.match(refused.stderr, /force-new-cluster/);
  for (const name of others) await cluster.spawn(name);
  await cluster.untilWhole();
  await cluster.tasksAreUntouched();
});
