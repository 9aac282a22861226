// The replicated log when members come and go, lag, are wiped, fail, or lose their majority for good.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { forceNewCluster } from "../../../manager/replication/replicated-log-offline.ts";
import { LogGroup } from "../../support/log-group.ts";

async function withGroup(
  options: { readonly members: number; readonly seed: number },
  action: (group: LogGroup) => Promise<void>,
): Promise<void> {
  const group = await LogGroup.of(options.members, { seed: options.seed });
  try {
    await action(group);
  } finally {
    await group.close();
  }
}

async function writeMany(group: LogGroup, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) assert.equal(await group.write(group.lead()), "committed");
}

function converged(group: LogGroup): boolean {
  const applied = [...group.members.values()].map(({ log }) => log.appliedIndex);
  return group.leader !== undefined && new Set(applied).size === 1;
}

test("a follower that was away for long catches up by a snapshot", () =>
  withGroup({ members: 3, seed: 11 }, async (group) => {
    const [away] = group.followers;
    assert.ok(away !== undefined);
    group.network.isolate(away.self.raftId, group.others(away.self.raftId));
    await writeMany(group, 150);
    const { snapshots } = group.network;
    group.network.heal();
    await group.until("all agree", () => converged(group));
    assert.equal(group.network.snapshots, snapshots + 1);
    assert.equal(away.store.view().services.all().length, group.lead().store.view().services.all().length);
    assert.equal(away.log.members().length, 3);
  }));

test("a new member gets a snapshot that was cut after it was added, and becomes a voter", () =>
  withGroup({ members: 1, seed: 12 }, async (group) => {
    await writeMany(group, 120);
    const learner = await group.joinAsLearner(2);
    await assert.rejects(group.settle(group.lead().log.promote(9, group.never)), /no manager has the raft id 9/);
    const { raftId } = learner.self;
    await group.until("the learner has all", () => converged(group));
    assert.equal(group.network.snapshots, 1);
    assert.ok(learner.log.members().some((member) => member.raftId === raftId && member.isLearner));
    await group.settle(group.lead().log.promote(raftId, group.never));
    await group.until("it knows", () => learner.log.members().every((member) => !member.isLearner));
    assert.equal(await group.write(group.lead()), "committed");
  }));

test("a learner that has received nothing is not promoted", () =>
  withGroup({ members: 1, seed: 13 }, async (group) => {
    const { log } = group.lead();
    const added = await group.settle(log.addLearner({ nodeId: "node-2", addr: "10.0.0.2:2377" }, group.never));
    await assert.rejects(log.promote(added.raftId, group.never), (error) => isSwarmError(error, "FailedPrecondition"));
    await assert.rejects(log.addLearner({ nodeId: "node-2", addr: "10.0.0.2:2377" }, group.never), (error) =>
      isSwarmError(error, "AlreadyExists"),
    );
  }));

test("a learner that is gone by the time it would count is not promoted: it would cost the quorum", () =>
  withGroup({ members: 1, seed: 31 }, async (group) => {
    const { log } = group.lead();
    const { raftId } = (await group.joinAsLearner(2)).self;
    const view = () => log.members().find((member) => member.raftId === raftId);
    await group.until("it has caught up", () => view()?.isCaughtUp === true);
    group.kill(raftId);
    await group.until("it is missed", () => view()?.reachable === false);
    await assert.rejects(group.settle(log.promote(raftId, group.never)), {
      code: "FailedPrecondition",
      message: /10\.0\.0\.2:2377 cannot be reached/,
    });
    assert.equal(await group.write(group.lead()), "committed");
  }));

test("a removed member is told so, and the others go on without it", () =>
  withGroup({ members: 3, seed: 14 }, async (group) => {
    const [gone] = group.followers;
    assert.ok(gone !== undefined);
    let told = 0;
    gone.log.subscribe(() => {
      told += 1;
    });
    await group.settle(group.lead().log.removeMember(gone.self.raftId, group.never));
    await group.until("it is told", () => gone.log.isRemoved);
    assert.ok(told > 0);
    assert.equal(group.lead().log.members().length, 2);
    assert.equal(await group.write(group.lead()), "committed");
    assert.equal(await group.write(gone), "dropped");
    await assert.rejects(gone.log.readBarrier(group.never), /was removed from the cluster's managers/);
  }));

test("a leader may remove itself: another one leads, and it answers no reads", () =>
  withGroup({ members: 3, seed: 15 }, async (group) => {
    const former = group.lead();
    await group.settle(former.log.removeMember(former.self.raftId, group.never));
    assert.ok(former.log.isRemoved);
    await assert.rejects(former.log.readBarrier(group.never), /was removed/);
    await group.until("another one leads", () => group.leader !== undefined && group.leader !== former);
    assert.equal(await group.write(group.lead()), "committed");
  }));

test("a member is not removed when the others would have no majority", () =>
  withGroup({ members: 3, seed: 16 }, async (group) => {
    const [one, other] = group.followers;
    assert.ok(one !== undefined && other !== undefined);
    group.kill(one.self.raftId);
    await group.clock.advance(4_000);
    await assert.rejects(
      group.lead().log.removeMember(other.self.raftId, group.never),
      /without manager .* have no majority, because .* cannot be reached/,
    );
    await group.settle(group.lead().log.removeMember(one.self.raftId, group.never));
    await group.settle(group.lead().log.removeMember(other.self.raftId, group.never));
    await assert.rejects(group.lead().log.removeMember(group.lead().self.raftId, group.never), /is the last one/);
  }));

test("a wiped member comes back under a new raft id", () =>
  withGroup({ members: 3, seed: 17 }, async (group) => {
    const [wiped] = group.followers;
    assert.ok(wiped !== undefined);
    group.kill(wiped.self.raftId);
    await writeMany(group, 3);
    await group.settle(group.lead().log.removeMember(wiped.self.raftId, group.never));
    const again = await group.join(Number(wiped.self.nodeId.replace("node-", "")));
    assert.notEqual(again.self.raftId, wiped.self.raftId);
    await group.until("all agree", () => converged(group));
    assert.equal(group.lead().log.members().length, 3);
  }));

test("a member's new address is known to all", () =>
  withGroup({ members: 3, seed: 18 }, async (group) => {
    const [moved] = group.followers;
    assert.ok(moved !== undefined);
    const addr = "10.1.1.1:2377";
    await group.settle(group.lead().log.updateAddress({ ...moved.self, addr }, group.never));
    await group.until("all know", () =>
      [...group.members.values()].every(({ log }) => log.members().some((member) => member.addr === addr)),
    );
    assert.equal(moved.log.self.addr, addr);
  }));

test("leadership goes to the member that is named, or to the one that holds the most", () =>
  withGroup({ members: 3, seed: 19 }, async (group) => {
    const [one] = group.followers;
    assert.ok(one !== undefined);
    const former = group.lead();
    await group.settle(former.log.transferLeadership(one.self.raftId, group.never));
    await group.until("it leads", () => group.leader === one);
    await group.settle(one.log.transferLeadership(undefined, group.never));
    await group.until("another one leads", () => group.leader !== undefined && group.leader !== one);
    await assert.rejects(one.log.transferLeadership(undefined, group.never), (error) =>
      isSwarmError(error, "NotLeader"),
    );
    assert.equal(await group.write(group.lead()), "committed");
  }));

test("leadership is not handed to a member that does not answer", () =>
  withGroup({ members: 3, seed: 20 }, async (group) => {
    const [one] = group.followers;
    assert.ok(one !== undefined);
    const leader = group.lead();
    group.kill(one.self.raftId);
    await assert.rejects(
      group.settle(leader.log.transferLeadership(one.self.raftId, group.never)),
      /did not take over/,
    );
    assert.equal(await group.write(group.lead()), "committed");
  }));

test("members that all restart find what was committed", () =>
  withGroup({ members: 3, seed: 21 }, async (group) => {
    await writeMany(group, 70);
    const count = group.lead().store.view().services.all().length;
    const killed = [...group.members.keys()].map((id) => group.kill(id));
    await group.clock.advance(100);
    for (const member of killed) await group.restart(member);
    await group.until("they have a leader and agree", () => converged(group));
    assert.equal(group.lead().store.view().services.all().length, count);
    assert.equal(await group.write(group.lead()), "committed");
  }));

test("a new cluster is made by force of what one member holds", () =>
  withGroup({ members: 3, seed: 22 }, async (group) => {
    await writeMany(group, 5);
    const [survivor, lost] = group.followers;
    assert.ok(survivor !== undefined && lost !== undefined);
    await group.until("all agree", () => converged(group));
    const leader = group.lead();
    const count = leader.store.view().services.all().length;
    group.kill(leader.self.raftId);
    const lostLog = group.kill(lost.self.raftId);
    const left = group.kill(survivor.self.raftId);
    await forceNewCluster(left.storage, { self: left.self });
    const alone = await group.restart(left);
    await group.until("it leads alone", () => group.leader === group.members.get(alone.self.raftId));
    assert.deepEqual(
      alone.log.members().map((member) => member.raftId),
      [alone.self.raftId],
    );
    assert.equal(alone.store.view().services.all().length, count);
    assert.equal(await group.write(alone), "committed");
    const returned = await group.restart(lostLog);
    await group.until("a lost one that comes back is told", () => returned.log.isRemoved);
    await group.join(4);
    assert.equal(group.lead().log.members().length, 2);
  }));

test("a full disk drops what is proposed, and another member leads", () =>
  withGroup({ members: 3, seed: 23 }, async (group) => {
    const former = group.lead();
    former.storage.fault = "full";
    assert.equal(await group.write(former), "ambiguous");
    await group.until("another one leads", () => group.leader !== undefined && group.leader !== former);
    assert.equal(await group.write(group.lead()), "committed");
    assert.equal(await group.write(former), "dropped");
    former.storage.fault = "none";
    await group.until("all agree", () => converged(group));
  }));

test("a disk that is slow makes another member lead", () =>
  withGroup({ members: 3, seed: 24 }, async (group) => {
    const former = group.lead();
    former.storage.delayMs = 2_000;
    assert.equal(await group.write(former), "ambiguous");
    await group.until("another one leads", () => group.leader !== undefined && group.leader !== former);
    former.storage.delayMs = 0;
    assert.equal(await group.write(group.lead()), "committed");
    await group.until("all agree", () => converged(group));
    const counts = [...group.members.values()].map(({ store }) => store.view().services.all().length);
    assert.deepEqual(counts, [2, 2, 2], "what was ambiguous was made");
  }));

test("a disk that fails ends the run with its error, and what was on its way is ambiguous", () =>
  withGroup({ members: 3, seed: 25 }, async (group) => {
    const former = group.lead();
    group.network.isolate(former.self.raftId, group.others(former.self.raftId));
    former.storage.fault = "broken";
    assert.equal(await group.write(former), "ambiguous");
    assert.match(String(await former.ended), /EIO/);
    assert.equal(await group.write(former), "dropped");
    await assert.rejects(former.log.readBarrier(group.never), /the manager's log has failed/);
  }));

test("a listener that throws ends the run with its error", () =>
  withGroup({ members: 1, seed: 26 }, async (group) => {
    const { log, ended } = group.lead();
    log.subscribe(() => {
      throw new Error("a listener's mistake");
    });
    await Promise.allSettled([group.settle(log.addLearner({ nodeId: "node-2", addr: "10.0.0.2:2377" }, group.never))]);
    assert.match(String(await ended), /a listener's mistake/);
  }));

test("a log that is closed settles what waits, and closes its storage", () =>
  withGroup({ members: 3, seed: 27 }, async (group) => {
    const leader = group.lead();
    group.network.isolate(leader.self.raftId, group.others(leader.self.raftId));
    const write = group.write(leader);
    const barrier = leader.log.readBarrier(group.never);
    barrier.catch(() => undefined);
    await group.clock.advance(20);
    await group.settle(leader.log.close());
    assert.equal(await write, "ambiguous");
    await assert.rejects(barrier, /the manager is stopping/);
    assert.equal(await leader.ended, undefined);
    assert.ok(leader.storage.isClosed);
  }));

test("proposals that no majority stores are given up in time, and nothing is taken until their fate is known", () =>
  withGroup({ members: 3, seed: 28 }, async (group) => {
    const leader = group.lead();
    // The others answer heartbeats, but their disks do not come to an end.
    for (const { storage } of group.followers) storage.delayMs = 14_000;
    leader.storage.delayMs = 0;
    assert.equal(await group.write(leader), "ambiguous");
    assert.equal(await group.write(leader), "dropped");
    for (const { storage } of group.followers) storage.delayMs = 0;
    await group.until(
      "its fate is known and the group takes changes",
      () => leader.store.view().services.all().length > 0,
    );
    assert.equal(await group.write(group.lead()), "committed");
  }));
