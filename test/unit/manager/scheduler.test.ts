// Where tasks go and what those say that go nowhere; the language of constraints.

import assert from "node:assert/strict";
import { test } from "node:test";
import { meetsConstraints, parseConstraint } from "../../../proto/model/constraint.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { NodeStatus_State } from "../../../proto/gen/objects.ts";
import {
  NodeRole,
  NodeSpec_Availability,
  Placement,
  PortConfig,
  PortConfig_Protocol,
  PortConfig_PublishMode,
  Resources,
  ServiceSpec,
} from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

interface Asked {
  readonly replicas?: number;
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly placement?: Partial<Placement>;
  readonly ports?: readonly Partial<PortConfig>[];
}

function spec({ replicas = 1, cpus = 0, memoryBytes = 0, placement = {}, ports = [] }: Asked): WholeServiceSpec {
  const base = wholeServiceSpec(ServiceSpec.create({ name: "web" }));
  const host = { ...PortConfig.create(), targetPort: 80, publishMode: PortConfig_PublishMode.HOST };
  return {
    ...base,
    mode: { $case: "replicated", value: { replicas } },
    endpoint: { ports: ports.map((port) => ({ ...host, ...port })) },
    task: {
      ...base.task,
      reservations: { ...Resources.create(), nanoCpus: cpus * 1e9, memoryBytes },
      placement: { ...Placement.create(), ...placement },
    },
  };
}

function cluster(nodes: number): FakeCluster {
  const fake = new FakeCluster();
  for (let node = 1; node <= nodes; node += 1) fake.addNode(`n${node}`);
  return fake;
}

function label(fake: FakeCluster, node: string, labels: Readonly<Record<string, string>>): void {
  fake.changeNode(node, (found) => ({ ...found, spec: { ...found.spec, labels } }));
}

function perNode(fake: FakeCluster, service: string): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { nodeId } of fake.running(service)) counts[nodeId] = (counts[nodeId] ?? 0) + 1;
  return counts;
}

function pendingReasons(fake: FakeCluster, service: string): readonly string[] {
  const pending = fake.wanted(service).filter((task) => task.status.state === TaskState.PENDING);
  return [...new Set(pending.map((task) => task.status.error))];
}

test("tasks go to the node with the fewest of the service, then to the one with the fewest in all, then by id", () => {
  const fake = cluster(3);
  fake.createService("other", spec({ replicas: 2, placement: { constraints: ["node.id==n1"] } }));
  fake.settle();
  fake.createService("s1", spec({ replicas: 4 }));
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n1: 1, n2: 2, n3: 1 });
  fake.createService("s2", spec({ replicas: 1 }));
  fake.settle();
  assert.deepEqual(perNode(fake, "s2"), { n3: 1 });
});

test("a cluster without nodes says that there is no suitable one, and a new node is taken", () => {
  const fake = cluster(0);
  fake.createService("s1", spec({ replicas: 2 }));
  fake.settle();
  assert.deepEqual(pendingReasons(fake, "s1"), ["no suitable node"]);
  fake.addNode("n1");
  fake.settle();
  assert.equal(fake.running("s1").length, 2);
  assert.equal(fake.running("s1")[0]?.status.error, "", "the reason goes with what it was about");
});

test("each reason is counted, in Docker's words, the most frequent first", () => {
  const fake = cluster(5);
  for (const id of ["n1", "n2", "n3"]) label(fake, id, { disk: "hdd" });
  fake.setAvailability("n4", NodeSpec_Availability.PAUSE);
  fake.createService("s1", spec({ cpus: 100, placement: { constraints: ["node.labels.disk!=hdd"] } }));
  fake.settle();
  assert.deepEqual(pendingReasons(fake, "s1"), [
    "no suitable node (scheduling constraints not satisfied on 3 nodes; 1 node not available for new tasks; insufficient resources on 1 node)",
  ]);
});

test("nodes that are down, paused, drained or unknown get no new tasks", () => {
  const fake = cluster(5);
  fake.setState("n1", NodeStatus_State.DOWN);
  fake.setState("n2", NodeStatus_State.UNKNOWN);
  fake.setAvailability("n3", NodeSpec_Availability.PAUSE);
  fake.setAvailability("n4", NodeSpec_Availability.DRAIN);
  fake.createService("s1", spec({ replicas: 3 }));
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n5: 3 });
});

test("reservations of CPU and memory are never exceeded, and what is freed is taken", () => {
  const fake = new FakeCluster();
  fake.addNode("n1", { nanoCpus: 2e9, memoryBytes: 1_000 });
  fake.addNode("n2", { nanoCpus: 2e9, memoryBytes: 400 });
  fake.createService("s1", spec({ replicas: 4, cpus: 0.5, memoryBytes: 300 }));
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n1: 3, n2: 1 });
  fake.scale("s1", 5);
  fake.settle();
  assert.deepEqual(pendingReasons(fake, "s1"), ["no suitable node (insufficient resources on 2 nodes)"]);
  fake.changeNode("n2", (node) => {
    const resources = { ...Resources.create(), nanoCpus: 2e9, memoryBytes: 600 };
    return { ...node, description: { ...node.description, resources } };
  });
  fake.settle();
  assert.equal(fake.running("s1").length, 5);
});

test("a fixed port in mode host is given to one task of a node and protocol, until that task has stopped", () => {
  const fake = cluster(2);
  fake.createService("s1", spec({ replicas: 3, ports: [{ publishedPort: 8080 }] }));
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n1: 1, n2: 1 });
  assert.deepEqual(pendingReasons(fake, "s1"), ["no suitable node (host-mode port already in use on 2 nodes)"]);
  fake.createService("udp", spec({ ports: [{ publishedPort: 8080, protocol: PortConfig_Protocol.UDP }] }));
  fake.createService("any", spec({ replicas: 4, ports: [{ publishedPort: 0 }] }));
  fake.settle();
  assert.equal(fake.running("udp").length, 1);
  assert.equal(fake.running("any").length, 4, "ports that the node chooses never clash");
  fake.stubborn.add("s1");
  fake.removeService("s1");
  fake.createService("s2", spec({ replicas: 1, ports: [{ publishedPort: 8080 }] }));
  fake.settle();
  assert.equal(fake.running("s2").length, 0);
  fake.stubborn.delete("s1");
  fake.settle();
  assert.equal(fake.running("s2").length, 1);
});

test("a task that only waits for the one before it to free the port makes no complaint", () => {
  const fake = cluster(2);
  fake.createService("s1", spec({ replicas: 2, ports: [{ publishedPort: 8080 }] }));
  fake.settle();
  fake.afterRun = (view) => {
    for (const task of view.tasks.all()) assert.equal(task.status.error, "");
  };
  fake.updateService("s1", (old) => ({ ...old, task: { ...old.task, forceUpdate: 1 } }));
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n1: 1, n2: 1 });
  assert.ok(fake.running("s1").every((task) => task.generation === 2));
});

test("no node gets more replicas than the placement allows", () => {
  const fake = cluster(3);
  fake.createService("s1", spec({ replicas: 8, placement: { maxReplicasPerNode: 2 } }));
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n1: 2, n2: 2, n3: 2 });
  assert.deepEqual(pendingReasons(fake, "s1"), ["no suitable node (max replicas per node limit exceed on 3 nodes)"]);
  fake.addNode("n4");
  fake.settle();
  assert.equal(fake.running("s1").length, 8);
});

test("a change of the placement is enough for tasks that wait", () => {
  const fake = cluster(1);
  fake.createService("s1", spec({ placement: { constraints: ["node.hostname==elsewhere"] } }));
  fake.settle();
  assert.equal(fake.running("s1").length, 0);
  fake.updateService("s1", (old) => ({
    ...old,
    task: { ...old.task, placement: { ...old.task.placement, constraints: ["node.hostname==HOST-n1"] } },
  }));
  fake.settle();
  assert.equal(fake.running("s1").length, 1);
});

test("a node where the service failed five times in five minutes is the last choice, for five minutes", () => {
  const fake = cluster(2);
  fake.setAvailability("n2", NodeSpec_Availability.PAUSE);
  fake.createService("s1", spec({ replicas: 6 }));
  fake.settle();
  fake.setAvailability("n2", NodeSpec_Availability.ACTIVE);
  for (const task of fake.running("s1").slice(0, 5)) fake.report(task, TaskState.FAILED);
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n1: 1, n2: 5 });
  fake.scale("s1", 7);
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n1: 1, n2: 6 });
  fake.nowMs += 301_000;
  fake.scale("s1", 8);
  fake.settle();
  assert.deepEqual(perNode(fake, "s1"), { n1: 2, n2: 6 });
});

test("a thousand tasks are spread evenly over a hundred nodes", () => {
  const fake = cluster(100);
  fake.createService("s1", spec({ replicas: 1_000 }));
  while (fake.run());
  const counts = fake.view.nodes.all().map(({ id }) => fake.view.tasks.byNode(id).length);
  assert.deepEqual([...new Set(counts)], [10]);
});

test("constraints speak of ids, host names, roles, platforms and labels, without regard to the case of values", () => {
  const fake = cluster(1);
  fake.changeNode("n1", (found) => ({
    ...found,
    role: NodeRole.MANAGER,
    spec: { ...found.spec, labels: { Zone: "East 1" } },
    description: {
      ...found.description,
      platform: { os: "linux", architecture: "amd64" },
      engineLabels: { "com.example.gpu": "yes" },
    },
    status: { ...found.status, addr: "10.1.2.3" },
  }));
  const node = fake.view.nodes.get("n1");
  assert.ok(node);
  const holds = (text: string): boolean => meetsConstraints(node, [parseConstraint(text)]);
  const yes = [
    "node.id==n1",
    "node.hostname == HOST-N1",
    "node.role==manager",
    "NODE.ROLE!=worker",
    "node.platform.os==Linux",
    "node.platform.arch==amd64",
    "node.ip==10.1.2.3",
    "node.ip == 10.0.0.0/8",
    "node.ip!=10.2.0.0/16",
    "node.ip!=fe80::/10",
    "node.labels.Zone==east 1",
    "node.labels.zone!=east 1",
    "node.labels.missing!=x",
    "engine.labels.com.example.gpu == yes",
  ];
  for (const text of yes) assert.ok(holds(text), text);
  for (const text of yes) {
    const opposite = text.includes("!=") ? text.replace("!=", "==") : text.replace("==", "!=");
    assert.ok(!holds(opposite), opposite);
  }
});

test("a constraint that cannot be read is refused by name", () => {
  const bad = [
    "",
    "node.role",
    "node.role=manager",
    "node.role==",
    "node.color==red",
    "node.labels.==x",
    "zone==a",
    "node.ip==10.0.0",
    "node.ip==10.0.0.256",
    "node.ip==10.0.0.0/33",
    "node.ip==1::2::3",
    "node.id==a;b",
    "==x",
  ];
  for (const text of bad) {
    assert.throws(
      () => parseConstraint(text),
      (error) => isSwarmError(error, "InvalidArgument") && error.message.includes(JSON.stringify(text)),
      text,
    );
  }
});
