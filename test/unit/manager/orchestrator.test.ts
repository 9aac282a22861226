// What becomes of services case by case: scale, restart, update, drain, loss of nodes, removal.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeStatus_State, UpdateStatus_State } from "../../../proto/gen/objects.ts";
import {
  NodeSpec_Availability,
  PortConfig,
  PortConfig_PublishMode,
  RestartPolicy,
  RestartPolicy_Condition,
} from "../../../proto/gen/specs.ts";
import { wholeServiceSpec, type WholeServiceSpec } from "../../../proto/model/objects.ts";
import { ServiceSpec } from "../../../proto/gen/specs.ts";
import { TaskState, isEnded, wantsToRun } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

function spec(replicas: number, restart: Partial<RestartPolicy> = {}): WholeServiceSpec {
  const base = wholeServiceSpec({
    ...ServiceSpec.create({ name: "web" }),
    mode: { $case: "replicated", value: { replicas } },
  });
  const container = { ...base.task.container, image: "web:1" };
  return { ...base, task: { ...base.task, container, restart: { ...RestartPolicy.create(), ...restart } } };
}

function image(name: string): (spec: WholeServiceSpec) => WholeServiceSpec {
  return (before) => ({ ...before, task: { ...before.task, container: { ...before.task.container, image: name } } });
}

function cluster(nodes: number): FakeCluster {
  const fake = new FakeCluster();
  for (let node = 1; node <= nodes; node += 1) fake.addNode(`n${node}`);
  return fake;
}

function web(nodes: number, asked: WholeServiceSpec): FakeCluster {
  const fake = cluster(nodes);
  fake.createService("s1", asked);
  fake.settle();
  return fake;
}

test("a new service's tasks are made, addressed and placed in one transaction", () => {
  const fake = cluster(3);
  fake.createService("s1", spec(3));
  const before = fake.proposer.log.length;
  fake.run();
  assert.equal(fake.proposer.log.length, before + 1);
  assert.deepEqual(
    fake.tasksOf("s1").map((task) => [task.slot, task.status.state, task.desiredState]),
    [1, 2, 3].map((slot) => [slot, TaskState.ASSIGNED, TaskState.RUNNING]),
  );
  assert.equal(new Set(fake.tasksOf("s1").map((task) => task.nodeId)).size, 3);
});

test("a settled cluster proposes nothing, also under a leader that saw nothing of it", () => {
  const fake = web(3, spec(5));
  const before = fake.proposer.log.length;
  fake.run();
  fake.newLeader();
  fake.settle();
  assert.equal(fake.proposer.log.length, before);
});

test("scaling up fills the lowest free slots and scaling down leaves the nodes even", () => {
  const fake = web(3, spec(9));
  fake.scale("s1", 4);
  fake.settle();
  assert.equal(fake.running("s1").length, 4);
  assert.equal(fake.tasksOf("s1").length, 4, "tasks that were scaled away are forgotten");
  const perNode = ["n1", "n2", "n3"].map((id) => fake.running("s1").filter((task) => task.nodeId === id).length);
  assert.deepEqual(perNode.sort(), [1, 1, 2]);
  fake.scale("s1", 6);
  fake.settle();
  assert.deepEqual(
    fake.running("s1").map((task) => task.slot),
    [1, 2, 3, 4, 5, 6],
  );
});

test("a slot without a running task is given up before one that runs", () => {
  const fake = web(2, spec(3));
  const first = fake.running("s1")[0];
  assert.ok(first);
  fake.report(first, TaskState.FAILED, "exit 1");
  fake.run();
  fake.scale("s1", 2);
  fake.settle();
  assert.deepEqual(
    fake.running("s1").map((task) => task.slot),
    [2, 3],
  );
});

test("a task that ends is followed by another after the delay of the policy", () => {
  const fake = web(1, spec(1, { delayMs: 7_000 }));
  const [first] = fake.running("s1");
  assert.ok(first);
  fake.report(first, TaskState.FAILED, "exit 1");
  fake.run();
  for (let step = 0; step < 10; step += 1) if (!fake.step() && !fake.run()) break;
  const [second] = fake.wanted("s1");
  assert.equal(second?.status.state, TaskState.READY, "it is prepared and waits");
  assert.equal(second.desiredState, TaskState.READY);
  fake.nowMs += 6_999;
  fake.run();
  assert.equal(fake.wanted("s1")[0]?.desiredState, TaskState.READY);
  fake.nowMs += 1;
  fake.run();
  assert.equal(fake.wanted("s1")[0]?.desiredState, TaskState.RUNNING);
  fake.settle();
  assert.equal(fake.running("s1")[0]?.restarts, 1);
});

function attemptsInAMinute(policy: Partial<RestartPolicy>): number {
  const fake = web(1, spec(1, policy));
  const startedMs = fake.nowMs;
  let attempts = 0;
  while (fake.nowMs - startedMs < 60_000) {
    fake.run();
    for (const task of fake.wanted("s1")) {
      if (task.status.state < TaskState.ASSIGNED || isEnded(task.status.state)) continue;
      fake.report(task, TaskState.REJECTED, "No such image: web:9");
      attempts += 1;
    }
    if (!fake.run()) fake.nowMs += 100;
    // The count of failures is in the tasks.
    fake.newLeader();
  }
  return attempts;
}

test("a task that cannot be prepared is tried once per delay, although it is prepared ahead of it", () => {
  const attempts = attemptsInAMinute({ delayMs: 5_000, maxDelayMs: 5_000 });
  assert.ok(attempts >= 11 && attempts <= 14, `${attempts} attempts in a minute`);
});

test("a task that fails again and again is tried less and less often, by whatever leader", () => {
  // At once, and then 5, 10 and 20 s after the one before; each is prepared ahead of its time.
  const attempts = attemptsInAMinute({ delayMs: 5_000 });
  assert.ok(attempts >= 4 && attempts <= 5, `${attempts} attempts in a minute`);
});

test("a new leader starts a task that waits for its delay, though the clock was set back", () => {
  const fake = web(1, spec(1));
  const [first] = fake.running("s1");
  assert.ok(first);
  fake.report(first, TaskState.COMPLETE);
  fake.run();
  fake.nowMs -= 3_600_000;
  fake.newLeader();
  fake.settle();
  assert.equal(fake.running("s1").length, 1);
});

test("the restart condition decides whether a task that ended is followed", () => {
  const cases = [
    { condition: RestartPolicy_Condition.NONE, state: TaskState.FAILED, again: false },
    { condition: RestartPolicy_Condition.ON_FAILURE, state: TaskState.COMPLETE, again: false },
    { condition: RestartPolicy_Condition.ON_FAILURE, state: TaskState.FAILED, again: true },
    { condition: RestartPolicy_Condition.ANY, state: TaskState.COMPLETE, again: true },
  ];
  for (const { condition, state, again } of cases) {
    const fake = web(1, spec(2, { condition }));
    const [first] = fake.running("s1");
    assert.ok(first);
    fake.report(first, state);
    fake.settle();
    fake.newLeader();
    fake.settle();
    assert.equal(fake.running("s1").length, again ? 2 : 1);
    assert.equal(fake.view.tasks.get(first.id)?.desiredState, TaskState.SHUTDOWN);
  }
});

test("a task is restarted at most as often as the policy allows, over leaders", () => {
  const fake = web(1, spec(1, { maxAttempts: 2, delayMs: 0 }));
  for (let round = 0; round < 6; round += 1) {
    const [task] = fake.running("s1");
    if (task === undefined) break;
    fake.report(task, TaskState.FAILED);
    fake.newLeader();
    fake.settle();
  }
  assert.equal(fake.tasksOf("s1").length, 3);
  assert.equal(fake.wanted("s1").length, 0);
  fake.updateService("s1", image("web:2"));
  fake.settle();
  assert.equal(fake.running("s1").length, 1, "a new spec begins anew");
});

test("attempts before the window are forgotten", () => {
  const fake = web(1, spec(1, { maxAttempts: 1, windowMs: 60_000, delayMs: 0 }));
  for (let round = 0; round < 4; round += 1) {
    const [task] = fake.running("s1");
    assert.ok(task);
    fake.nowMs += 61_000;
    fake.report(task, TaskState.FAILED);
    fake.settle();
  }
  const [task] = fake.running("s1");
  assert.ok(task);
  fake.nowMs += 1_000;
  fake.report(task, TaskState.FAILED);
  fake.settle();
  assert.equal(fake.running("s1").length, 0);
});

test("history is bounded per slot and the limit counts the task that runs", () => {
  const fake = web(1, spec(2, { delayMs: 0 }));
  for (let round = 0; round < 9; round += 1) {
    const task = fake.running("s1").find(({ slot }) => slot === 1);
    assert.ok(task);
    fake.report(task, TaskState.FAILED);
    fake.settle();
  }
  const first = fake.tasksOf("s1").filter(({ slot }) => slot === 1);
  assert.deepEqual(
    first.map((task) => task.generation),
    [6, 7, 8, 9, 10],
  );
});

test("an update replaces every task, one slot at a time, the old task stopping first", () => {
  const fake = web(3, spec(4));
  fake.updateService("s1", image("web:2"));
  fake.afterRun = (view) => {
    const tasks = view.tasks.byService("s1");
    const up = tasks.filter((task) => task.status.state === TaskState.RUNNING && wantsToRun(task.desiredState));
    assert.ok(up.length >= 3, "at most one slot is down");
    for (const task of tasks) {
      const others = tasks.filter((other) => other.slot === task.slot && other !== task);
      if (task.status.state === TaskState.RUNNING && wantsToRun(task.desiredState))
        assert.ok(others.every((other) => isEnded(other.status.state)));
    }
  };
  fake.run();
  assert.equal(fake.service("s1").updateStatus?.state, UpdateStatus_State.UPDATING);
  fake.settle();
  assert.equal(fake.running("s1").length, 4);
  assert.ok(fake.running("s1").every((task) => task.spec.container.image === "web:2"));
  const status = fake.service("s1").updateStatus;
  assert.equal(status?.state, UpdateStatus_State.COMPLETED);
  assert.equal(status.message, "update completed");
  assert.ok(status.startedAtMs > 0 && status.completedAtMs >= status.startedAtMs);
});

test("an update that changes nothing about the tasks restarts none of them", () => {
  const fake = web(2, spec(3));
  const before = fake.running("s1").map((task) => task.id);
  fake.updateService("s1", (old) => ({ ...old, labels: { tier: "front" } }));
  fake.settle();
  fake.updateService("s1", (old) => ({
    ...old,
    task: { ...old.task, placement: { ...old.task.placement, constraints: ["node.role==worker"] } },
  }));
  fake.settle();
  assert.deepEqual(
    fake.running("s1").map((task) => task.id),
    before,
  );
  assert.ok(fake.running("s1").every((task) => task.specVersion === fake.service("s1").specVersion));
});

test("a forced update restarts all tasks and a changed host port does too", () => {
  const fake = web(3, spec(3));
  const first = new Set(fake.running("s1").map((task) => task.id));
  fake.updateService("s1", (old) => ({ ...old, task: { ...old.task, forceUpdate: 1 } }));
  fake.settle();
  const second = new Set(fake.running("s1").map((task) => task.id));
  assert.ok([...second].every((id) => !first.has(id)));
  const port = PortConfig.create({ targetPort: 80, publishedPort: 8080, publishMode: PortConfig_PublishMode.HOST });
  fake.updateService("s1", (old) => ({ ...old, endpoint: { ports: [port] } }));
  fake.settle();
  assert.equal(fake.running("s1").length, 3);
  assert.ok(fake.running("s1").every((task) => task.ports.length === 1 && !second.has(task.id)));
});

test("an update waits at the slot whose new task finds no place, and says why", () => {
  const fake = web(3, spec(3));
  const good = fake.running("s1").map((task) => task.id);
  const reserve = (nanoCpus: number) => (before: WholeServiceSpec) => ({
    ...before,
    task: { ...before.task, reservations: { ...before.task.reservations, nanoCpus } },
  });
  fake.updateService("s1", reserve(64e9));
  for (let step = 0; step < 20; step += 1) if (!fake.run()) fake.step();
  assert.equal(fake.running("s1").filter((task) => good.includes(task.id)).length, 2);
  const { updateStatus } = fake.service("s1");
  assert.equal(updateStatus?.state, UpdateStatus_State.UPDATING);
  assert.match(updateStatus.message, /^update in progress: web\.1 does not run yet: no suitable node \(/);
  fake.updateService("s1", reserve(0));
  fake.settle();
  assert.equal(fake.running("s1").length, 3);
});

test("a drained node ends empty, its tasks replaced elsewhere at once", () => {
  const fake = web(3, spec(6));
  const startedAt = fake.nowMs;
  fake.setAvailability("n1", NodeSpec_Availability.DRAIN);
  fake.settle();
  assert.equal(fake.nowMs, startedAt, "nobody waited for a restart's delay");
  assert.equal(fake.running("s1").length, 6);
  assert.ok(fake.view.tasks.byNode("n1").every((task) => isEnded(task.status.state)));
});

test("a replacement is not started before the task on the drained node has stopped, but for a time only", () => {
  const fake = web(2, spec(1));
  const [old] = fake.running("s1");
  assert.ok(old);
  fake.stubborn.add("s1");
  fake.setAvailability(old.nodeId, NodeSpec_Availability.DRAIN);
  const startedAt = fake.nowMs;
  fake.settle();
  assert.equal(fake.nowMs, startedAt + 60_000);
  assert.equal(fake.running("s1").length, 1);
  assert.equal(fake.view.tasks.get(old.id)?.status.state, TaskState.RUNNING);
});

test("tasks of a node that goes down are replaced whatever the restart condition, and stopped when it returns", () => {
  for (const condition of [RestartPolicy_Condition.ANY, RestartPolicy_Condition.NONE]) {
    const fake = web(3, spec(3, { condition }));
    fake.setState("n2", NodeStatus_State.DOWN);
    fake.settle();
    assert.equal(fake.running("s1").filter((task) => task.nodeId !== "n2").length, 3);
    const stale = fake.view.tasks.byNode("n2");
    assert.ok(stale.every((task) => task.desiredState === TaskState.SHUTDOWN));
    fake.setState("n2", NodeStatus_State.READY);
    fake.settle();
    assert.ok(fake.view.tasks.byNode("n2").every((task) => isEnded(task.status.state)));
    assert.equal(fake.running("s1").length, 3);
  }
});

test("an unknown node keeps its tasks", () => {
  const fake = web(2, spec(2));
  const before = fake.running("s1").map((task) => task.id);
  fake.setState("n1", NodeStatus_State.UNKNOWN);
  fake.settle();
  assert.deepEqual(
    fake.wanted("s1").map((task) => task.id),
    before,
  );
});

test("tasks of a removed node are replaced", () => {
  const fake = web(3, spec(3, { condition: RestartPolicy_Condition.NONE }));
  fake.setState("n3", NodeStatus_State.DOWN);
  fake.removeNode("n3");
  fake.settle();
  assert.equal(fake.running("s1").length, 3);
});

test("tasks leave a node that no longer meets the constraints", () => {
  const fake = cluster(3);
  for (const id of ["n1", "n2"])
    fake.changeNode(id, (node) => ({ ...node, spec: { ...node.spec, labels: { zone: "a" } } }));
  const asked = spec(4);
  const placement = { ...asked.task.placement, constraints: ["node.labels.zone == A"] };
  fake.createService("s1", { ...asked, task: { ...asked.task, placement } });
  fake.settle();
  assert.deepEqual(new Set(fake.running("s1").map((task) => task.nodeId)), new Set(["n1", "n2"]));
  fake.changeNode("n1", (node) => ({ ...node, spec: { ...node.spec, labels: {} } }));
  fake.settle();
  assert.deepEqual(new Set(fake.running("s1").map((task) => task.nodeId)), new Set(["n2"]));
  assert.equal(fake.running("s1").length, 4);
});

test("a removed service's tasks are stopped and forgotten, then the service", () => {
  const fake = web(3, spec(5));
  fake.removeService("s1");
  fake.createService("s2", spec(2));
  fake.settle();
  assert.equal(fake.view.services.get("s1"), undefined);
  assert.equal(fake.view.tasks.byService("s1").length, 0);
  assert.equal(fake.running("s2").length, 2);
});

test("a large service is made in transactions of at most 200 changes", () => {
  const fake = web(10, spec(700));
  assert.equal(fake.running("s1").length, 700);
  assert.ok(fake.proposer.log.every((entry) => entry.changes.length <= 200));
  fake.removeService("s1");
  fake.settle();
  assert.equal(fake.view.tasks.all().length, 0);
});
