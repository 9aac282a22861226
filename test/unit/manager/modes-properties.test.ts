// Whatever happens to a cluster with global services and jobs: a node has at most one wanted task of a service (checkAlways looks), a job
// never has more tasks at once than it may, in the end everything is done that is to be done, and a leader who saw nothing of it
// goes on as the one before would have.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NodeStatus_State } from "../../../proto/gen/objects.ts";
import {
  CronSchedule,
  CronSchedule_Concurrency,
  NodeSpec_Availability,
  ServiceSpec,
} from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, type WholeTask, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

const NODES = ["n1", "n2", "n3", "n4"] as const;
const TOTAL = 5;
const AT_ONCE = 2;

type Op =
  | { readonly kind: "run" | "step" | "leader" }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "end"; readonly pick: number; readonly isWell: boolean }
  | { readonly kind: "force"; readonly service: string }
  | { readonly kind: "availability"; readonly node: string; readonly to: NodeSpec_Availability }
  | { readonly kind: "state"; readonly node: string; readonly to: NodeStatus_State }
  | { readonly kind: "label"; readonly node: string; readonly zone: string }
  | { readonly kind: "removeNode"; readonly node: string };

const node = fc.constantFrom(...NODES);
const work = fc.record({ kind: fc.constantFrom("run" as const, "step" as const) });
const harmless: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: work },
  fc.record({ kind: fc.constant("end" as const), pick: fc.nat(100), isWell: fc.boolean() }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(20_000) }),
  fc.record({
    kind: fc.constant("availability" as const),
    node,
    to: fc.constantFrom(...Object.values(NodeSpec_Availability)),
  }),
);
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: harmless },
  fc.record({ kind: fc.constant("leader" as const) }),
  fc.record({ kind: fc.constant("force" as const), service: fc.constantFrom("job", "each-job", "each") }),
  fc.record({ kind: fc.constant("state" as const), node, to: fc.constantFrom(...Object.values(NodeStatus_State)) }),
  fc.record({ kind: fc.constant("label" as const), node, zone: fc.constantFrom("a", "b") }),
  fc.record({ kind: fc.constant("removeNode" as const), node }),
);

const MODES: Readonly<Record<string, WholeServiceSpec["mode"]>> = {
  each: { $case: "global", value: {} },
  zone: { $case: "global", value: {} },
  job: {
    $case: "replicatedJob",
    value: { totalCompletions: TOTAL, maxConcurrent: AT_ONCE, schedule: undefined },
  },
  "each-job": { $case: "globalJob", value: { schedule: undefined } },
};

function start(modes: Readonly<Record<string, WholeServiceSpec["mode"]>>): FakeCluster {
  const fake = new FakeCluster();
  for (const id of NODES) fake.addNode(id);
  for (const [id, mode] of Object.entries(modes)) {
    const base = wholeServiceSpec({ ...ServiceSpec.create({ name: id }), mode });
    const constraints = id === "zone" ? ["node.labels.zone==a"] : [];
    fake.createService(id, { ...base, task: { ...base.task, placement: { ...base.task.placement, constraints } } });
  }
  return fake;
}

function play(fake: FakeCluster, each: Op): void {
  switch (each.kind) {
    case "run":
      fake.run();
      break;
    case "step":
      fake.step();
      break;
    case "leader":
      fake.newLeader();
      break;
    case "wait":
      fake.nowMs += each.ms;
      break;
    case "end": {
      const up = fake.view.tasks
        .all()
        .filter(({ status }) => status.state >= TaskState.ASSIGNED && !isEnded(status.state));
      const task = up[each.pick % Math.max(1, up.length)];
      if (task !== undefined) fake.report(task, each.isWell ? TaskState.COMPLETE : TaskState.FAILED);
      break;
    }
    case "force":
      fake.updateService(each.service, (spec) => ({
        ...spec,
        task: { ...spec.task, forceUpdate: spec.task.forceUpdate + 1 },
      }));
      break;
    case "availability":
      fake.setAvailability(each.node, each.to);
      break;
    case "state":
      fake.setState(each.node, each.to);
      break;
    case "label":
      fake.changeNode(each.node, (found) => ({ ...found, spec: { ...found.spec, labels: { zone: each.zone } } }));
      break;
    case "removeNode":
      if (fake.view.nodes.get(each.node) !== undefined) fake.removeNode(each.node);
  }
}

function heal(fake: FakeCluster): void {
  for (const id of NODES) {
    if (fake.view.nodes.get(id) === undefined) fake.addNode(id);
    fake.setState(id, NodeStatus_State.READY);
    fake.setAvailability(id, NodeSpec_Availability.ACTIVE);
  }
}

function ofRun(fake: FakeCluster, id: string): readonly WholeTask[] {
  const iteration = fake.service(id).jobStatus?.iteration;
  return fake.tasksOf(id).filter((task) => task.jobIteration === iteration);
}

test("in the end each node has its tasks, and each job is done as often as it was asked for", () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
      const fake = start(MODES);
      fake.afterRun = () => {
        const wanted = fake.wanted("job").filter((task) => !isEnded(task.status.state));
        assert.ok(wanted.length <= AT_ONCE, `${wanted.length} tasks of the job are wanted at once`);
      };
      for (const each of ops) play(fake, each);
      heal(fake);
      fake.settle();
      const nodes = fake.view.nodes.all();
      const places = (id: string): readonly string[] => fake.running(id).map((task) => task.nodeId);
      assert.deepEqual([...places("each")].sort(), nodes.map(({ id }) => id).sort());
      assert.deepEqual(
        [...places("zone")].sort(),
        nodes
          .filter(({ spec }) => spec.labels["zone"] === "a")
          .map(({ id }) => id)
          .sort(),
      );
      const done = ofRun(fake, "job").filter(({ status }) => status.state === TaskState.COMPLETE);
      assert.equal(done.length, TOTAL);
      const served = ofRun(fake, "each-job").filter(({ status }) => status.state === TaskState.COMPLETE);
      assert.deepEqual(served.map(({ nodeId }) => nodeId).sort(), nodes.map(({ id }) => id).sort());
      for (const id of ["job", "each-job"]) assert.equal(fake.wanted(id).length, 0);
      const before = fake.proposer.log.length;
      fake.newLeader();
      assert.equal(fake.run(), false, "a settled cluster needs nothing, also from a leader who knows nothing");
      assert.equal(fake.proposer.log.length, before);
    }),
    { numRuns: 80 },
  );
});

test("as long as no node is lost, no more tasks of a job run at once than may, those that are stopping included", () => {
  const ops = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: harmless },
      fc.constant<Op>({ kind: "leader" }),
      fc.constant<Op>({ kind: "force", service: "job" }),
    ),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(ops, (given) => {
      const fake = start(MODES);
      fake.afterRun = (view) => {
        const up = view.tasks
          .byService("job")
          .filter(({ status }) => status.state === TaskState.STARTING || status.state === TaskState.RUNNING);
        assert.ok(up.length <= AT_ONCE, `${up.length} tasks of the job are up at once`);
      };
      for (const each of given) play(fake, each);
      heal(fake);
      fake.settle();
    }),
    { numRuns: 50 },
  );
});

test("a schedule comes to the same whoever leads, and each run that is due begins or is counted", () => {
  const minutes = fc.array(
    fc.record({ waitMs: fc.integer({ min: 1_000, max: 90_000 }), steps: fc.nat(12), end: fc.boolean() }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(minutes, fc.constantFrom(...Object.values(CronSchedule_Concurrency)), (turns, concurrency) => {
      const outcome = (changesLeader: boolean): unknown => {
        const schedule = CronSchedule.create({ expression: "* * * * *", concurrency });
        const mode = { $case: "replicatedJob", value: { totalCompletions: 2, maxConcurrent: 0, schedule } } as const;
        const fake = start({ cron: mode });
        fake.jobEnd = () => undefined;
        fake.run();
        let due = 0;
        let skipped = 0;
        for (const { waitMs, steps, end } of turns) {
          const before = fake.service("cron").jobStatus;
          const from = Math.floor(fake.nowMs / 60_000);
          fake.nowMs += waitMs;
          due += Math.floor(fake.nowMs / 60_000) - from;
          if (changesLeader) fake.newLeader();
          for (let step = 0; step < steps; step += 1) if (!fake.run()) fake.step();
          fake.run();
          const after = fake.service("cron").jobStatus;
          assert.ok(after !== undefined && before !== undefined);
          // A run that begins sets the count back; what was missed right before it is in the message.
          const missed = /^(\d+) runs? w/.exec(after.message)?.[1] ?? "0";
          if (after.iteration > before.iteration) skipped += Number(missed);
          else skipped += after.skipped - before.skipped;
          if (end) for (const task of fake.running("cron")) fake.report(task, TaskState.COMPLETE);
        }
        const status = fake.service("cron").jobStatus;
        assert.equal((status?.iteration ?? 0) + skipped, due);
        const wanted = fake.wanted("cron").filter((task) => !isEnded(task.status.state));
        const most = concurrency === CronSchedule_Concurrency.ALLOW ? 2 * (status?.iteration ?? 0) : 2;
        assert.ok(wanted.length <= most);
        const tasks = fake.tasksOf("cron");
        return { status, tasks: tasks.map((task) => [task.slot, task.jobIteration, wantsToRun(task.desiredState)]) };
      };
      assert.deepEqual(outcome(true), outcome(false));
    }),
    { numRuns: 50 },
  );
});
