// Five managers lose two of them in every way at once and go on with three, under load; nothing acknowledged is lost, nothing stale is read.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FaultLab, pause } from "./support/fault-lab.ts";

const cluster = await FaultLab.open({ name: "ffive", managers: 5 });

/** The leader and one that follows it. */
async function leaderAndFollower(): Promise<readonly [string, string]> {
  const leader = await cluster.leader();
  const follower = cluster.managers.find((name) => name !== leader);
  assert.ok(follower !== undefined);
  return [leader, follower];
}

test("the leader and a follower are killed with -9 together, and the other three go on", async () => {
  await cluster.under(async () => {
    const lost = await leaderAndFollower();
    await Promise.all(lost.map((name) => cluster.lab.kill(name)));
    assert.ok(!lost.includes(await cluster.leader()), "somebody else leads");
    await pause(2_000);
    for (const name of lost) await cluster.spawn(name);
  });
});

test("the leader and a follower stand still for 5 s and go on", async () => {
  await cluster.under(async () => {
    await Promise.all((await leaderAndFollower()).map((name) => cluster.freeze(name, 5_000)));
  });
});

for (const direction of ["in", "both"] as const) {
  test(`the leader and a follower are cut off (${direction}) and healed`, async () => {
    await cluster.under(async () => {
      const lost = await leaderAndFollower();
      for (const name of lost) await cluster.lab.cut(name, direction);
      await pause(6_000);
      for (const name of lost) await cluster.lab.heal(name);
    });
  });
}

test("the leader and a follower lose power, and one more is killed while they come back", async () => {
  await cluster.under(async () => {
    const lost = await leaderAndFollower();
    await Promise.all(lost.map((name) => cluster.lab.powerOff(name)));
    await cluster.leader();
    for (const name of lost) await cluster.spawn(name);
    await cluster.untilWhole();
    const third = await cluster.leader();
    await cluster.lab.kill(third);
    await pause(1_000);
    await cluster.spawn(third);
  });
});

test("all five managers lose power at once", async () => {
  await cluster.under(async () => {
    await pause(1_000);
    await Promise.all(cluster.managers.map((name) => cluster.lab.powerOff(name)));
    await Promise.all(cluster.managers.map((name) => cluster.spawn(name)));
  });
});
