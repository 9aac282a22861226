// Whatever happens to a cluster, it comes to rest as specified. checkAlways (test/support) looks at every state on the way: one
// wanted task per slot, no node oversold, no port given twice, no more replicas on a node than allowed.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NodeStatus_State, type TaskState as State } from "../../../proto/gen/objects.ts";
import {
  NodeSpec_Availability,
  PortConfig,
  PortConfig_PublishMode,
  Resources,
  ServiceSpec,
  UpdateConfig_FailureAction,
} from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { replicasOf } from "../../../proto/model/service-mode.ts";
import { TaskState, isEnded, wantsToRun } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

const NODES = ["n1", "n2", "n3", "n4"] as const;
const SERVICES = ["s1", "s2", "s3"] as const;

type Op =
  | { readonly kind: "scale"; readonly service: string; readonly replicas: number }
  | { readonly kind: "image"; readonly service: string; readonly image: string }
  | { readonly kind: "remove" | "create"; readonly service: string }
  | { readonly kind: "availability"; readonly node: string; readonly to: NodeSpec_Availability }
  | { readonly kind: "state"; readonly node: string; readonly to: NodeStatus_State }
  | { readonly kind: "label"; readonly node: string; readonly zone: string }
  | { readonly kind: "removeNode"; readonly node: string }
  | { readonly kind: "end"; readonly pick: number; readonly state: State }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "run" | "step" | "leader" };

const service = fc.constantFrom(...SERVICES);
const node = fc.constantFrom(...NODES);
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("run" as const, "step" as const) }) },
  fc.record({ kind: fc.constant("scale" as const), service, replicas: fc.nat(8) }),
  fc.record({ kind: fc.constant("image" as const), service, image: fc.constantFrom("a:1", "a:2", "a:3") }),
  fc.record({ kind: fc.constantFrom("remove" as const, "create" as const), service }),
  fc.record({
    kind: fc.constant("availability" as const),
    node,
    to: fc.constantFrom(...Object.values(NodeSpec_Availability)),
  }),
  fc.record({ kind: fc.constant("state" as const), node, to: fc.constantFrom(...Object.values(NodeStatus_State)) }),
  fc.record({ kind: fc.constant("label" as const), node, zone: fc.constantFrom("a", "b") }),
  fc.record({ kind: fc.constant("removeNode" as const), node }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("end" as const),
      pick: fc.nat(100),
      state: fc.constantFrom(TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED),
    }),
  },
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(70_000) }),
  fc.record({ kind: fc.constant("leader" as const) }),
);

/** s1 is plain; s2 reserves, has a fixed port and at most one task a node; s3 keeps to a zone. */
function specOf(id: string): WholeServiceSpec {
  const base = wholeServiceSpec(ServiceSpec.create({ name: id }));
  const { task } = base;
  // An update that paused would be at rest without being as specified.
  const update = { ...base.update, failureAction: UpdateConfig_FailureAction.CONTINUE };
  const spec: WholeServiceSpec = { ...base, update, mode: { $case: "replicated", value: { replicas: 3 } } };
  const port = PortConfig.create({ targetPort: 80, publishedPort: 8080, publishMode: PortConfig_PublishMode.HOST });
  if (id === "s2") {
    const reservations = { ...Resources.create(), nanoCpus: 3e9, memoryBytes: 100 };
    const placement = { ...task.placement, maxReplicasPerNode: 1 };
    return { ...spec, endpoint: { ports: [port] }, task: { ...task, reservations, placement } };
  }
  if (id === "s3") {
    // Four of them on the only node of the zone leave room for one of s2 there: nobody moves them for it.
    const reservations = { ...Resources.create(), nanoCpus: 1e9 };
    return {
      ...spec,
      task: { ...task, reservations, placement: { ...task.placement, constraints: ["node.labels.zone==a"] } },
    };
  }
  return spec;
}

function play(fake: FakeCluster, each: Op): void {
  switch (each.kind) {
    case "scale":
      fake.scale(each.service, each.replicas);
      break;
    case "image":
      fake.updateService(each.service, (spec) => ({
        ...spec,
        task: { ...spec.task, container: { ...spec.task.container, image: each.image } },
      }));
      break;
    case "remove":
      fake.removeService(each.service);
      break;
    case "create":
      if (fake.view.services.get(each.service) === undefined) fake.createService(each.service, specOf(each.service));
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
      break;
    case "end": {
      const up = fake.view.tasks
        .all()
        .filter(({ status }) => status.state >= TaskState.ASSIGNED && !isEnded(status.state));
      const task = up[each.pick % Math.max(1, up.length)];
      if (task !== undefined) fake.report(task, each.state, "it ended");
      break;
    }
    case "wait":
      fake.nowMs += each.ms;
      break;
    case "run":
      fake.run();
      break;
    case "step":
      fake.step();
      break;
    case "leader":
      fake.newLeader();
  }
}

function start(): FakeCluster {
  const fake = new FakeCluster();
  for (const id of NODES) fake.addNode(id, { nanoCpus: 8e9, memoryBytes: 150 });
  for (const id of SERVICES) fake.createService(id, specOf(id));
  return fake;
}

/** All nodes are back, as they were at the beginning. */
function heal(fake: FakeCluster): void {
  for (const id of NODES) {
    if (fake.view.nodes.get(id) === undefined) fake.addNode(id, { nanoCpus: 8e9, memoryBytes: 150 });
    fake.setState(id, NodeStatus_State.READY);
    fake.setAvailability(id, NodeSpec_Availability.ACTIVE);
    fake.changeNode(id, (found) => ({ ...found, spec: { ...found.spec, labels: { zone: "a" } } }));
  }
}

test("whatever happens, the cluster comes to rest as specified, and then rests", () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
      const fake = start();
      for (const each of ops) play(fake, each);
      heal(fake);
      // What does not fit into the healed cluster would wait for ever, and an update behind it.
      for (const id of SERVICES) fake.scale(id, Math.min(4, fake.replicas(id)));
      fake.settle();
      for (const { id, spec, pendingDelete, updateStatus } of fake.view.services.all()) {
        assert.ok(!pendingDelete, "a removed service is gone");
        const running = fake.running(id);
        assert.equal(running.length, replicasOf(spec), `${id} has its replicas`);
        assert.equal(fake.wanted(id).length, running.length);
        assert.deepEqual(
          new Set(running.map((task) => task.spec.container.image)),
          new Set(running.length === 0 ? [] : [spec.task.container.image]),
        );
        assert.notEqual(updateStatus?.message, "update in progress");
      }
      for (const task of fake.view.tasks.all())
        assert.ok(fake.view.services.get(task.serviceId), "no task is left over");
      const before = fake.proposer.log.length;
      fake.newLeader();
      assert.equal(fake.run(), false, "a settled cluster needs nothing, also from a leader who knows nothing");
      assert.equal(fake.proposer.log.length, before);
    }),
    { numRuns: 200 },
  );
});

test("a drained or lost node ends without wanted tasks, and others have no more than they may", () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 40 }), node, fc.boolean(), (ops, lost, drained) => {
      const fake = start();
      for (const each of ops) play(fake, each);
      heal(fake);
      fake.settle();
      if (drained) fake.setAvailability(lost, NodeSpec_Availability.DRAIN);
      else fake.setState(lost, NodeStatus_State.DOWN);
      fake.settle();
      const left = fake.view.tasks.byNode(lost).filter((task) => wantsToRun(task.desiredState));
      assert.equal(left.length, 0);
      if (drained) assert.ok(fake.view.tasks.byNode(lost).every((task) => isEnded(task.status.state)));
      const pending = fake.view.tasks.all().filter((task) => wantsToRun(task.desiredState) && task.nodeId === "");
      assert.ok(
        pending.every((task) => task.status.error.startsWith("no suitable node (")),
        "what waits says why",
      );
    }),
    { numRuns: 100 },
  );
});

test("an update takes at most one slot down at a time and replaces every task", () => {
  const updates = fc.array(fc.record({ image: fc.constantFrom("a:1", "a:2", "a:3"), steps: fc.nat(30) }), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(fc.constantFrom("s1", "s2"), fc.integer({ min: 1, max: 4 }), updates, (id, replicas, changes) => {
      const fake = start();
      fake.scale(id, replicas);
      fake.settle();
      fake.afterRun = () => {
        const down =
          replicas -
          fake.tasksOf(id).filter((task) => task.status.state === TaskState.RUNNING && wantsToRun(task.desiredState))
            .length;
        assert.ok(down <= 1, `${down} slots are down`);
      };
      for (const { image, steps } of changes) {
        play(fake, { kind: "image", service: id, image });
        for (let step = 0; step < steps; step += 1) if (!fake.run()) fake.step();
      }
      fake.settle();
      const image = changes.at(-1)?.image;
      assert.equal(fake.running(id).length, replicas);
      assert.ok(fake.running(id).every((task) => task.spec.container.image === image));
    }),
    { numRuns: 100 },
  );
});
