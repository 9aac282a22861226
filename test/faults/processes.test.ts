// Daemons of managers that are killed, stopped and switched off under load: nothing acknowledged is lost, nothing stale is read, and
// tasks run on.

import { test } from "node:test";
import { FaultLab, pause } from "./support/fault-lab.ts";

const cluster = await FaultLab.open({ name: "fproc", managers: 3 });

const PAUSES_MS = [100, 500, 1_000, 3_000, 10_000, 30_000];

test("the leader is killed with -9, three times", async () => {
  await cluster.under(async () => {
    for (let round = 0; round < 3; round += 1) {
      const leader = await cluster.leader();
      await cluster.lab.kill(leader);
      await pause(1_500);
      await cluster.spawn(leader);
      await cluster.untilWhole();
    }
  });
});

test("a follower is killed with -9 and comes back", async () => {
  await cluster.under(async () => {
    const follower = await cluster.follower();
    await cluster.lab.kill(follower);
    await pause(1_000);
    await cluster.spawn(follower);
  });
});

for (const ms of PAUSES_MS) {
  test(`the leader stands still for ${ms} ms and goes on`, async () => {
    await cluster.under(async () => cluster.freeze(await cluster.leader(), ms));
  });
}

test("all managers lose power at once, three times", async () => {
  for (let round = 0; round < 3; round += 1) {
    await cluster.under(async () => {
      await pause(1_000);
      await Promise.all(cluster.managers.map((name) => cluster.lab.powerOff(name)));
      await Promise.all(cluster.managers.map((name) => cluster.spawn(name)));
    });
  }
});
