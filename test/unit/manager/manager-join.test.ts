// Joining the group of managers, and what becomes of a join that was cut short: it is done again, and nothing of the first try is left.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Manager } from "../../../manager/index.ts";
import { RaftMembershipService } from "../../../proto/gen/raft.ts";
import { NodeRole } from "../../../proto/gen/specs.ts";
import { webSpec } from "../../support/cluster-state.ts";
import { LOCAL, ManagerGroup, never } from "../../support/manager-group.ts";

test("a join that fails at any call of the disk is done again", async () => {
  const group = await ManagerGroup.of(1, { seed: 31 });
  const cluster = await group.settle(group.leader().control.getCluster({}, LOCAL));
  let isThrough = false;
  let tries = 0;
  for (let call = 1; !isThrough; call += 13) {
    const machine = group.addMachine();
    assert.equal(await group.certify(machine, cluster.rootCa?.joinTokenManager ?? ""), NodeRole.MANAGER);
    machine.isListening = true;
    machine.disk.arm({ call, kind: "crash" });
    const request = { nodeId: machine.nodeId, clusterId: group.clusterId, managers: [group.machine("m1").addr] };
    const first = Manager.join(group.options(machine), request, never).then(
      (manager) => manager.close().catch(() => undefined),
      () => undefined,
    );
    await group.settle(first);
    isThrough = !machine.disk.crashed;
    machine.disk.restart("lose", { int: () => 0, float: () => 0, bytes: (count) => new Uint8Array(count) });
    const opened = await group.settle(Manager.open(group.options(machine), never));
    assert.equal(opened, undefined, "a log that received nothing counts for none");
    await group.join(machine);
    await group.untilVoter(machine);
    // Back to one, so that the group stays able to decide.
    await group.settle(group.leader().control.listNodes({ filters: [] }, LOCAL));
    await group.setRole(group.leader(), { nodeId: machine.nodeId, role: NodeRole.WORKER });
    await group.until("it is out", () => group.leader().status().members.length === 1);
    group.kill(machine);
    tries += 1;
  }
  assert.ok(tries > 1, `${tries} tries`);
  await group.close();
});

test("only a manager's certificate of a node that is to be a manager joins, at an address that answers", async () => {
  const group = await ManagerGroup.of(1, { seed: 32 });
  const membership = group.handlers(group.machine("m1"), RaftMembershipService);
  const stranger = group.asNode({ nodeId: "x".repeat(25), addr: "10.0.0.9:2377" });
  const request = { addr: "10.0.0.9:2377", raftId: 0 };
  await assert.rejects(group.settle(membership.join(request, stranger)), { code: "PermissionDenied" });
  const machine = group.addMachine();
  const cluster = await group.settle(group.leader().control.getCluster({}, LOCAL));
  await group.certify(machine, cluster.rootCa?.joinTokenManager ?? "");
  const asked = { addr: machine.addr, raftId: 0 };
  const asWorker = group.asNode(machine, "worker");
  await assert.rejects(group.settle(membership.join(asked, asWorker)), { code: "PermissionDenied" });
  const caller = group.asNode(machine);
  await assert.rejects(group.settle(membership.join({ addr: "nonsense", raftId: 0 }, caller)), {
    code: "InvalidArgument",
  });
  await assert.rejects(group.settle(membership.join(asked, caller)), {
    code: "FailedPrecondition",
    message: /nobody answers/,
  });
  await assert.rejects(group.settle(membership.join({ ...asked, raftId: 77 }, caller)), {
    code: "PermissionDenied",
    message: /was removed from the group/,
  });
  assert.equal(group.leader().status().members.length, 1);
  await group.close();
});

test("a manager joins through any other one, and gets the state that there was before it", async () => {
  const group = await ManagerGroup.of(2, { seed: 33 });
  for (let number = 0; number < 40; number += 1) {
    const spec = { ...webSpec(), name: `s${number}`, mode: { $case: "replicated" as const, value: { replicas: 0 } } };
    await group.settle(group.leader().control.createService({ spec }, LOCAL));
  }
  const machine = await group.addManager();
  const control = machine.manager?.control;
  const listed = await group.settle(control?.listServices({ filters: [] }, LOCAL) ?? Promise.reject(new Error("none")));
  assert.equal(listed.services.length, 40);
  await group.close();
});
