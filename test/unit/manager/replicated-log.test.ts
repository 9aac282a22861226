// The replicated log in groups of members: who leads, what becomes of proposals and reads when members and messages are lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { LogGroup, memberOf } from "../../support/log-group.ts";

/** Writes through the member's store and moves the clock until its fate is known. */
function proposed(group: LogGroup, id: number): Promise<string> {
  return group.write(group.member(id));
}

test("a single member leads itself, commits and reads", async () => {
  const group = await LogGroup.of(1, { seed: 1 });
  try {
    assert.equal(await proposed(group, 1), "committed");
    await group.settle(group.lead().log.readBarrier(group.never));
    assert.equal(group.lead().store.version, group.lead().log.appliedIndex);
    assert.deepEqual(group.lead().log.members(), [
      { ...memberOf(1), isLearner: false, isLeader: true, isSelf: true, reachable: true, isCaughtUp: true },
    ]);
  } finally {
    await group.close();
  }
});

test("three members commit what the leader proposes, and all of them apply it", async () => {
  const group = await LogGroup.of(3, { seed: 2 });
  try {
    assert.equal(group.members.size, 3);
    const leader = group.lead();
    assert.equal(await proposed(group, leader.self.raftId), "committed");
    await group.until("all have applied it", () =>
      [...group.members.values()].every(({ store }) => store.version === leader.store.version),
    );
    for (const follower of group.followers) {
      const refused = await follower.log.propose({ changes: [], atMs: 1 }, () => undefined);
      assert.equal(refused.kind, "dropped");
      assert.match(refused.reason, /10\.0\.0\.1:2377 does; ask that one/);
    }
  } finally {
    await group.close();
  }
});

test("a follower's read barrier waits for what the leader has committed", async () => {
  const group = await LogGroup.of(3, { seed: 3 });
  try {
    assert.equal(await proposed(group, 1), "committed");
    const { version } = group.lead().store;
    for (const follower of group.followers) {
      await group.settle(follower.log.readBarrier(group.never));
      assert.equal(follower.store.version, version);
    }
  } finally {
    await group.close();
  }
});

test("another member leads when the leader is lost, and holds all that was committed", async () => {
  const group = await LogGroup.of(3, { seed: 4 });
  try {
    assert.equal(await proposed(group, 1), "committed");
    const { version } = group.lead().store;
    group.kill(1);
    await group.until("another one leads", () => group.leader !== undefined, 5_000);
    const { self, store } = group.lead();
    assert.ok(store.version >= version);
    assert.equal(await proposed(group, self.raftId), "committed");
  } finally {
    await group.close();
  }
});

test("a leader without a majority leaves its proposals ambiguous and drops later ones", async () => {
  const group = await LogGroup.of(3, { seed: 5 });
  try {
    const stale = group.lead();
    group.network.isolate(1, group.others(1));
    assert.equal(await proposed(group, 1), "ambiguous");
    assert.equal(await proposed(group, 1), "dropped");
    const reader = stale.log.readBarrier(group.never);
    await assert.rejects(group.settle(reader), (error) => isSwarmError(error, "Unavailable"));
    await group.until("the others have a leader", () => group.lead() !== stale && group.leader !== undefined);
    assert.equal(await proposed(group, group.lead().self.raftId), "committed");
    const { version } = group.lead().store;
    group.network.heal();
    await group.until("the former leader has caught up", () => stale.store.version === version);
    assert.equal(stale.log.status().role, "follower");
  } finally {
    await group.close();
  }
});

test("a read barrier asked for at a leader that the others have left fails", async () => {
  const group = await LogGroup.of(3, { seed: 6 });
  try {
    group.network.isolate(1, group.others(1));
    const barrier = group.member(1).log.readBarrier(group.never);
    await assert.rejects(group.settle(barrier), /the cluster has no leader: \d of 3 managers/);
  } finally {
    await group.close();
  }
});
