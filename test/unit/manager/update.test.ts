// Updates case by case: order, delay, monitoring, failures and what follows them, canaries, the way back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type UpdateStatus, UpdateStatus_State } from "../../../proto/gen/objects.ts";
import {
  RestartPolicy,
  RestartPolicy_Condition,
  ServiceSpec,
  UpdateConfig,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
} from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, type WholeTask, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

const { START_FIRST } = UpdateConfig_Order;
const { CONTINUE, ROLLBACK } = UpdateConfig_FailureAction;

interface Asked {
  readonly replicas?: number;
  readonly nodes?: number;
  readonly update?: Partial<UpdateConfig>;
  readonly rollback?: Partial<UpdateConfig>;
  readonly restart?: RestartPolicy_Condition;
}

/** A service at web:1, all its replicas running. */
function web({ replicas = 4, nodes = 3, update = {}, rollback = {}, restart }: Asked = {}): FakeCluster {
  const fake = new FakeCluster();
  for (let node = 1; node <= nodes; node += 1) fake.addNode(`n${node}`);
  const base = wholeServiceSpec({
    ...ServiceSpec.create({ name: "web" }),
    mode: { $case: "replicated", value: { replicas } },
    update: { ...UpdateConfig.create(), monitorMs: 0, ...update },
    rollback: { ...UpdateConfig.create(), monitorMs: 0, ...rollback },
  });
  const policy = { ...RestartPolicy.create(), condition: restart ?? RestartPolicy_Condition.ANY };
  fake.createService("s1", image("web:1")({ ...base, task: { ...base.task, restart: policy } }));
  fake.settle();
  return fake;
}

function image(name: string): (spec: WholeServiceSpec) => WholeServiceSpec {
  return (before) => ({ ...before, task: { ...before.task, container: { ...before.task.container, image: name } } });
}

function status(fake: FakeCluster): UpdateStatus {
  const { updateStatus } = fake.service("s1");
  assert.ok(updateStatus !== undefined);
  return updateStatus;
}

function imageOf(task: WholeTask): string {
  return task.spec.container.image;
}

function images(fake: FakeCluster): readonly string[] {
  return fake.running("s1").map(imageOf).sort();
}

/** Tasks of an image are rejected as they start; runs until nothing changes any more at this time. */
function play(fake: FakeCluster, bad: string): void {
  for (let round = 0; round < 500; round += 1) {
    for (const task of fake.wanted("s1"))
      if (imageOf(task) === bad && task.status.state >= TaskState.ASSIGNED && !isEnded(task.status.state))
        fake.report(task, TaskState.REJECTED, `No such image: ${bad}`);
    if (!fake.run() && !fake.step()) return;
  }
  assert.fail("it does not come to rest");
}

test("parallelism says how many slots are in work, and 0 that all are", () => {
  for (const [parallelism, atOnce] of [
    [1, 1],
    [3, 3],
    [0, 7],
  ] as const) {
    const fake = web({ replicas: 7, update: { parallelism } });
    fake.updateService("s1", image("web:2"));
    let most = 0;
    fake.afterRun = () => {
      most = Math.max(most, 7 - fake.running("s1").length);
    };
    fake.settle();
    assert.equal(most, atOnce);
    assert.equal(status(fake).message, "update completed");
    assert.deepEqual(new Set(images(fake)), new Set(["web:2"]));
  }
});

test("each worker waits the delay after its slot runs", () => {
  const fake = web({ replicas: 4, update: { parallelism: 2, delayMs: 10_000 } });
  const startedMs = fake.nowMs;
  fake.updateService("s1", image("web:2"));
  fake.settle();
  assert.equal(fake.nowMs - startedMs, 10_000, "one delay between two batches of two, none after the last");
  assert.equal(status(fake).state, UpdateStatus_State.COMPLETED);
});

test("an update is complete when the last new task has run for the monitoring time", () => {
  const fake = web({ replicas: 3, update: { monitorMs: 5_000 } });
  const startedMs = fake.nowMs;
  fake.updateService("s1", image("web:2"));
  play(fake, "none");
  assert.equal(images(fake).join(" "), "web:2 web:2 web:2", "the next slot does not wait for it");
  assert.equal(status(fake).state, UpdateStatus_State.UPDATING);
  fake.newLeader();
  fake.settle();
  assert.equal(fake.nowMs - startedMs, 5_000);
  assert.equal(status(fake).state, UpdateStatus_State.COMPLETED);
});

test("start-first never has fewer tasks running than replicas", () => {
  const fake = web({ replicas: 3, update: { order: START_FIRST } });
  fake.updateService("s1", image("web:2"));
  fake.afterRun = () => assert.ok(fake.running("s1").length >= 3);
  fake.settle();
  assert.equal(images(fake).join(" "), "web:2 web:2 web:2");
  assert.equal(fake.wanted("s1").length, 3);
});

test("a task that fails before it runs pauses the update, in Docker's words", () => {
  const fake = web();
  fake.updateService("s1", image("web:2"));
  play(fake, "web:2");
  const failed = fake.tasksOf("s1").find((task) => imageOf(task) === "web:2");
  assert.equal(status(fake).state, UpdateStatus_State.PAUSED);
  assert.equal(
    status(fake).message,
    `update paused due to failure or early termination of task ${failed?.id ?? ""}: No such image: web:2`,
  );
  assert.deepEqual(status(fake).failedSlots, ["1"]);
  assert.equal(images(fake).join(" "), "web:1 web:1 web:1", "the others are left alone");
});

test("a task that ends within the monitoring time fails the update, one that ends later does not", () => {
  for (const [ranMs, state] of [
    [5_000, UpdateStatus_State.PAUSED],
    [5_001, UpdateStatus_State.COMPLETED],
  ] as const) {
    const fake = web({ replicas: 1, update: { monitorMs: 5_000 } });
    fake.updateService("s1", image("web:2"));
    play(fake, "none");
    const [fresh] = fake.running("s1");
    assert.ok(fresh);
    fake.nowMs += ranMs;
    fake.report(fresh, TaskState.FAILED, "exit 1");
    fake.newLeader();
    fake.settle();
    assert.equal(status(fake).state, state);
  }
});

test("a task that was told to stop is no failure", () => {
  const fake = web({ replicas: 3, update: { monitorMs: 60_000 } });
  fake.updateService("s1", image("web:2"));
  for (let step = 0; step < 12; step += 1) if (!fake.run()) fake.step();
  fake.updateService("s1", image("web:3"));
  fake.scale("s1", 2);
  fake.settle();
  assert.equal(status(fake).message, "update completed");
  assert.equal(images(fake).join(" "), "web:3 web:3");
});

test("failures up to the ratio of all slots are borne", () => {
  for (const [maxFailureRatio, state] of [
    [0.25, UpdateStatus_State.COMPLETED],
    [0.24, UpdateStatus_State.PAUSED],
  ] as const) {
    const fake = web({ replicas: 4, update: { maxFailureRatio } });
    fake.updateService("s1", image("web:2"));
    for (let step = 0; step < 100; step += 1) {
      const [first] = fake.wanted("s1").filter(({ slot, spec }) => slot === 1 && spec.container.image === "web:2");
      if (first?.status.state === TaskState.STARTING && first.restarts === 0) fake.report(first, TaskState.FAILED);
      if (!fake.run()) fake.step();
    }
    fake.settle();
    assert.equal(status(fake).state, state);
    assert.deepEqual(status(fake).failedSlots, ["1"]);
  }
});

test("with the action continue every slot is tried once and the update ends", () => {
  for (const order of Object.values(UpdateConfig_Order)) {
    const fake = web({ update: { failureAction: CONTINUE, order }, restart: RestartPolicy_Condition.NONE });
    fake.updateService("s1", image("web:2"));
    play(fake, "web:2");
    assert.equal(status(fake).state, UpdateStatus_State.COMPLETED);
    assert.deepEqual(status(fake).failedSlots, ["1", "2", "3", "4"]);
    assert.equal(fake.tasksOf("s1").filter((task) => imageOf(task) === "web:2").length, 4);
    assert.equal(fake.running("s1").length, order === START_FIRST ? 4 : 0, "start-first leaves what ran");
  }
});

test("an automatic rollback brings the spec before back, keeps what still runs by it, and is a revision", () => {
  const fake = web({ update: { failureAction: ROLLBACK } });
  const before = new Map(fake.running("s1").map((task) => [task.slot, task.id]));
  fake.updateService("s1", image("web:2"));
  const words: string[] = [];
  fake.afterRun = () => {
    const { message, state } = status(fake);
    if (words.at(-1) !== `${state} ${message}`) words.push(`${state} ${message}`);
  };
  play(fake, "web:2");
  fake.settle();
  const failed = fake.tasksOf("s1").find((task) => imageOf(task) === "web:2");
  assert.deepEqual(words, [
    `${UpdateStatus_State.UPDATING} update in progress`,
    `${UpdateStatus_State.ROLLBACK_STARTED} update rolled back due to failure or early termination of task ${failed?.id ?? ""}: No such image: web:2`,
    `${UpdateStatus_State.ROLLBACK_COMPLETED} rollback completed`,
  ]);
  assert.match(status(fake).reason, /^update rolled back due to /, "the reason outlives the message");
  const { previousSpec, revision, spec } = fake.service("s1");
  assert.equal(spec.task.container.image, "web:1");
  assert.equal(previousSpec, undefined, "nobody goes forth to what failed by going back once more");
  assert.equal(images(fake).join(" "), "web:1 web:1 web:1 web:1");
  for (const task of fake.running("s1")) assert.equal(task.id === before.get(task.slot), task.slot !== 1);
  const [written] = fake.view.revisions.byService("s1");
  assert.deepEqual([written?.number, written?.action, written?.author], [revision, "automatic rollback", "tsswarm"]);
});

test("a rollback never rolls back: one that fails is paused", () => {
  const fake = web({ update: { failureAction: ROLLBACK }, rollback: { failureAction: ROLLBACK } });
  fake.updateService("s1", image("web:2"));
  // What was good before is not any more.
  for (let round = 0; round < 200; round += 1) {
    for (const task of fake.wanted("s1"))
      if (task.status.state === TaskState.STARTING) fake.report(task, TaskState.FAILED, "exit 1");
    if (!fake.run() && !fake.step()) fake.nowMs += 1_000;
  }
  assert.equal(status(fake).state, UpdateStatus_State.ROLLBACK_PAUSED);
  assert.match(status(fake).message, /^rollback paused due to failure or early termination of task task\d+: exit 1$/);
  assert.equal(fake.running("s1").length, 3, "the others were never touched");
});

test("without a spec before, a failure that asks for a rollback pauses and says so", () => {
  const fake = web({ update: { failureAction: ROLLBACK } });
  fake.updateService("s1", image("web:2"));
  fake.commit((tx) => tx.services.update({ ...fake.service("s1"), previousSpec: undefined }));
  play(fake, "web:2");
  assert.match(status(fake).message, /^update paused due to .*; there is no previous spec to roll back to$/);
});

test("a rollback of a start-first update drops the successor and keeps the task that runs", () => {
  const fake = web({ replicas: 3, update: { order: START_FIRST, failureAction: ROLLBACK, parallelism: 2 } });
  const before = fake.running("s1").map((task) => task.id);
  fake.updateService("s1", image("web:2"));
  play(fake, "web:2");
  fake.settle();
  assert.equal(status(fake).message, "rollback completed");
  assert.deepEqual(
    fake.wanted("s1").map((task) => task.id),
    before,
  );
});

test("a slot whose new task does not run in time fails the update, and the message names the task and why", () => {
  const fake = web({ update: { progressDeadlineMs: 60_000 } });
  fake.updateService("s1", (before) => ({
    ...before,
    task: { ...before.task, reservations: { ...before.task.reservations, nanoCpus: 64e9 } },
  }));
  const startedMs = fake.nowMs;
  fake.settle();
  assert.equal(fake.nowMs - startedMs, 60_000);
  assert.equal(status(fake).state, UpdateStatus_State.PAUSED);
  assert.match(
    status(fake).message,
    /^update paused because task web\.1 \(\w+\) does not run 1m0s after it was made: no suitable node \(/,
  );
});

test("without a progress deadline an update waits for ever", () => {
  const fake = web({ update: { progressDeadlineMs: 0 } });
  fake.updateService("s1", (before) => ({
    ...before,
    task: { ...before.task, reservations: { ...before.task.reservations, nanoCpus: 64e9 } },
  }));
  play(fake, "none");
  fake.nowMs += 30 * 86_400_000;
  fake.settle();
  assert.equal(status(fake).state, UpdateStatus_State.UPDATING);
});

test("a canary gets the new spec and the others wait until it is promoted", () => {
  const fake = web({ update: { monitorMs: 5_000 } });
  fake.updateService("s1", image("web:2"), 2);
  fake.settle();
  assert.equal(images(fake).join(" "), "web:1 web:1 web:2 web:2");
  assert.equal(status(fake).state, UpdateStatus_State.PAUSED);
  assert.equal(
    status(fake).message,
    'update paused after its canary of 2 tasks: go on with "service promote web", or back with "service rollback web"',
  );
  fake.commit((tx) => {
    const service = fake.service("s1");
    const updateStatus = { ...status(fake), state: UpdateStatus_State.UPDATING, canary: 0 };
    tx.services.update({ ...service, updateStatus });
  });
  fake.newLeader();
  fake.settle();
  assert.equal(images(fake).join(" "), "web:2 web:2 web:2 web:2");
  assert.equal(status(fake).message, "update completed");
});

test("neither a canary nor a paused update goes on by a crash: who follows is what it was", () => {
  const fake = web();
  fake.updateService("s1", image("web:2"), 1);
  fake.settle();
  for (const task of fake.running("s1")) fake.report(task, TaskState.FAILED, "exit 1");
  fake.settle();
  assert.equal(images(fake).join(" "), "web:1 web:1 web:1 web:2");
});

test("what failed before an update was resumed neither counts again nor is tried again", () => {
  const fake = web({ restart: RestartPolicy_Condition.NONE, update: { order: START_FIRST } });
  fake.updateService("s1", image("web:2"));
  play(fake, "web:2");
  assert.equal(status(fake).state, UpdateStatus_State.PAUSED);
  fake.commit((tx) => {
    const { failedSlots: forgivenSlots } = status(fake);
    const state = UpdateStatus_State.UPDATING;
    tx.services.update({
      ...fake.service("s1"),
      updateStatus: { ...status(fake), state, failedSlots: [], forgivenSlots },
    });
  });
  fake.newLeader();
  fake.settle();
  assert.equal(images(fake).join(" "), "web:1 web:2 web:2 web:2");
  assert.equal(status(fake).state, UpdateStatus_State.COMPLETED);
  const rest = fake.proposer.log.length;
  fake.newLeader();
  fake.settle();
  assert.equal(fake.proposer.log.length, rest, "and it rests");
});

test("scaling during an update neither stops it nor is undone by its rollback", () => {
  const fake = web({ replicas: 6 });
  fake.updateService("s1", image("web:2"));
  for (let step = 0; step < 10; step += 1) if (!fake.run()) fake.step();
  fake.scale("s1", 9);
  for (let step = 0; step < 10; step += 1) if (!fake.run()) fake.step();
  fake.scale("s1", 3);
  fake.settle();
  assert.equal(images(fake).join(" "), "web:2 web:2 web:2");
  assert.equal(status(fake).message, "update completed");
});

test("a newer spec takes over, slots that serve nobody first", () => {
  const fake = web({ replicas: 5, update: { parallelism: 2 } });
  fake.updateService("s1", image("web:2"));
  for (let step = 0; step < 4; step += 1) if (!fake.run()) fake.step();
  fake.updateService("s1", image("web:3"));
  fake.afterRun = () => {
    const up = fake
      .tasksOf("s1")
      .filter((task) => task.status.state === TaskState.RUNNING && wantsToRun(task.desiredState));
    assert.ok(up.length >= 3);
  };
  fake.settle();
  assert.deepEqual(new Set(images(fake)), new Set(["web:3"]));
});

test("a global service is updated node by node", () => {
  const fake = web({ replicas: 3, nodes: 3 });
  const global = { $case: "global", value: {} } as const;
  fake.commit((tx) => {
    tx.services.update({ ...fake.service("s1"), spec: { ...fake.service("s1").spec, mode: global } });
    for (const task of tx.tasks.byService("s1")) {
      tx.tasks.remove(task.id);
      tx.tasks.create({ ...task, slot: 0 });
    }
  });
  fake.settle();
  fake.updateService("s1", image("web:2"));
  fake.afterRun = () => assert.ok(fake.running("s1").length >= 2);
  fake.settle();
  assert.equal(status(fake).message, "update completed");
  assert.deepEqual(
    fake.running("s1").map((task) => [task.slot, imageOf(task)]),
    [1, 2, 3].map(() => [0, "web:2"]),
  );
  assert.deepEqual(new Set(fake.running("s1").map((task) => task.nodeId)), new Set(["n1", "n2", "n3"]));
});
