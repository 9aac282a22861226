// Where tasks go by preference, strategy, affinity and generic resources; why one goes nowhere, and what a change would do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "why", workers: 2, genericResources: ["w1:gpu=UUID1", "w1:gpu=UUID2"] });
const DEMO = "tsswarm/demo:1";

/** Host names of the nodes that the service's tasks run on, sorted. */
async function placesOf(service: string, count: number): Promise<readonly string[]> {
  const tasks = await lab.untilRunning(service, count);
  return lab.until((view) => {
    const names = new Map(view.nodes().map((node) => [node.id, node.description.hostname]));
    return tasks.map((task) => names.get(task.nodeId) ?? "").sort();
  });
}

function untilError(service: string): Promise<string> {
  return lab.until((view) => view.wanted(service).find((task) => task.status.error !== "")?.status.error);
}

test("a task that fits nowhere is told why by every node, and what would help helps", async () => {
  await lab.create("lost", "--constraint", "node.labels.disk==ssd", "--reserve-memory", "100T", DEMO);
  await untilError("lost");
  const told = await lab.run("why", "lost");
  for (const node of ["m1", "w1", "w2"])
    assert.match(told, new RegExp(`^  ${node} +no +constraint node.labels.disk==ssd`, "m"));
  assert.match(told, /insufficient memory: needs 100TiB, \S+ of \S+ unreserved/);
  assert.match(
    told,
    /To place it: drop constraint node\.labels\.disk==ssd or label node m1 with disk=ssd, and free or add/,
  );
  const json = JSON.parse(await lab.run("why", "lost.1", "--format", "json")) as {
    Tasks: { Name: string; Verdicts: { Accepted: boolean; Refusals: string[] }[] }[];
  };
  assert.equal(json.Tasks[0]?.Name, "lost.1");
  assert.deepEqual(
    json.Tasks[0].Verdicts.map(({ Accepted, Refusals }) => [Accepted, Refusals.length]),
    [
      [false, 2],
      [false, 2],
      [false, 2],
    ],
  );
  await lab.run("node", "update", "--label-add", "disk=ssd", "w2");
  await lab.run("service", "update", "-d", "--reserve-memory", "8M", "lost");
  assert.deepEqual(await placesOf("lost", 1), ["w2"]);
  assert.match(await lab.run("why", "lost"), /^lost\.1 \(\w+\): running on w2 since /);
  await lab.remove("lost");
  const missing = await lab.tsswarm("m1", ["why", "nobody"]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /service or task nobody not found/);
});

test("named resources are given one by one, told to the container, and run out", async () => {
  await lab.create("train", "--replicas", "3", "--generic-resource", "gpu=1", DEMO);
  assert.equal(await untilError("train"), "no suitable node (insufficient resources on 3 nodes)");
  assert.match(await lab.run("why", "train"), /insufficient gpu: needs 1, 0 of 2 unreserved/);
  const running = await lab.until((view) => {
    const tasks = view.wanted("train").filter((task) => task.nodeId !== "" && task.status.container !== undefined);
    return tasks.length === 2 ? tasks : undefined;
  });
  assert.deepEqual(running.flatMap((task) => task.generic.flatMap(({ names }) => names)).sort(), ["UUID1", "UUID2"]);
  await lab.run("service", "update", "-d", "--replicas", "2", "train");
  for (const task of await lab.untilRunning("train", 2)) {
    const env = await lab.run("exec", task.id, "env");
    assert.match(env, new RegExp(`^DOCKER_RESOURCE_GPU=${task.generic[0]?.names[0] ?? "none"}$`, "m"));
  }
  assert.match(await lab.run("node", "inspect", "w1"), /"NamedResourceSpec"/);
  await lab.remove("train");
});

test("preferences divide, binpack fills, and affinities draw together and keep apart", async () => {
  await lab.run("node", "update", "--label-add", "zone=a", "m1");
  await lab.run("node", "update", "--label-add", "zone=b", "w1");
  await lab.run("node", "update", "--label-add", "zone=b", "w2");
  await lab.create("even", "--replicas", "4", "--placement-pref", "spread=node.labels.zone", DEMO);
  assert.deepEqual(await placesOf("even", 4), ["m1", "m1", "w1", "w2"]);
  assert.match(await lab.run("service", "inspect", "even"), /"SpreadDescriptor": "node.labels.zone"/);
  await lab.remove("even");
  await lab.create("pack", "--replicas", "3", "--strategy", "binpack", "--reserve-memory", "4M", DEMO);
  assert.equal(new Set(await placesOf("pack", 3)).size, 1);
  await lab.create("beside", "--affinity", "service==pack", DEMO);
  await lab.create("apart", "--replicas", "2", "--affinity", "service!=pack", "--affinity", "service!=apart", DEMO);
  const [packed] = await placesOf("pack", 3);
  assert.deepEqual(await placesOf("beside", 1), [packed]);
  assert.deepEqual(
    await placesOf("apart", 2),
    ["m1", "w1", "w2"].filter((node) => node !== packed),
  );
  await lab.remove("pack", "beside", "apart");
});

test("a plan says what would be different and where tasks would go, and does nothing", async () => {
  const before = await lab.run("service", "ls", "-q");
  const created = await lab.run("service", "create", "--plan", "--name", "web", "--replicas", "2", DEMO);
  assert.match(created, /^\+ name: web$/m);
  assert.match(created, /^\+ +web\.1 +(m1|w1|w2)$/m);
  assert.match(created, /Tasks: 2 created\. Nothing was changed\./);
  assert.equal(await lab.run("service", "ls", "-q"), before);
  await lab.create("web", "--replicas", "2", DEMO);
  await lab.untilRunning("web", 2);
  const updated = await lab.run("service", "update", "--plan", "--image", "tsswarm/demo:2", "--replicas", "3", "web");
  assert.match(updated, /^~ task\.container\.image: tsswarm\/demo:1 -> tsswarm\/demo:2$/m);
  assert.match(updated, /Tasks: 1 created, 2 replaced\. Nothing was changed\./);
  const full = await lab.run("service", "update", "--plan", "--constraint-add", "node.role==nothing", "--force", "web");
  assert.match(full, /no suitable node \(scheduling constraints not satisfied on 3 nodes\)/);
  assert.equal(
    (await lab.untilRunning("web", 2)).every((task) => task.spec.container.image === DEMO),
    true,
  );
  await lab.remove("web");
});
