// What an update keeps to whatever its config says and whatever its tasks do: how many slots are in work, how many tasks run, that
// it ends, and that it makes no difference who leads.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type TaskState as State, UpdateStatus_State } from "../../../proto/gen/objects.ts";
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
import { currentPlan, isPaused, isUnderWay } from "../../../proto/model/update-plan.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

const NEW = "web:2";
/** Of a slot's tasks of the new image. */
type Fate = "runs" | "is rejected" | "ends after 1 s" | "ends after 8 s" | "never runs";

interface Case {
  readonly replicas: number;
  readonly update: UpdateConfig;
  readonly rollback: UpdateConfig;
  readonly restart: RestartPolicy_Condition;
  readonly fates: readonly Fate[];
  readonly canary: number;
}

const config = fc.record({
  parallelism: fc.nat(3),
  delayMs: fc.constantFrom(0, 3_000),
  monitorMs: fc.constantFrom(0, 5_000),
  failureAction: fc.constantFrom(...Object.values(UpdateConfig_FailureAction)),
  maxFailureRatio: fc.constantFrom(0, 0.3, 1),
  order: fc.constantFrom(...Object.values(UpdateConfig_Order)),
  progressDeadlineMs: fc.constant(20_000),
});

function cases(fate: fc.Arbitrary<Fate>): fc.Arbitrary<Case> {
  return fc.record({
    replicas: fc.integer({ min: 1, max: 6 }),
    update: config,
    rollback: config,
    restart: fc.constantFrom(RestartPolicy_Condition.ANY, RestartPolicy_Condition.NONE),
    fates: fc.array(fate, { minLength: 6, maxLength: 6 }),
    canary: fc.constantFrom(0, 0, 1, 2),
  });
}

const anyFate = fc.constantFrom<Fate[]>(
  "runs",
  "runs",
  "is rejected",
  "ends after 1 s",
  "ends after 8 s",
  "never runs",
);

function withImage(name: string): (spec: WholeServiceSpec) => WholeServiceSpec {
  return (before) => ({ ...before, task: { ...before.task, container: { ...before.task.container, image: name } } });
}

/** The service runs at web:1 and has just been asked to be web:2. */
function start({ replicas, update, rollback, restart, fates, canary }: Case): FakeCluster {
  const fake = new FakeCluster();
  for (const id of ["n1", "n2", "n3"]) fake.addNode(id);
  const base = wholeServiceSpec({
    ...ServiceSpec.create({ name: "web" }),
    mode: { $case: "replicated", value: { replicas } },
    update,
    rollback,
  });
  const policy = { ...RestartPolicy.create(), condition: restart };
  fake.createService("s1", withImage("web:1")({ ...base, task: { ...base.task, restart: policy } }));
  fake.settle();
  fake.fate = (task) =>
    task.spec.container.image === NEW ? fateOf(task, fates[task.slot - 1] ?? "runs", fake.nowMs) : undefined;
  fake.updateService("s1", withImage(NEW), canary);
  return fake;
}

function fateOf(task: WholeTask, fate: Fate, nowMs: number): State | undefined {
  const { state } = task.status;
  if (isEnded(state) || !wantsToRun(task.desiredState)) return undefined;
  const ranMs = state === TaskState.RUNNING ? nowMs - task.runningAtMs : -1;
  switch (fate) {
    case "runs":
      return undefined;
    case "is rejected":
      return state === TaskState.PREPARING ? TaskState.REJECTED : undefined;
    case "ends after 1 s":
      return ranMs >= 1_000 ? TaskState.FAILED : undefined;
    case "ends after 8 s":
      return ranMs >= 8_000 ? TaskState.FAILED : undefined;
    case "never runs":
      return state === TaskState.PREPARING ? state : undefined;
  }
}

const LONGEST_MS = 20 * 60_000;

/** Until the update is over, time moving while nobody has anything to do; `beforeRun` is told how many runs there were. */
function play(fake: FakeCluster, beforeRun: (run: number) => void = () => undefined): void {
  const startedMs = fake.nowMs;
  for (let run = 0; fake.nowMs - startedMs < LONGEST_MS; run += 1) {
    beforeRun(run);
    if (fake.run() || fake.step()) continue;
    const { updateStatus } = fake.service("s1");
    if (updateStatus !== undefined && updateStatus.state !== UpdateStatus_State.UNKNOWN && !isUnderWay(updateStatus))
      return;
    fake.nowMs += 500;
  }
  assert.fail(`the update does not end: ${JSON.stringify(fake.service("s1").updateStatus)}`);
}

function promote(fake: FakeCluster): void {
  fake.commit((tx) => {
    const service = fake.service("s1");
    const { updateStatus } = service;
    if (!isPaused(updateStatus) || updateStatus.canary === 0) return;
    const state = UpdateStatus_State.UPDATING;
    tx.services.update({ ...service, updateStatus: { ...updateStatus, state, canary: 0 } });
  });
}

function inWork(fake: FakeCluster): number {
  return fake
    .wanted("s1")
    .filter(({ spec, status }) => spec.container.image === NEW && status.state !== TaskState.RUNNING).length;
}

test("an update that meets no failure keeps to its parallelism, its order and its canary, and completes", () => {
  fc.assert(
    fc.property(cases(fc.constant("runs")), (each) => {
      const fake = start(each);
      const { parallelism, startFirst } = currentPlan(fake.service("s1"));
      fake.afterRun = () => {
        assert.ok(inWork(fake) <= parallelism, "slots in work");
        const fewest = startFirst ? each.replicas : each.replicas - parallelism;
        assert.ok(fake.running("s1").length >= fewest, "tasks that run");
      };
      play(fake);
      const fresh = (): number => fake.running("s1").filter((task) => task.spec.container.image === NEW).length;
      if (each.canary > 0 && each.canary < each.replicas) {
        assert.equal(fresh(), each.canary);
        promote(fake);
        play(fake);
      }
      assert.equal(fake.service("s1").updateStatus?.state, UpdateStatus_State.COMPLETED);
      assert.equal(fresh(), each.replicas);
    }),
    { numRuns: 150 },
  );
});

test("an update ends whatever fails, start-first never takes down what runs, and a rollback leaves nothing of the new spec", () => {
  fc.assert(
    fc.property(cases(anyFate), (each) => {
      const fake = start(each);
      fake.afterRun = () => {
        const old = fake.wanted("s1").filter((task) => task.spec.container.image === "web:1");
        const successors = new Set(fake.wanted("s1").map((task) => task.replaces));
        if (each.update.order !== UpdateConfig_Order.START_FIRST) return;
        for (const task of old) if (successors.has(task.id)) assert.equal(task.status.state, TaskState.RUNNING);
      };
      play(fake);
      promote(fake);
      play(fake);
      const { updateStatus } = fake.service("s1");
      const words = new Map<UpdateStatus_State | undefined, RegExp>([
        [UpdateStatus_State.COMPLETED, /^update completed$/],
        [UpdateStatus_State.PAUSED, /^update paused (due to failure or early termination of task|because task) /],
        [UpdateStatus_State.ROLLBACK_COMPLETED, /^rollback completed$/],
      ]);
      assert.match(updateStatus?.message ?? "", words.get(updateStatus?.state) ?? /never/);
      if (updateStatus?.state !== UpdateStatus_State.ROLLBACK_COMPLETED) return;
      assert.ok(fake.wanted("s1").every((task) => task.spec.container.image === "web:1"));
      assert.equal(fake.running("s1").length, each.replicas);
    }),
    { numRuns: 300 },
  );
});

test("a new leader at any step, or at every one, comes to the same end", () => {
  const end = (fake: FakeCluster): unknown => {
    const { updateStatus, spec } = fake.service("s1");
    return {
      image: spec.task.container.image,
      state: updateStatus?.state,
      failed: [...(updateStatus?.failedSlots ?? [])].sort(),
      running: fake.running("s1").map((task) => [task.slot, task.spec.container.image]),
    };
  };
  fc.assert(
    fc.property(cases(anyFate), fc.nat(60), (each, at) => {
      const plain = start(each);
      play(plain);
      const once = start(each);
      play(once, (run) => (run === at ? once.newLeader() : undefined));
      assert.deepEqual(end(once), end(plain));
      const always = start(each);
      play(always, () => always.newLeader());
      assert.deepEqual(end(always), end(plain));
    }),
    { numRuns: 60 },
  );
});
