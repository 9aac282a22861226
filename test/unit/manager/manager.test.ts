// A whole manager on a disk in memory and a clock that the test moves: a cluster begins, a service becomes tasks on a node that
// registered, and all of it is there after a restart.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { newKeyAndRequest } from "../../../agent/identity-request.ts";
import { Manager } from "../../../manager/index.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import type { AssignmentsMessage } from "../../../proto/gen/dispatcher.ts";
import { NodeDescription, NodeStatus_State, TaskStatus } from "../../../proto/gen/objects.ts";
import { NodeRole, NodeSpec_Availability } from "../../../proto/gen/specs.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { webSpec } from "../../support/cluster-state.ts";
import { LOCAL, ManagerGroup, never } from "../../support/manager-group.ts";

test("init makes a cluster with one manager and a certificate that says so", async () => {
  const group = new ManagerGroup({ seed: 1 });
  const machine = await group.init();
  const { made } = group;
  assert.ok(made !== undefined);
  const manager = group.leader();
  assert.equal(manager.clusterId, made.clusterId);
  const { subject } = new X509Certificate(made.certificatePem);
  assert.deepEqual(subject.split("\n").sort(), [`CN=${made.nodeId}`, `O=${made.clusterId}`, "OU=swarm-manager"]);
  const { nodes } = await group.settle(manager.control.listNodes({ filters: [] }, LOCAL));
  assert.deepEqual(
    nodes.map((node) => [node.id, node.role, node.managerStatus?.addr, node.managerStatus?.leader]),
    [[made.nodeId, NodeRole.MANAGER, "10.0.0.1:2377", true]],
  );
  const cluster = await group.settle(manager.control.getCluster({}, LOCAL));
  assert.equal(cluster.rootCa?.joinTokenWorker, made.joinTokenWorker);
  assert.match(made.joinTokenWorker, /^SWMTKN-1-/);
  const { csrPem } = await newKeyAndRequest();
  const again = { nodeId: "x".repeat(25), spec: undefined, advertiseAddr: machine.addr, csrPem };
  await group.close();
  await assert.rejects(
    Manager.create(group.options(machine), { ...again, availability: NodeSpec_Availability.ACTIVE }, never),
    { code: "AlreadyExists" },
  );
});

test("a service becomes tasks on the node that registered, and runs when its agent says so", async () => {
  const group = new ManagerGroup({ seed: 2 });
  const machine = await group.init();
  const manager = group.leader();
  const agent = group.asNode(machine);
  const dispatcher = group.dispatcher(machine);
  assert.equal(machine.served.get(ControlService)?.handlers, manager.control);
  const description = {
    ...NodeDescription.create(),
    hostname: "m1",
    platform: { architecture: "amd64", os: "linux" },
    resources: { nanoCpus: 4e9, memoryBytes: 2 ** 32, pids: 0, generic: [] },
  };
  const session = dispatcher.session({ description, sessionId: "" }, agent)[Symbol.asyncIterator]();
  const first = await group.settle(session.next());
  assert.ok(first.done !== true);
  const { leaderAddr, managers, sessionId } = first.value;
  assert.deepEqual([leaderAddr, managers], ["", ["10.0.0.1:2377"]]);
  const assignments = dispatcher.assignments({ sessionId }, agent)[Symbol.asyncIterator]();
  const take = async (): Promise<AssignmentsMessage> => {
    const next = await group.settle(assignments.next());
    assert.ok(next.done !== true);
    return next.value;
  };
  assert.deepEqual((await take()).changes, []);
  await group.settle(manager.control.createService({ spec: webSpec() }, LOCAL));
  const tasks = new Set<string>();
  while (tasks.size < 3) for (const { item } of (await take()).changes) tasks.add(item?.value.id ?? "");
  const updates = [...tasks].map((taskId) => ({
    taskId,
    status: { ...TaskStatus.create(), state: TaskState.RUNNING },
  }));
  await group.settle(dispatcher.updateTaskStatus({ sessionId, updates }, agent));
  const { services } = await group.settle(manager.control.listServices({ filters: [] }, LOCAL));
  assert.deepEqual(
    services.map((each) => [each.service?.spec?.name, each.runningTasks, each.desiredTasks]),
    [["web", 3, 3]],
  );
  await group.close();
});

test("what was acknowledged is there after the power is cut, and a new address is known", async () => {
  const group = new ManagerGroup({ seed: 3 });
  const machine = await group.init();
  const { clusterId } = group;
  const { service } = await group.settle(group.leader().control.createService({ spec: webSpec() }, LOCAL));
  group.kill(machine);
  machine.addr = "10.0.0.9:2377";
  const after = await group.restart(machine);
  assert.equal(after.clusterId, clusterId);
  const control = after.control;
  assert.equal((await group.settle(control.getService({ ref: "web" }, LOCAL))).id, service?.id);
  await group.until("the new address is known", () => after.status().members[0]?.addr === "10.0.0.9:2377");
  await group.clock.advance(60_000);
  const node = await group.settle(control.getNode({ ref: machine.nodeId }, LOCAL));
  assert.deepEqual([node.status?.state, node.managerStatus?.addr], [NodeStatus_State.DOWN, "10.0.0.9:2377"]);
  await group.close();
  await assert.rejects(group.settle(control.removeService({ ref: "web" }, LOCAL)), { code: "Unavailable" });
});

test("a manager whose disk fails stops and says so", async () => {
  const group = new ManagerGroup({ seed: 4 });
  const machine = await group.init();
  const manager = group.leader();
  machine.disk.arm({ call: 1, kind: "EIO", only: "sync", forever: true });
  await assert.rejects(group.settle(manager.control.createService({ spec: webSpec() }, LOCAL)), { code: "Internal" });
  const failure = await group.settle(machine.ended);
  assert.ok(failure instanceof Error);
  assert.match(failure.message, /cannot be|EIO|disk/);
  await group.settle(manager.close()).catch(() => undefined);
});
