// Where tasks go by preference, strategy, affinity, platform and generic resources, in clusters made up at random; and that whoever
// explains a placement says what the scheduler does.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { placeFor } from "../../../manager/placement/choose.ts";
import { LoadBook } from "../../../manager/placement/load-book.ts";
import { verdictsOf } from "../../../manager/placement/verdicts.ts";
import type { GenericResource } from "../../../proto/gen/specs.ts";
import {
  NodeSpec_Availability,
  Placement,
  Placement_Strategy,
  PortConfig,
  PortConfig_PublishMode,
  Resources,
  ServiceSpec,
} from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, type WholeTask, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { parseNodeResources } from "../../../proto/model/generic-resource.ts";
import { TaskState, isEnded, wantsToRun } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

interface Asked {
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly replicas?: number;
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly generic?: readonly GenericResource[];
  readonly placement?: Partial<Placement>;
  readonly port?: number;
}

function spec(asked: Asked): WholeServiceSpec {
  const { name = "web", replicas = 1, cpus = 0, memoryBytes = 0, generic = [], placement = {}, port = 0 } = asked;
  const base = wholeServiceSpec(ServiceSpec.create({ name, labels: asked.labels ?? {} }));
  const host = PortConfig.create({ targetPort: 80, publishedPort: port, publishMode: PortConfig_PublishMode.HOST });
  return {
    ...base,
    mode: { $case: "replicated", value: { replicas } },
    endpoint: { ports: port === 0 ? [] : [host] },
    task: {
      ...base.task,
      reservations: { ...Resources.create(), nanoCpus: cpus * 1e9, memoryBytes, generic },
      placement: { ...Placement.create(), ...placement },
    },
  };
}

function label(fake: FakeCluster, node: string, labels: Readonly<Record<string, string>>): void {
  fake.changeNode(node, (found) => ({ ...found, spec: { ...found.spec, labels } }));
}

function declare(fake: FakeCluster, node: string, ...texts: readonly string[]): void {
  fake.changeNode(node, (found) => {
    const resources = { ...(found.description.resources ?? Resources.create()), generic: parseNodeResources(texts) };
    return { ...found, description: { ...found.description, resources } };
  });
}

/** Tasks of a service on the nodes for which `keyOf` gives the same. */
function counts(
  fake: FakeCluster,
  service: string,
  keyOf: (nodeId: string) => string,
): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const { id } of fake.view.nodes.all()) found[keyOf(id)] ??= 0;
  for (const { nodeId } of fake.running(service)) found[keyOf(nodeId)] = (found[keyOf(nodeId)] ?? 0) + 1;
  return found;
}

function zoneOf(fake: FakeCluster): (nodeId: string) => string {
  return (nodeId) => fake.view.nodes.get(nodeId)?.spec.labels["zone"] ?? "";
}

const byNode = (nodeId: string): string => nodeId;
const spreadOver = (...labels: readonly string[]): Pick<Placement, "preferences"> => ({
  preferences: labels.map((name) => ({ spread: `node.labels.${name}` })),
});

function isEven(values: readonly number[]): boolean {
  return Math.max(...values) - Math.min(...values) <= 1;
}

test("tasks are spread evenly over the values of a label, and nodes without it are a group of their own", () => {
  const zones = fc.array(fc.constantFrom("a", "b", "c", ""), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(zones, fc.nat(25), (given, replicas) => {
      const fake = new FakeCluster();
      for (const [index, zone] of given.entries()) {
        fake.addNode(`n${index}`);
        label(fake, `n${index}`, zone === "" ? {} : { zone });
      }
      fake.createService("s1", spec({ replicas, placement: spreadOver("zone") }));
      fake.settle();
      assert.equal(fake.running("s1").length, replicas);
      assert.ok(isEven(Object.values(counts(fake, "s1", zoneOf(fake)))), "one more in a zone at most");
      for (const zone of new Set(given)) {
        const inside = Object.entries(counts(fake, "s1", byNode)).filter(([id]) => zoneOf(fake)(id) === zone);
        assert.ok(isEven(inside.map(([, count]) => count)), "one more on a node of the zone at most");
      }
    }),
    { numRuns: 60 },
  );
});

test("a second preference divides each part of the first, and a full part leaves its share to the others", () => {
  const fake = new FakeCluster();
  const racks = [
    ["n1", "a", "1"],
    ["n2", "a", "2"],
    ["n3", "a", "2"],
    ["n4", "b", "1"],
    ["n5", "b", "2"],
  ] as const;
  for (const [id, zone, rack] of racks) {
    fake.addNode(id, id === "n5" ? { nanoCpus: 1e9 } : {});
    label(fake, id, { zone, rack });
  }
  fake.createService("s1", spec({ replicas: 12, cpus: 1, placement: spreadOver("zone", "rack") }));
  fake.settle();
  assert.deepEqual(counts(fake, "s1", zoneOf(fake)), { a: 6, b: 6 });
  const found = counts(fake, "s1", byNode);
  assert.equal(found["n1"], 3);
  assert.equal((found["n2"] ?? 0) + (found["n3"] ?? 0), 3);
  assert.equal(found["n5"], 1, "there is room for no more");
  assert.equal(found["n4"], 5);
});

function hasRoom(fake: FakeCluster, nodeId: string, cpus: number): boolean {
  return (LoadBook.of(fake.view).get(nodeId)?.cpus.free ?? 0) >= cpus * 1e9;
}

test("binpack opens no new node while one that is in use has room, and takes the fullest", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 6 });
  const asked = fc.array(
    fc.record({ cpus: fc.integer({ min: 0, max: 3 }), replicas: fc.integer({ min: 1, max: 4 }) }),
    {
      minLength: 1,
      maxLength: 4,
    },
  );
  fc.assert(
    fc.property(sizes, asked, (cpus, services) => {
      const fake = new FakeCluster();
      for (const [index, size] of cpus.entries()) fake.addNode(`n${index}`, { nanoCpus: size * 1e9 });
      for (const [index, service] of services.entries()) {
        const before = LoadBook.of(fake.view);
        const used = [...before.all()].filter(({ tasks }) => tasks > 0);
        const fits = used.some((load) => load.cpus.free >= service.cpus * 1e9 * service.replicas);
        fake.createService(
          `s${index}`,
          spec({ ...service, name: `s${index}`, placement: { strategy: Placement_Strategy.BINPACK } }),
        );
        fake.settle();
        const opened = [...LoadBook.of(fake.view).all()].filter(
          ({ node, tasks }) => tasks > 0 && before.get(node.id)?.tasks === 0,
        );
        if (fits) assert.equal(opened.length, 0, "what fits on a node in use goes there");
        else if (opened.length > 0)
          assert.ok(
            used.every(({ node }) => !hasRoom(fake, node.id, service.cpus)),
            "a node is opened when those in use are full",
          );
      }
    }),
    { numRuns: 80 },
  );
});

test("binpack takes the node with the larger reserved share", () => {
  const fake = new FakeCluster();
  for (const id of ["n1", "n2", "n3"]) fake.addNode(id, { nanoCpus: 4e9, memoryBytes: 1_000 });
  fake.createService("cpu", spec({ name: "cpu", cpus: 2, placement: { constraints: ["node.id==n1"] } }));
  fake.createService("memory", spec({ name: "memory", memoryBytes: 700, placement: { constraints: ["node.id==n2"] } }));
  fake.settle();
  const placement = { strategy: Placement_Strategy.BINPACK };
  fake.createService("s1", spec({ cpus: 1, memoryBytes: 100, replicas: 5, placement }));
  fake.settle();
  assert.deepEqual(counts(fake, "s1", byNode), { n1: 2, n2: 3, n3: 0 });
});

test("named resources are given to one task at a time, numbers are never exceeded, and what is freed is given again", () => {
  const replicas = fc.array(fc.nat(6), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(replicas, fc.integer({ min: 1, max: 2 }), (steps, count) => {
      const fake = new FakeCluster();
      for (const id of ["n1", "n2", "n3"]) fake.addNode(id);
      declare(fake, "n1", "gpu=A", "gpu=B", "gpu=C");
      declare(fake, "n2", "gpu=3");
      fake.afterRun = (view) => {
        const holding = view.tasks.all().filter((task) => task.generic.length > 0 && !isEnded(task.status.state));
        const names = holding.flatMap((task) => task.generic.flatMap(({ names: given }) => given));
        assert.equal(new Set(names).size, names.length, "no name is given twice");
        const counted = holding.flatMap((task) => task.generic.map((each) => each.count));
        assert.ok(counted.reduce((sum, each) => sum + each, 0) <= 3);
        for (const task of holding) {
          assert.notEqual(task.nodeId, "n3");
          assert.equal(task.generic[0]?.names.length, task.nodeId === "n1" ? count : 0);
        }
      };
      fake.createService("s1", spec({ replicas: 0, generic: [{ kind: "gpu", count, names: [] }] }));
      for (const wanted of steps) {
        fake.scale("s1", wanted);
        fake.settle();
        const fits = Math.floor(3 / count) * 2;
        assert.equal(fake.running("s1").length, Math.min(wanted, fits));
      }
    }),
    { numRuns: 60 },
  );
});

test("a task goes beside the services that it wants and away from those it does not, in the same run and whoever comes first", () => {
  const fake = new FakeCluster();
  for (const id of ["n1", "n2", "n3"]) fake.addNode(id);
  const apart = { affinities: ["service!=web"] };
  fake.createService("s1", spec({ replicas: 3, name: "proxy", placement: { affinities: ["service==db"] } }));
  fake.createService("s2", spec({ replicas: 2, name: "web", placement: apart }));
  fake.createService("s3", spec({ name: "db", labels: { tier: "data" } }));
  fake.createService("s4", spec({ name: "cache", placement: { affinities: ["service.labels.tier==data"] } }));
  fake.createService("s5", spec({ name: "lonely", placement: { affinities: ["service==nobody"] } }));
  fake.settle();
  const [db] = fake.running("s3");
  assert.ok(fake.running("s1").every(({ nodeId }) => nodeId === db?.nodeId));
  assert.equal(fake.running("s1").length, 3);
  assert.equal(new Set(fake.running("s2").map(({ nodeId }) => nodeId)).size, 2);
  assert.equal(fake.running("s4")[0]?.nodeId, db?.nodeId);
  assert.equal(fake.wanted("s5")[0]?.status.error, "no suitable node (service affinity not satisfied on 3 nodes)");
  fake.createService("s6", spec({ name: "nobody", placement: { constraints: ["node.id==n2"] } }));
  fake.settle();
  assert.equal(fake.running("s5")[0]?.nodeId, "n2");
});

test("who wants no neighbour of a name keeps it away when it comes later", () => {
  const fake = new FakeCluster();
  for (const id of ["n1", "n2"]) fake.addNode(id);
  fake.createService("s1", spec({ name: "quiet", placement: { affinities: ["service!=loud"] } }));
  fake.settle();
  fake.createService("s2", spec({ name: "loud", replicas: 3 }));
  fake.settle();
  const [quiet] = fake.running("s1");
  assert.equal(fake.running("s2").length, 3);
  assert.ok(fake.running("s2").every(({ nodeId }) => nodeId !== quiet?.nodeId));
});

test("platforms are any of those given, and what one leaves open is not asked for", () => {
  const fake = new FakeCluster();
  const platforms = { n1: ["linux", "amd64"], n2: ["linux", "aarch64"], n3: ["windows", "amd64"] } as const;
  for (const [id, [os, architecture]] of Object.entries(platforms)) {
    fake.addNode(id);
    fake.changeNode(id, (found) => ({
      ...found,
      description: { ...found.description, platform: { os, architecture } },
    }));
  }
  const places = (wanted: Placement["platforms"]): readonly string[] => {
    fake.createService("s1", spec({ replicas: 6, placement: { platforms: wanted } }));
    fake.settle();
    const found = [...new Set(fake.running("s1").map(({ nodeId }) => nodeId))].sort();
    fake.removeService("s1");
    fake.settle();
    return found;
  };
  assert.deepEqual(places([{ os: "linux", architecture: "arm64" }]), ["n2"]);
  assert.deepEqual(places([{ os: "linux", architecture: "" }]), ["n1", "n2"]);
  assert.deepEqual(places([{ os: "", architecture: "x86_64" }]), ["n1", "n3"]);
  assert.deepEqual(
    places([
      { os: "windows", architecture: "" },
      { os: "linux", architecture: "amd64" },
    ]),
    ["n1", "n3"],
  );
});

interface Made {
  readonly fake: FakeCluster;
  readonly asked: Asked;
}

/** A cluster with something on it, and a service that is to be placed. */
const made: fc.Arbitrary<Made> = fc
  .record({
    nodes: fc.array(
      fc.record({
        zone: fc.constantFrom("a", "b", ""),
        cpus: fc.integer({ min: 1, max: 4 }),
        availability: fc.constantFrom(
          NodeSpec_Availability.ACTIVE,
          NodeSpec_Availability.ACTIVE,
          NodeSpec_Availability.PAUSE,
        ),
        gpus: fc.nat(2),
      }),
      { maxLength: 5 },
    ),
    present: fc.nat(4),
    asked: fc.record({
      cpus: fc.integer({ min: 0, max: 4 }),
      port: fc.constantFrom(0, 8080),
      replicas: fc.integer({ min: 1, max: 6 }),
      generic: fc.constantFrom([], [{ kind: "gpu", count: 1, names: [] }]),
      placement: fc.record({
        constraints: fc.constantFrom([], ["node.labels.zone==a"], ["node.hostname!=host-n0"]),
        maxReplicasPerNode: fc.nat(2),
        preferences: fc.constantFrom([], [{ spread: "node.labels.zone" }]),
        strategy: fc.constantFrom(Placement_Strategy.SPREAD, Placement_Strategy.BINPACK),
        affinities: fc.constantFrom([], ["service==old"], ["service!=old"], ["service!=web"]),
      }),
    }),
  })
  .map(({ nodes, present, asked }) => {
    const fake = new FakeCluster();
    for (const [index, { zone, cpus, availability, gpus }] of nodes.entries()) {
      const id = `n${index}`;
      fake.addNode(id, { nanoCpus: cpus * 1e9 });
      fake.changeNode(id, (found) => ({ ...found, spec: { ...found.spec, availability, labels: { zone } } }));
      if (gpus > 0) declare(fake, id, `gpu=${gpus}`);
    }
    fake.createService("old", spec({ name: "old", replicas: present, cpus: 1, port: 8080 }));
    fake.settle();
    return { fake, asked };
  });

function pending(fake: FakeCluster, service: string): WholeTask | undefined {
  return fake.tasksOf(service).find(({ status, desiredState }) => {
    return status.state === TaskState.PENDING && wantsToRun(desiredState);
  });
}

test("a node that gives no reason against a task is one the scheduler takes, and a task waits only where all give one", () => {
  fc.assert(
    fc.property(made, ({ fake, asked }) => {
      fake.createService("s1", spec(asked));
      fake.settle();
      const waiting = pending(fake, "s1");
      const book = LoadBook.of(fake.view);
      for (const task of fake.running("s1")) {
        const { verdicts } = verdictsOf(book, { task, placement: task.spec.placement }, 10);
        assert.equal(verdicts.length, fake.view.nodes.all().length);
      }
      if (waiting === undefined) {
        assert.equal(fake.running("s1").length, asked.replicas);
        return;
      }
      const wish = { task: waiting, placement: waiting.spec.placement };
      const { verdicts, remedies } = verdictsOf(book, wish, 10);
      assert.ok(verdicts.every(({ accepted, refusals }) => !accepted && refusals.length > 0));
      assert.ok(remedies.length > 0, "there is always something to do");
      assert.equal(placeFor(book, wish, fake.nowMs).kind, "none");
    }),
    { numRuns: 200 },
  );
});

test("where one task would go is where the next one goes, and asking changes nothing", () => {
  fc.assert(
    fc.property(made, ({ fake, asked }) => {
      fake.createService("s1", spec({ ...asked, replicas: 1 }));
      const book = LoadBook.of(fake.view);
      fake.run();
      const [task] = fake.tasksOf("s1");
      assert.ok(task !== undefined);
      const asPending: WholeTask = {
        ...task,
        nodeId: "",
        generic: [],
        status: { ...task.status, state: TaskState.PENDING },
      };
      const wish = { task: asPending, placement: task.spec.placement };
      const place = placeFor(book, wish, fake.nowMs);
      const accepting = verdictsOf(book, wish, 10).verdicts.filter(({ accepted }) => accepted);
      assert.equal(place.kind === "node", accepting.length > 0);
      assert.equal(place.kind === "node" ? place.nodeId : "", task.nodeId);
      assert.deepEqual(placeFor(book, wish, fake.nowMs), place);
      if (place.kind === "node") assert.deepEqual(place.generic, task.generic);
    }),
    { numRuns: 200 },
  );
});
