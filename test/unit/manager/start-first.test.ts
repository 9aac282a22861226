// A replacement that starts first: two tasks of a slot, the one before running until its successor does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { replaceTask } from "../../../manager/orchestrator/new-task.ts";
import { RestartPolicy, RestartPolicy_Condition, ServiceSpec } from "../../../proto/gen/specs.ts";
import { type WholeTask, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

function web(condition: RestartPolicy_Condition = RestartPolicy_Condition.ANY): FakeCluster {
  const fake = new FakeCluster();
  for (const id of ["n1", "n2"]) fake.addNode(id);
  const base = wholeServiceSpec({
    ...ServiceSpec.create({ name: "web" }),
    mode: { $case: "replicated", value: { replicas: 2 } },
  });
  fake.createService("s1", { ...base, task: { ...base.task, restart: { ...RestartPolicy.create(), condition } } });
  fake.settle();
  return fake;
}

/** Replaces the task of slot 1; answers it and its successor. */
function replaceFirst(fake: FakeCluster): { readonly old: WholeTask; readonly id: string } {
  const [old] = fake.running("s1");
  assert.ok(old !== undefined);
  const id = "successor0000000000000000";
  const service = fake.service("s1");
  const options = { id, now: fake.nowMs, delayMs: 0, restarts: { restarts: 0, restartedAtMs: [] }, limit: 100 };
  assert.ok(fake.commit((tx) => replaceTask(tx, { old, service }, { ...options, startFirst: true })));
  return { old, id };
}

function now(fake: FakeCluster, id: string): WholeTask {
  const task = fake.view.tasks.get(id);
  assert.ok(task !== undefined, `task ${id} is there`);
  return task;
}

test("the task before runs until its successor does, and then stops", () => {
  const fake = web();
  const { old, id } = replaceFirst(fake);
  let overlapped = false;
  fake.afterRun = (view) => {
    const isUp = view.tasks.get(id)?.status.state === TaskState.RUNNING;
    if (!isUp) assert.ok(wantsToRun(view.tasks.get(old.id)?.desiredState ?? TaskState.REMOVE));
    overlapped ||= !isUp && view.tasks.get(id)?.status.state === TaskState.STARTING;
  };
  fake.settle();
  assert.ok(overlapped);
  assert.equal(now(fake, id).status.state, TaskState.RUNNING);
  assert.equal(now(fake, old.id).status.state, TaskState.SHUTDOWN);
  assert.equal(fake.running("s1").length, 2);
});

test("a successor that fails is followed by another, and the task before runs on meanwhile", () => {
  const fake = web();
  const { old, id } = replaceFirst(fake);
  fake.run();
  fake.report(now(fake, id), TaskState.REJECTED, "no such image: web:2");
  fake.run();
  const next = fake.wanted("s1").find((task) => task.slot === old.slot && task.id !== old.id);
  assert.equal(next?.replaces, old.id);
  assert.equal(next.restarts, 1);
  assert.equal(now(fake, old.id).desiredState, TaskState.RUNNING);
  fake.settle();
  assert.ok(isEnded(now(fake, old.id).status.state));
  assert.equal(fake.running("s1").length, 2);
});

test("a successor that may not be tried again leaves the slot to the task before", () => {
  const fake = web(RestartPolicy_Condition.NONE);
  const { old, id } = replaceFirst(fake);
  fake.run();
  fake.report(now(fake, id), TaskState.REJECTED, "no such image: web:2");
  fake.settle();
  assert.equal(now(fake, old.id).status.state, TaskState.RUNNING);
  assert.equal(fake.running("s1").length, 2);
});

test("a task that ends while its successor comes up is not waited for", () => {
  const fake = web();
  const { old, id } = replaceFirst(fake);
  fake.run();
  fake.report(old, TaskState.FAILED, "task: non-zero exit (1)");
  fake.settle();
  assert.equal(now(fake, id).status.state, TaskState.RUNNING);
  assert.equal(fake.wanted("s1").length, 2);
});
