// Global services, jobs and schedules: what becomes of their tasks when nodes come and go, tasks end and times are due.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeStatus_State } from "../../../proto/gen/objects.ts";
import {
  CronSchedule,
  CronSchedule_Concurrency,
  NodeSpec_Availability,
  Resources,
  RestartPolicy,
  RestartPolicy_Condition,
  ServiceSpec,
} from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

function spec(mode: WholeServiceSpec["mode"], restart: Partial<RestartPolicy> = {}): WholeServiceSpec {
  const base = wholeServiceSpec({ ...ServiceSpec.create({ name: "s" }), mode });
  return { ...base, task: { ...base.task, restart: { ...RestartPolicy.create(), ...restart } } };
}

const GLOBAL: WholeServiceSpec["mode"] = { $case: "global", value: {} };

function job(totalCompletions: number, maxConcurrent = 0): WholeServiceSpec["mode"] {
  return { $case: "replicatedJob", value: { totalCompletions, maxConcurrent, schedule: undefined } };
}

function cron(concurrency: CronSchedule_Concurrency, completions = 1): WholeServiceSpec["mode"] {
  const schedule = CronSchedule.create({ expression: "*/5 * * * *", concurrency });
  return { $case: "replicatedJob", value: { totalCompletions: completions, maxConcurrent: 0, schedule } };
}

function cluster(mode: WholeServiceSpec["mode"], restart: Partial<RestartPolicy> = {}): FakeCluster {
  const fake = new FakeCluster();
  for (const id of ["n1", "n2", "n3"]) fake.addNode(id);
  fake.createService("s1", spec(mode, restart));
  return fake;
}

function runningOn(fake: FakeCluster): readonly string[] {
  return fake
    .running("s1")
    .map(({ nodeId }) => nodeId)
    .sort();
}

function force(fake: FakeCluster): void {
  fake.updateService("s1", (found) => ({ ...found, task: { ...found.task, forceUpdate: found.task.forceUpdate + 1 } }));
}

/** Until nothing changes; the time stays. */
function work(fake: FakeCluster): void {
  for (let round = 0; round < 300; round += 1) if (!fake.run() && !fake.step()) return;
  assert.fail("the cluster does not come to rest");
}

function states(fake: FakeCluster, state: TaskState): number {
  return fake.tasksOf("s1").filter((task) => task.status.state === state).length;
}

test("a global service has one task on each node, also on those that come", () => {
  const fake = cluster(GLOBAL);
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n2", "n3"]);
  assert.ok(fake.tasksOf("s1").every((task) => task.slot === 0));
  fake.addNode("n4");
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n2", "n3", "n4"]);
});

test("a drained node loses its task and gets one again; nothing is moved elsewhere", () => {
  const fake = cluster(GLOBAL);
  fake.settle();
  fake.setAvailability("n2", NodeSpec_Availability.DRAIN);
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n3"]);
  assert.equal(fake.wanted("s1").length, 2);
  fake.setAvailability("n2", NodeSpec_Availability.ACTIVE);
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n2", "n3"]);
});

test("a task that its drained node stopped is not brought back by an update, whatever its restart policy", () => {
  const fake = cluster(GLOBAL, { condition: RestartPolicy_Condition.NONE });
  fake.settle();
  fake.setAvailability("n2", NodeSpec_Availability.DRAIN);
  fake.settle();
  force(fake);
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n3"]);
  fake.setAvailability("n2", NodeSpec_Availability.ACTIVE);
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n2", "n3"]);
});

test("a paused node keeps its task and a paused newcomer gets none", () => {
  const fake = cluster(GLOBAL);
  fake.settle();
  fake.setAvailability("n2", NodeSpec_Availability.PAUSE);
  fake.addNode("n4");
  fake.setAvailability("n4", NodeSpec_Availability.PAUSE);
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n2", "n3"]);
  assert.equal(fake.tasksOf("s1").length, 3, "none waits for the newcomer either");
});

test("a node that is down keeps its task, which goes on when the node is back", () => {
  const fake = cluster(GLOBAL);
  fake.settle();
  const before = fake.wanted("s1").map(({ id }) => id);
  fake.setState("n2", NodeStatus_State.DOWN);
  fake.settle();
  fake.setState("n2", NodeStatus_State.READY);
  fake.settle();
  assert.deepEqual(
    fake.wanted("s1").map(({ id }) => id),
    before,
  );
});

test("a task that was lost with its node is followed by another when the node is back", () => {
  const fake = cluster(GLOBAL);
  fake.settle();
  fake.setState("n2", NodeStatus_State.DOWN);
  for (const task of fake.view.tasks.byNode("n2")) fake.report(task, TaskState.ORPHANED);
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n3"]);
  fake.setState("n2", NodeStatus_State.READY);
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n2", "n3"]);
});

test("constraints say which nodes have a task, and a label that changes brings and takes it", () => {
  const fake = new FakeCluster();
  for (const id of ["n1", "n2"]) fake.addNode(id);
  const base = spec(GLOBAL);
  const placement = { ...base.task.placement, constraints: ["node.labels.zone==a"] };
  fake.createService("s1", { ...base, task: { ...base.task, placement } });
  fake.settle();
  assert.deepEqual(runningOn(fake), []);
  const label = (zone: string): void => {
    fake.changeNode("n1", (node) => ({ ...node, spec: { ...node.spec, labels: { zone } } }));
    fake.settle();
  };
  label("a");
  assert.deepEqual(runningOn(fake), ["n1"]);
  label("b");
  assert.deepEqual(runningOn(fake), []);
  assert.equal(fake.wanted("s1").length, 0);
});

test("a global task that does not fit waits for its own node and says why", () => {
  const fake = new FakeCluster();
  fake.addNode("n1", { nanoCpus: 1e9 });
  fake.addNode("n2", { nanoCpus: 4e9 });
  const base = spec(GLOBAL);
  const reservations = { ...Resources.create(), nanoCpus: 2e9 };
  fake.createService("s1", { ...base, task: { ...base.task, reservations } });
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n2"]);
  const [waiting] = fake.wanted("s1").filter((task) => task.nodeId === "n1");
  assert.equal(waiting?.status.error, "no suitable node (insufficient resources on 1 node)");
});

test("a node that is removed leaves nothing of a global service behind", () => {
  const fake = cluster(GLOBAL);
  fake.settle();
  fake.removeNode("n2");
  fake.settle();
  assert.deepEqual(
    fake.tasksOf("s1").map(({ nodeId }) => nodeId),
    ["n1", "n3"],
  );
});

test("an update of a global service replaces the task of every node", () => {
  const fake = cluster(GLOBAL);
  fake.settle();
  fake.updateService("s1", (found) => ({
    ...found,
    task: { ...found.task, container: { ...found.task.container, image: "web:2" } },
  }));
  fake.settle();
  assert.deepEqual(runningOn(fake), ["n1", "n2", "n3"]);
  assert.ok(fake.running("s1").every((task) => task.spec.container.image === "web:2"));
});

test("a job runs so many tasks at once until enough have ended well, and keeps them as what was done", () => {
  const fake = cluster(job(5, 2));
  let most = 0;
  fake.afterRun = () => {
    most = Math.max(most, fake.tasksOf("s1").filter(({ status }) => status.state === TaskState.RUNNING).length);
  };
  fake.settle();
  assert.equal(most, 2);
  const tasks = fake.tasksOf("s1");
  assert.deepEqual(
    tasks.map(({ slot }) => slot),
    [1, 2, 3, 4, 5],
  );
  assert.ok(tasks.every(({ status, jobIteration }) => status.state === TaskState.COMPLETE && jobIteration === 1));
});

test("a job whose policy says any tries again only what failed, as often as it may", () => {
  const fake = cluster(job(2), { maxAttempts: 2 });
  fake.jobEnd = (task) => (task.slot === 1 ? TaskState.COMPLETE : TaskState.FAILED);
  fake.settle();
  const bySlot = (slot: number) => fake.tasksOf("s1").filter((task) => task.slot === slot);
  assert.equal(bySlot(1).length, 1);
  assert.equal(bySlot(2).length, 3);
  assert.equal(fake.wanted("s1").length, 0);
});

test("a job that may not try again leaves a failed task as it is", () => {
  const fake = cluster(job(2), { condition: RestartPolicy_Condition.NONE });
  fake.jobEnd = () => TaskState.FAILED;
  fake.settle();
  assert.equal(states(fake, TaskState.FAILED), 2);
  assert.equal(fake.tasksOf("s1").length, 2);
});

test("a job is scaled in the middle of its run", () => {
  const fake = cluster(job(3, 1));
  fake.settle();
  fake.updateService("s1", (found) => ({ ...found, mode: job(5, 1) }));
  fake.settle();
  assert.equal(states(fake, TaskState.COMPLETE), 5);
  assert.equal(fake.service("s1").jobStatus?.iteration, 1);
});

test("an update of a job begins another run, and what is left of the one before goes", () => {
  const fake = cluster(job(2, 1));
  fake.jobEnd = () => undefined;
  fake.settle();
  const [first] = fake.running("s1");
  fake.stubborn.add("s1");
  force(fake);
  work(fake);
  assert.equal(fake.running("s1").length, 0, "the next run waits for the task that is stopping");
  fake.stubborn.clear();
  fake.jobEnd = () => TaskState.COMPLETE;
  fake.settle();
  const tasks = fake.tasksOf("s1");
  assert.ok(!tasks.some(({ id }) => id === first?.id));
  assert.deepEqual(
    tasks.map(({ jobIteration, status }) => [jobIteration, status.state]),
    [
      [2, TaskState.COMPLETE],
      [2, TaskState.COMPLETE],
    ],
  );
});

test("a task of a job whose node is drained begins anew on another", () => {
  const fake = cluster(job(1));
  fake.jobEnd = () => undefined;
  fake.settle();
  const [first] = fake.running("s1");
  fake.setAvailability(first?.nodeId ?? "", NodeSpec_Availability.DRAIN);
  fake.settle();
  const [second] = fake.running("s1");
  assert.notEqual(second?.nodeId, first?.nodeId);
  assert.equal(second?.jobIteration, 1);
});

test("a global job runs once on each node, also on one that comes, and again when forced", () => {
  const fake = cluster({ $case: "globalJob", value: { schedule: undefined } });
  fake.settle();
  assert.equal(states(fake, TaskState.COMPLETE), 3);
  fake.addNode("n4");
  fake.setAvailability("n1", NodeSpec_Availability.DRAIN);
  fake.settle();
  fake.setAvailability("n1", NodeSpec_Availability.ACTIVE);
  fake.settle();
  assert.equal(states(fake, TaskState.COMPLETE), 4);
  force(fake);
  fake.settle();
  assert.deepEqual(
    fake.tasksOf("s1").map(({ nodeId, jobIteration }) => [nodeId, jobIteration]),
    [
      ["n1", 2],
      ["n2", 2],
      ["n3", 2],
      ["n4", 2],
    ],
  );
});

const FIVE = 300_000;

test("a schedule runs nothing at creation and then at its times", () => {
  const fake = cluster(cron(CronSchedule_Concurrency.FORBID));
  work(fake);
  assert.equal(fake.tasksOf("s1").length, 0);
  const due = Math.ceil(fake.nowMs / FIVE) * FIVE;
  assert.equal(fake.service("s1").jobStatus?.nextRunAtMs, due);
  fake.nowMs = due;
  work(fake);
  assert.equal(states(fake, TaskState.COMPLETE), 1);
  fake.nowMs += FIVE;
  work(fake);
  assert.equal(states(fake, TaskState.COMPLETE), 2, "the run before stays as history");
  assert.equal(fake.service("s1").jobStatus?.nextRunAtMs, due + 2 * FIVE);
});

test("a node that comes long after the run of a scheduled global job waits for the next run", () => {
  const schedule = CronSchedule.create({ expression: "*/5 * * * *" });
  const fake = cluster({ $case: "globalJob", value: { schedule } });
  work(fake);
  const due = fake.service("s1").jobStatus?.nextRunAtMs ?? 0;
  fake.nowMs = due;
  work(fake);
  assert.equal(states(fake, TaskState.COMPLETE), 3);
  fake.nowMs = due + 60_000;
  fake.addNode("n4");
  work(fake);
  assert.equal(states(fake, TaskState.COMPLETE), 4, "one that comes soon after takes part");
  fake.nowMs = due + 200_000;
  fake.addNode("n5");
  work(fake);
  assert.equal(states(fake, TaskState.COMPLETE), 4);
  fake.nowMs = due + FIVE;
  work(fake);
  assert.equal(states(fake, TaskState.COMPLETE), 9);
});

test("a run that is due while the one before it goes on is skipped, takes its place, or runs beside it", () => {
  const outcomes = Object.values(CronSchedule_Concurrency).map((concurrency) => {
    const fake = cluster(cron(concurrency, 2));
    fake.jobEnd = () => undefined;
    work(fake);
    for (let run = 0; run < 3; run += 1) {
      fake.nowMs = fake.service("s1").jobStatus?.nextRunAtMs ?? 0;
      work(fake);
    }
    const { iteration = 0, skipped = 0, message = "" } = fake.service("s1").jobStatus ?? {};
    return { concurrency, running: fake.running("s1").length, iteration, skipped, message };
  });
  const [forbid, replace, allow] = outcomes;
  assert.match(forbid?.message ?? "", /^the run of 2023-\S+ was skipped: the one before it has not ended$/);
  assert.deepEqual(forbid, {
    ...forbid,
    concurrency: CronSchedule_Concurrency.FORBID,
    running: 2,
    iteration: 1,
    skipped: 2,
  });
  assert.deepEqual(replace, { ...replace, concurrency: CronSchedule_Concurrency.REPLACE, running: 2, iteration: 3 });
  assert.deepEqual(allow, { ...allow, concurrency: CronSchedule_Concurrency.ALLOW, running: 6, iteration: 3 });
});

test("runs that nobody began in time are counted; the last of them still begins when it is not long ago", () => {
  for (const [lateMs, begins] of [
    [90_000, true],
    [200_000, false],
  ] as const) {
    const fake = cluster(cron(CronSchedule_Concurrency.FORBID));
    work(fake);
    const due = fake.service("s1").jobStatus?.nextRunAtMs ?? 0;
    fake.nowMs = due + 2 * FIVE + lateMs;
    fake.newLeader();
    work(fake);
    const status = fake.service("s1").jobStatus;
    assert.equal(status?.iteration, begins ? 1 : 0);
    assert.equal(status.message, `${begins ? 2 : 3} runs were missed while no manager led`);
    assert.equal(status.skipped, begins ? 0 : 3);
    assert.equal(status.nextRunAtMs, due + 3 * FIVE);
  }
});

test("who forces a job with a schedule gets a run at once; another spec waits for the next", () => {
  const fake = cluster(cron(CronSchedule_Concurrency.FORBID));
  work(fake);
  force(fake);
  work(fake);
  assert.equal(states(fake, TaskState.COMPLETE), 1);
  fake.updateService("s1", (found) => ({
    ...found,
    task: { ...found.task, container: { ...found.task.container, image: "web:2" } },
  }));
  work(fake);
  assert.equal(fake.tasksOf("s1").length, 1);
  fake.nowMs = fake.service("s1").jobStatus?.nextRunAtMs ?? 0;
  work(fake);
  assert.deepEqual(
    fake.tasksOf("s1").map((task) => task.spec.container.image),
    ["", "web:2"],
  );
});

test("another schedule moves the next run, and none makes the job run", () => {
  const fake = cluster(cron(CronSchedule_Concurrency.FORBID));
  work(fake);
  const schedule = CronSchedule.create({ expression: "0 0 1 1 *" });
  const at = (mode: WholeServiceSpec["mode"]): void => {
    fake.updateService("s1", (found) => ({ ...found, mode }));
    work(fake);
  };
  at({ $case: "replicatedJob", value: { totalCompletions: 1, maxConcurrent: 0, schedule } });
  assert.equal(fake.service("s1").jobStatus?.nextRunAtMs, Date.UTC(2024, 0, 1));
  assert.equal(fake.tasksOf("s1").length, 0);
  at(job(1));
  assert.equal(fake.service("s1").jobStatus?.nextRunAtMs, 0);
  assert.equal(states(fake, TaskState.COMPLETE), 1);
});

test("a job that is removed goes with all its tasks", () => {
  const fake = cluster(cron(CronSchedule_Concurrency.FORBID));
  fake.jobEnd = () => undefined;
  work(fake);
  force(fake);
  work(fake);
  fake.removeService("s1");
  work(fake);
  assert.equal(fake.view.services.get("s1"), undefined);
  assert.equal(
    fake.tasksOf("s1").filter((task) => wantsToRun(task.desiredState) || !isEnded(task.status.state)).length,
    0,
  );
});
