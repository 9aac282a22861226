// Managers as one group: any of them answers, a lost leader is replaced within a command, roles change while everything runs, and the
// state survives whatever the members do. Real logs, disks in memory, a clock that the test moves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { newKeyAndRequest } from "../../../agent/identity-request.ts";
import { Manager } from "../../../manager/index.ts";
import type { StoreChange } from "../../../proto/gen/control.ts";
import { NodeDescription, NodeStatus_State, type Task, TaskStatus } from "../../../proto/gen/objects.ts";
import { NodeRole, NodeSpec_Availability } from "../../../proto/gen/specs.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { webSpec } from "../../support/cluster-state.ts";
import { LOCAL, type Machine, ManagerGroup, never } from "../../support/manager-group.ts";
import { SimDisk } from "../../support/sim-disk.ts";

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of source) all.push(each);
  return all;
}

async function* streamOf<T>(all: readonly T[]): AsyncGenerator<T> {
  await Promise.resolve();
  yield* all;
}

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

test("a leader that is to stop hands over first, and a follower has nothing to hand over", async () => {
  const group = await ManagerGroup.of(3, { seed: 12 });
  const before = group.leading?.name;
  const [follower] = group.followers();
  assert.ok(follower !== undefined);
  await group.settle(group.managerOf(follower.name).handOver(never));
  assert.equal(group.leading?.name, before);
  await group.settle(group.leader().handOver(never), 1_000);
  await group.until("another one leads", () => group.leading !== undefined && group.leading.name !== before, 1_000);
  await group.close();
});

test("a command spans the loss of the leader, and what was acknowledged is there", async () => {
  const group = await ManagerGroup.of(3, { seed: 2 });
  const { service } = await group.settle(group.managerOf("m2").control.createService({ spec: webSpec() }, LOCAL));
  group.kill(group.machine("m1"));
  const control = group.managerOf("m2").control;
  const answered = await group.settle(control.createService({ spec: { ...webSpec(), name: "next" } }, LOCAL), 4_000);
  assert.equal(answered.service?.spec?.name, "next");
  const names = async (name: string): Promise<unknown> => {
    const { services } = await group.settle(group.managerOf(name).control.listServices({ filters: [] }, LOCAL));
    return services.map((each) => each.service?.spec?.name);
  };
  assert.deepEqual(await names("m3"), ["next", "web"]);
  const { nodes } = await group.settle(control.listNodes({ filters: [] }, LOCAL));
  const lost = nodes.find((node) => node.id === group.machine("m1").nodeId);
  await group.until("the lost manager counts as unreachable", () =>
    group
      .leader()
      .status()
      .members.some((member) => member.nodeId === lost?.id && !member.isReachable),
  );
  await group.restart(group.machine("m1"));
  assert.deepEqual(await names("m1"), ["next", "web"]);
  const found = await group.settle(group.managerOf("m1").control.getService({ ref: "web" }, LOCAL));
  assert.equal(found.id, service?.id);
  await group.close();
});

test("without a quorum the answer says who can be reached and what to do, and comes within seconds", async () => {
  const group = await ManagerGroup.of(3, { seed: 3 });
  group.kill(group.machine("m2"));
  group.kill(group.machine("m3"));
  await group.clock.advance(5_000);
  const startMs = group.clock.monotonicMs();
  const control = group.managerOf("m1").control;
  for (const call of [
    () => control.createService({ spec: webSpec() }, LOCAL),
    () => control.listServices({ filters: [] }, LOCAL),
  ] as readonly (() => Promise<unknown>)[]) {
    await assert.rejects(group.settle(call()), (error: Error) => {
      assert.match(
        error.message,
        /^the cluster has no leader: 1 of 3 managers is reachable \(.*are not\); start or heal/,
      );
      assert.match(error.message, /`tsswarm swarm init --force-new-cluster`/);
      return true;
    });
  }
  assert.ok(group.clock.monotonicMs() - startMs < 10_000);
  await group.restart(group.machine("m3"));
  await group.until("two of three have a leader", () => group.leading !== undefined);
  await group.settle(control.createService({ spec: webSpec() }, LOCAL));
  await group.close();
});

test("a leader that was cut off answers nothing old, and its calls are taken by the new one once it is back", async () => {
  const group = await ManagerGroup.of(3, { seed: 4 });
  const old = group.managerOf("m1");
  group.cutOff(group.machine("m1"));
  await assert.rejects(group.settle(old.control.listServices({ filters: [] }, LOCAL)), { code: "Unavailable" });
  await group.until("the others have a leader", () =>
    ["m2", "m3"].some((name) => group.managerOf(name).status().role === "leader"),
  );
  await group.settle(group.managerOf("m2").control.createService({ spec: webSpec() }, LOCAL));
  group.heal();
  const { services } = await group.settle(old.control.listServices({ filters: [] }, LOCAL));
  assert.equal(services.length, 1);
  await group.close();
});

test("a worker is promoted, takes part, and is demoted again", async () => {
  const group = await ManagerGroup.of(1, { seed: 5 });
  const machine = group.addMachine();
  const cluster = await group.settle(group.leader().control.getCluster({}, LOCAL));
  assert.equal(await group.certify(machine, cluster.rootCa?.joinTokenWorker ?? ""), NodeRole.WORKER);
  await assert.rejects(group.join(machine), { code: "FailedPrecondition", message: /is to be a worker/ });
  await group.setRole(group.leader(), { nodeId: machine.nodeId, role: NodeRole.MANAGER });
  const roleOf = async (): Promise<unknown> =>
    (await group.settle(group.leader().control.getNode({ ref: machine.nodeId }, LOCAL))).role;
  await group.clock.advance(200);
  assert.equal(await roleOf(), NodeRole.MANAGER);
  const promoted = await group.join(machine);
  await group.untilVoter(machine);
  await group.settle(promoted.control.createService({ spec: webSpec() }, LOCAL));
  assert.equal(promoted.removed.aborted, false);
  await group.setRole(promoted, { nodeId: machine.nodeId, role: NodeRole.WORKER });
  await group.until("the demoted manager knows that it is none", () => promoted.removed.aborted);
  await group.clock.advance(1_000);
  const node = await group.settle(group.leader().control.getNode({ ref: machine.nodeId }, LOCAL));
  assert.deepEqual([node.role, node.managerStatus], [NodeRole.WORKER, undefined]);
  assert.equal(group.leader().status().members.length, 1);
  await assert.rejects(group.setRole(group.leader(), { nodeId: group.machine("m1").nodeId, role: NodeRole.WORKER }), {
    code: "FailedPrecondition",
    message: "attempting to demote the last manager of the swarm",
  });
  await group.close();
});

test("the leader that is demoted hands leadership over first", async () => {
  const group = await ManagerGroup.of(3, { seed: 6 });
  const { nodeId } = group.machine("m1");
  const first = group.managerOf("m1");
  await group.setRole(group.managerOf("m2"), { nodeId, role: NodeRole.WORKER });
  await group.until("the old leader was taken out", () => first.removed.aborted);
  assert.notEqual(group.leading?.name, "m1");
  await group.until("it is a worker", () => group.leader().status().members.length === 2);
  const node = await group.settle(group.leader().control.getNode({ ref: nodeId }, LOCAL));
  assert.equal(node.managerStatus, undefined);
  await group.close();
});

test("a manager that leaves is out of the group, also the leader, and the last one is refused", async () => {
  const group = await ManagerGroup.of(3, { seed: 7 });
  await group.settle(group.managerOf("m3").leave(never), 60_000);
  assert.equal(group.leader().status().members.length, 2);
  await group.settle(group.managerOf("m1").leave(never), 60_000);
  await group.until("one is left", () => group.managerOf("m2").status().members.length === 1);
  await assert.rejects(group.settle(group.managerOf("m2").leave(never)), { message: /last manager/ });
  await group.close();
});

test("a manager whose disk was wiped joins anew under its node's name", async () => {
  const group = await ManagerGroup.of(3, { seed: 8 });
  const machine = group.machine("m3");
  group.kill(machine);
  Object.assign(machine, { disk: new SimDisk() });
  await group.join(machine);
  await group.untilVoter(machine);
  const { members } = group.leader().status();
  assert.deepEqual(members.map((member) => member.addr).sort(), ["10.0.0.1:2377", "10.0.0.2:2377", "10.0.0.3:2377"]);
  await group.close();
});

test("one manager goes on alone by force, keeps what there was, and the lost ones become workers", async () => {
  const group = await ManagerGroup.of(3, { seed: 9 });
  const { service } = await group.settle(group.managerOf("m1").control.createService({ spec: webSpec() }, LOCAL));
  for (const { name } of [...group.machines]) group.kill(group.machine(name));
  const machine = group.machine("m2");
  const manager = await group.settle(Manager.forceNewCluster(group.options(machine), never));
  group.run(machine, manager);
  await group.until("it leads alone", () => manager.status().role === "leader");
  const found = await group.settle(manager.control.getService({ ref: "web" }, LOCAL));
  assert.equal(found.id, service?.id);
  await group.clock.advance(1_000);
  const { nodes } = await group.settle(manager.control.listNodes({ filters: [] }, LOCAL));
  assert.deepEqual(
    nodes.map((node) => [node.id === machine.nodeId, node.role, node.spec?.role, node.managerStatus?.leader]).sort(),
    [
      [false, NodeRole.WORKER, NodeRole.WORKER, undefined],
      [false, NodeRole.WORKER, NodeRole.WORKER, undefined],
      [true, NodeRole.MANAGER, NodeRole.MANAGER, true],
    ],
  );
  await group.addManager();
  await group.close();
});

test("a backup from a follower begins a cluster of one with everything in it", async () => {
  const group = await ManagerGroup.of(3, { seed: 10 });
  await group.settle(group.managerOf("m1").control.createService({ spec: webSpec() }, LOCAL));
  const before = await group.settle(group.managerOf("m1").control.getCluster({}, LOCAL));
  const bytes = await group.settle(collect(group.managerOf("m3").backup(never)));
  await group.close();
  const again = new ManagerGroup({ seed: 11 });
  const machine = again.addMachine();
  machine.nodeId = "fresh".padEnd(25, "0");
  const { csrPem } = await newKeyAndRequest();
  const request = {
    backup: streamOf(bytes),
    nodeId: machine.nodeId,
    csrPem,
    availability: NodeSpec_Availability.ACTIVE,
  };
  const { made, manager } = await Manager.restore(again.options(machine), request, never);
  again.clusterId = made.clusterId;
  again.run(machine, manager);
  await again.until("it leads", () => manager.status().role === "leader");
  const cluster = await again.settle(manager.control.getCluster({}, LOCAL));
  assert.deepEqual([cluster.id, cluster.rootCa], [before.id, before.rootCa]);
  assert.equal((await again.settle(manager.control.getService({ ref: "web" }, LOCAL))).spec?.name, "web");
  const { nodes } = await again.settle(manager.control.listNodes({ filters: [] }, LOCAL));
  assert.deepEqual(
    nodes.map((node) => [node.id, node.role]).filter(([, role]) => role === NodeRole.MANAGER),
    [[machine.nodeId, NodeRole.MANAGER]],
  );
  await again.addManager();
  await again.close();
});

test("a follower's agents hear where the leader is", async () => {
  const group = await ManagerGroup.of(3, { seed: 12 });
  const follower = group.machine("m2");
  const context = group.asNode(group.machine("m3"));
  const session = group.dispatcher(follower).session({ description: undefined, sessionId: "" }, context);
  const messages = await group.settle(collect(session));
  assert.deepEqual(
    messages.map(({ leaderAddr, managers, sessionId }) => [leaderAddr, [...managers].sort(), sessionId]),
    [["10.0.0.1:2377", ["10.0.0.1:2377", "10.0.0.2:2377", "10.0.0.3:2377"], ""]],
  );
  await assert.rejects(group.settle(group.dispatcher(follower).heartbeat({ sessionId: "x" }, context)), {
    code: "NotLeader",
  });
  await group.close();
});

test("a watch ends when who answers it no longer leads, and begins anew at the next one", async () => {
  const group = await ManagerGroup.of(3, { seed: 13 });
  const control = group.managerOf("m2").control;
  const request = { kinds: ["service"], serviceId: "", includePresent: true };
  const open = (): (() => Promise<readonly StoreChange[]>) => {
    const messages = control.watch(request, LOCAL);
    const watch = messages[Symbol.asyncIterator]();
    return async () => {
      const next = await group.settle(watch.next());
      assert.ok(next.done !== true);
      return next.value.changes;
    };
  };
  const changes = open();
  assert.deepEqual(await changes(), []);
  await group.settle(control.createService({ spec: webSpec() }, LOCAL));
  assert.equal((await changes()).length, 1);
  group.kill(group.machine("m1"));
  await assert.rejects(changes(), { code: "Unavailable" });
  assert.equal((await open()()).length, 1);
  await group.close();
});

test("a new leader leaves tasks alone and gives nodes time; who does not come back is down, and replaced", async () => {
  const group = await ManagerGroup.of(3, { seed: 14 });
  const spec = { ...webSpec(), mode: { $case: "replicated" as const, value: { replicas: 1 } } };
  const { nodeId } = group.machine("m3");
  const register = async (at: Machine, name: string): Promise<string> => {
    const machine = group.machine(name);
    const description = {
      ...NodeDescription.create(),
      hostname: name,
      platform: { architecture: "amd64", os: "linux" },
      resources: { nanoCpus: 4e9, memoryBytes: 2 ** 32, pids: 0, generic: [] },
    };
    const session = group.dispatcher(at).session({ description, sessionId: "" }, group.asNode(machine));
    const first = await group.settle(session[Symbol.asyncIterator]().next());
    assert.ok(first.done !== true);
    return first.value.sessionId;
  };
  const sessionId = await register(group.machine("m1"), "m3");
  await group.settle(group.leader().control.createService({ spec }, LOCAL));
  const tasks = async (): Promise<readonly Task[]> =>
    (await group.settle(group.managerOf("m2").control.listTasks({ filters: [] }, LOCAL))).tasks;
  const [task] = await tasks();
  assert.equal(task?.nodeId, nodeId);
  const status = { ...TaskStatus.create(), state: TaskState.RUNNING };
  const updates = [{ taskId: task.id, status }];
  const atLeader = group.dispatcher(group.machine("m1"));
  await group.settle(atLeader.updateTaskStatus({ sessionId, updates }, group.asNode(group.machine("m3"))));
  group.kill(group.machine("m1"));
  await group.until("another one leads", () => group.leading !== undefined);
  const node = async (): Promise<unknown> =>
    (await group.settle(group.managerOf("m2").control.getNode({ ref: nodeId }, LOCAL))).status?.state;
  await group.clock.advance(15_000);
  assert.equal(await node(), NodeStatus_State.UNKNOWN);
  const [same] = await tasks();
  assert.deepEqual(
    [same?.id, same?.status?.state, same?.desiredState],
    [task.id, TaskState.RUNNING, TaskState.RUNNING],
  );
  assert.ok(group.leading !== undefined);
  await register(group.leading, "m2");
  await group.clock.advance(20_000);
  assert.equal(await node(), NodeStatus_State.DOWN);
  assert.ok((await tasks()).some((each) => each.desiredState === TaskState.SHUTDOWN && each.id === task.id));
  await group.close();
});
