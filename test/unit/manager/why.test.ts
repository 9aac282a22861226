// What people are told of a task that does not run, and of one that does; and what a plan foretells.

import assert from "node:assert/strict";
import { test } from "node:test";
import { planService } from "../../../manager/control/plan.ts";
import { why } from "../../../manager/control/why.ts";
import { rehearse } from "../../../manager/rehearsal.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { type PlanServiceResponse, PlannedTask_Action, type WhyResponse } from "../../../proto/gen/control.ts";
import { NodeStatus_State } from "../../../proto/gen/objects.ts";
import { NodeSpec_Availability, Placement, Resources, ServiceSpec } from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

const CONTEXT: CallContext = { caller: { kind: "local" }, signal: new AbortController().signal };

function spec(placement: Partial<Placement> = {}, replicas = 1): WholeServiceSpec {
  const base = wholeServiceSpec(ServiceSpec.create({ name: "web" }));
  const container = { ...base.task.container, image: "web:1" };
  return {
    ...base,
    mode: { $case: "replicated", value: { replicas } },
    task: { ...base.task, container, placement: { ...Placement.create(), ...placement } },
  };
}

function cluster(...nodes: readonly string[]): FakeCluster {
  const fake = new FakeCluster();
  for (const id of nodes) fake.addNode(id);
  return fake;
}

function ask(fake: FakeCluster, ref: string): Promise<WhyResponse> {
  return why({ store: fake.store, clock: { ...systemClock, now: () => fake.nowMs } }, { ref }, CONTEXT);
}

async function reasonOf(fake: FakeCluster, ref: string): Promise<string> {
  const [first] = (await ask(fake, ref)).tasks;
  return first?.reason ?? "";
}

test("every filter that refuses a node says so in figures, and the nearest nodes say what would help", async () => {
  const fake = cluster("n1", "n2", "n3");
  fake.changeNode("n1", (found) => ({
    ...found,
    spec: { ...found.spec, labels: { zone: "b" } },
    description: { ...found.description, resources: { ...Resources.create(), nanoCpus: 4e9, memoryBytes: 2 ** 31 } },
  }));
  fake.setAvailability("n2", NodeSpec_Availability.PAUSE);
  fake.setState("n3", NodeStatus_State.DOWN);
  const base = spec({ constraints: ["node.labels.zone==a"], maxReplicasPerNode: 2 });
  const reservations = { ...Resources.create(), memoryBytes: 3 * 2 ** 30, nanoCpus: 5e8 };
  fake.createService("s1", { ...base, task: { ...base.task, reservations } });
  fake.settle();
  const { tasks } = await ask(fake, "web");
  const [first] = tasks;
  assert.match(first?.reason ?? "", /^no suitable node \(/);
  assert.deepEqual(
    first?.verdicts.map(({ hostname, accepted, refusals }) => ({ hostname, accepted, refusals })),
    [
      {
        hostname: "host-n1",
        accepted: false,
        refusals: [
          'constraint node.labels.zone==a is not met: the node has "b"',
          "insufficient memory: needs 3GiB, 2GiB of 2GiB unreserved",
        ],
      },
      {
        hostname: "host-n2",
        accepted: false,
        refusals: [
          "the node takes no new tasks: its availability is pause",
          "constraint node.labels.zone==a is not met: the node has none",
        ],
      },
      {
        hostname: "host-n3",
        accepted: false,
        refusals: ["the node is down", "constraint node.labels.zone==a is not met: the node has none"],
      },
    ],
  );
  assert.equal(
    first.remedies[0],
    "drop constraint node.labels.zone==a or label node host-n1 with zone=a, and free or add 1GiB of memory on host-n1, or lower --reserve-memory to 2GiB",
  );
});

test("the limit of replicas names the figure that would do", async () => {
  const fake = cluster("n1");
  fake.createService("s1", spec({ maxReplicasPerNode: 2 }, 3));
  fake.settle();
  const { tasks } = await ask(fake, "web");
  assert.deepEqual(tasks[0]?.remedies, ["raise --replicas-max-per-node to 3"]);
  assert.equal(tasks[0].task?.slot, 3, "those that wait come first");
  assert.deepEqual(
    tasks.slice(1).map(({ reason, hostname, verdicts }) => [reason, hostname, verdicts.length]),
    [
      ["", "host-n1", 0],
      ["", "host-n1", 0],
    ],
  );
});

test("a task that waits says for what: its delay, the task before it, a node that is silent", async () => {
  const fake = cluster("n1", "n2");
  fake.createService("s1", spec());
  fake.settle();
  const [running] = fake.running("s1");
  assert.ok(running);
  fake.report(running, TaskState.FAILED, "task: non-zero exit (3)");
  fake.run();
  const [next] = (await ask(fake, "web.1")).tasks;
  assert.match(next?.reason ?? "", /^it waits for its restart delay: 5s more$/);
  assert.deepEqual(
    next?.history.map(({ id, status }) => [id, status?.error]),
    [[running.id, "task: non-zero exit (3)"]],
  );
  assert.match(await reasonOf(fake, running.id), /^it ended \(failed\): task: non-zero exit \(3\)$/);
  fake.settle();
  fake.stubborn.add("s1");
  fake.updateService("s1", (old) => ({ ...old, task: { ...old.task, forceUpdate: 1 } }));
  for (let turn = 0; turn < 10; turn += 1) if (!fake.run()) fake.step();
  assert.match(await reasonOf(fake, "web"), /^it waits for task \w+ before it to stop on host-n[12] \(web\.1\)$/);
  fake.stubborn.delete("s1");
  fake.settle();
  const [again] = fake.running("s1");
  fake.setState(again?.nodeId ?? "", NodeStatus_State.DOWN);
  assert.match(await reasonOf(fake, "web"), /^node host-n[12] is down; the task may still run there$/);
  await assert.rejects(ask(fake, "nobody"), { code: "NotFound", message: "service or task nobody not found" });
});

async function plan(fake: FakeCluster, id: string, wanted: WholeServiceSpec): Promise<PlanServiceResponse> {
  const random = seededRandom(5);
  const clock = { ...systemClock, now: () => fake.nowMs };
  return planService(
    {
      store: fake.store,
      random,
      playOut: (service, signal) => rehearse({ view: fake.view, clock, random, logger: silentLogger }, service, signal),
    },
    { id, spec: wanted },
    CONTEXT,
  );
}

test("a plan of a create says where tasks would go and writes nothing", async () => {
  const fake = cluster("n1", "n2", "n3");
  const log = fake.proposer.log.length;
  const planned = await plan(fake, "", spec({ maxReplicasPerNode: 1 }, 4));
  assert.ok(planned.differences.includes("+ name: web"));
  assert.deepEqual(
    planned.tasks.map(({ action, name, newNodeId, error }) => [action, name, newNodeId !== "", error]),
    [
      [PlannedTask_Action.CREATE, "web.1", true, ""],
      [PlannedTask_Action.CREATE, "web.2", true, ""],
      [PlannedTask_Action.CREATE, "web.3", true, ""],
      [PlannedTask_Action.CREATE, "web.4", false, "no suitable node (max replicas per node limit exceed on 3 nodes)"],
    ],
  );
  assert.equal(new Set(planned.tasks.map(({ newNodeId }) => newNodeId)).size, 4);
  assert.equal(fake.proposer.log.length, log);
  assert.equal(fake.view.services.all().length, 0);
  fake.createService("s1", spec());
  await assert.rejects(plan(fake, "", spec()), { code: "AlreadyExists" });
});

test("a plan of an update tells what is kept, replaced, made and removed, as the update then does it", async () => {
  const fake = cluster("n1", "n2", "n3");
  fake.createService("s1", spec({}, 3));
  fake.settle();
  const before = fake.proposer.log.length;
  const wanted = spec({}, 2);
  const scaled = await plan(fake, "s1", wanted);
  assert.deepEqual(scaled.differences, ["~ replicated.replicas: 3 -> 2"]);
  const actions = (planned: PlanServiceResponse): readonly PlannedTask_Action[] =>
    planned.tasks.map(({ action }) => action).sort();
  const { KEEP, CREATE, REPLACE, REMOVE } = PlannedTask_Action;
  assert.deepEqual(actions(scaled), [KEEP, KEEP, REMOVE]);
  const image = { ...wanted, task: { ...wanted.task, container: { ...wanted.task.container, image: "web:2" } } };
  const updated = await plan(fake, "s1", { ...image, mode: { $case: "replicated", value: { replicas: 4 } } });
  assert.deepEqual(actions(updated), [CREATE, REPLACE, REPLACE, REPLACE]);
  assert.deepEqual(actions(await plan(fake, "s1", fake.service("s1").spec)), [KEEP, KEEP, KEEP]);
  const moved = await plan(fake, "s1", spec({ constraints: ["node.id==n2"] }, 3));
  assert.deepEqual(
    moved.tasks.map(({ newNodeId }) => newNodeId),
    ["n2", "n2", "n2"],
  );
  assert.equal(moved.tasks.filter(({ action }) => action === KEEP).length, 1);
  assert.equal(fake.proposer.log.length, before, "nothing was written");
  fake.scale("s1", 2);
  fake.settle();
  const kept = scaled.tasks.filter(({ action }) => action === KEEP);
  assert.deepEqual(
    fake.running("s1").map(({ nodeId }) => nodeId),
    kept.map(({ nodeId }) => nodeId),
  );
});
