// Random faults under a group of managers with real stores: messages lost, members killed and restarted, disks slow and full,
// leadership passed around. The stores assert their contract with the log; at the end all agree, and what was told holds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Random, seededRandom } from "../../../proto/base/random.ts";
import { type GroupMember, LogGroup } from "../../support/log-group.ts";

const SEEDS = 12;
const STEPS = 120;

interface Told {
  readonly committed: Set<string>;
  readonly dropped: Set<string>;
}

/** Proposes several changes at once, without waiting; notes what each is told. */
function proposeSome(group: LogGroup, member: GroupMember, told: Told, count: number): Promise<void>[] {
  return Array.from({ length: count }, async () => {
    const { id, outcome } = group.begin(member);
    const fate = await outcome;
    if (fate === "committed") told.committed.add(id);
    else if (fate === "dropped") told.dropped.add(id);
  });
}

async function disturb(group: LogGroup, random: Random, killed: GroupMember[]): Promise<void> {
  const members = [...group.members.values()];
  const victim = members[random.int(0, members.length)];
  switch (random.int(0, 10)) {
    case 0:
      if (victim !== undefined) group.network.isolate(victim.self.raftId, group.others(victim.self.raftId));
      return;
    case 1: {
      const other = members[random.int(0, members.length)];
      if (victim !== undefined && other !== undefined) group.network.cut(victim.self.raftId, other.self.raftId);
      return;
    }
    case 2:
    case 3:
      group.network.heal();
      return;
    case 4:
      if (victim !== undefined && killed.length === 0) killed.push(group.kill(victim.self.raftId));
      return;
    case 5:
    case 6: {
      const back = killed.pop();
      if (back !== undefined) await group.restart(back);
      return;
    }
    case 7:
      if (victim !== undefined) victim.storage.delayMs = [0, 3, 30, 400, 1_500][random.int(0, 5)] ?? 0;
      return;
    case 8:
      if (victim !== undefined) victim.storage.fault = random.int(0, 2) === 0 ? "full" : "none";
      return;
    default:
      victim?.log.transferLeadership(undefined, group.never).catch(() => undefined);
  }
}

for (let seed = 1; seed <= SEEDS; seed += 1) {
  test(`stores and log keep their contract under random faults, seed ${seed}`, async () => {
    const random = seededRandom(seed);
    const group = await LogGroup.of(3, { seed });
    const told: Told = { committed: new Set(), dropped: new Set() };
    const killed: GroupMember[] = [];
    const writes: Promise<void>[] = [];
    try {
      for (let step = 0; step < STEPS; step += 1) {
        if (random.int(0, 4) === 0) await disturb(group, random, killed);
        const target = group.leader ?? [...group.members.values()][0];
        if (target !== undefined) writes.push(...proposeSome(group, target, told, random.int(0, 4)));
        await group.clock.advance(random.int(1, 400));
      }
      group.network.heal();
      for (const member of killed) await group.restart(member);
      for (const { storage } of group.members.values()) {
        storage.delayMs = 0;
        storage.fault = "none";
      }
      await group.settle(Promise.all(writes));
      await group.until("all agree", () => {
        const applied = [...group.members.values()].map(({ log }) => log.appliedIndex);
        return group.leader !== undefined && new Set(applied).size === 1;
      });
      assert.equal(await group.write(group.lead()), "committed");
      await group.clock.advance(500);
      const states = [...group.members.values()].map(({ store }) =>
        store
          .view()
          .services.all()
          .map(({ id }) => id),
      );
      for (const state of states) assert.deepEqual(state.toSorted(), states[0]?.toSorted());
      const present = new Set(states[0]);
      for (const id of told.committed) assert.ok(present.has(id), `${id} was committed and is there`);
      for (const id of told.dropped) assert.ok(!present.has(id), `${id} was dropped and is not there`);
    } finally {
      await group.close();
    }
    for (const member of group.members.values()) assert.equal(await member.ended, undefined);
  });
}
