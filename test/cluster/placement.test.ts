// Where tasks go: constraints, limits per node, reservations. A task that fits nowhere says why, and runs once it fits.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "place", workers: 2 });
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

test("constraints on host name, role and labels decide the node", async () => {
  await lab.run("node", "update", "--label-add", "zone=a", "w2");
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["node.hostname==w1", ["w1", "w1"]],
    ["node.hostname!=w1", ["m1", "w2"]],
    ["node.role==manager", ["m1", "m1"]],
    ["node.labels.zone==a", ["w2", "w2"]],
    ["node.labels.zone!=a", ["m1", "w1"]],
    ["node.platform.os==linux", ["m1", "w1"]],
  ];
  for (const [index, [constraint, expected]] of cases.entries()) {
    const name = `c${index}`;
    await lab.create(name, "--replicas", "2", "--constraint", constraint, DEMO);
    const places = await placesOf(name, 2);
    if (constraint.startsWith("node.platform")) assert.equal(new Set(places).size, 2);
    else assert.deepEqual(places, expected, constraint);
    await lab.remove(name);
  }
});

test("a constraint that no node meets is the reason on the task, and a label brings it to run", async () => {
  await lab.create("wait", "--constraint", "node.labels.disk==ssd", DEMO);
  assert.equal(await untilError("wait"), "no suitable node (scheduling constraints not satisfied on 3 nodes)");
  assert.match(await lab.run("service", "ps", "--no-trunc", "wait"), /Pending .*scheduling constraints not satisfied/);
  await lab.run("node", "update", "--label-add", "disk=ssd", "w1");
  assert.deepEqual(await placesOf("wait", 1), ["w1"]);
  const [task] = await lab.untilRunning("wait", 1);
  assert.equal(task?.status.error, "");
  await lab.run("node", "update", "--label-rm", "disk", "w1");
  await lab.remove("wait");
});

test("no more replicas per node than allowed, and the one too many says so", async () => {
  await lab.create("few", "--replicas", "4", "--replicas-max-per-node", "1", DEMO);
  assert.equal(await untilError("few"), "no suitable node (max replicas per node limit exceed on 3 nodes)");
  await lab.run("service", "update", "-d", "--replicas", "3", "few");
  assert.deepEqual(await placesOf("few", 3), ["m1", "w1", "w2"]);
  await lab.remove("few");
});

test("reservations that fit nowhere are the reason on the task", async () => {
  await lab.create("memory", "--reserve-memory", "100T", DEMO);
  await lab.create("cpus", "--reserve-cpu", "4000", DEMO);
  for (const name of ["memory", "cpus"])
    assert.equal(await untilError(name), "no suitable node (insufficient resources on 3 nodes)");
  await lab.run("service", "update", "-d", "--reserve-memory", "8M", "memory");
  await lab.untilRunning("memory", 1);
  await lab.remove("memory", "cpus");
});

test("a drained cluster says that no node is available", async () => {
  for (const node of ["m1", "w1", "w2"]) await lab.run("node", "update", "--availability", "drain", node);
  await lab.create("nowhere", DEMO);
  assert.equal(await untilError("nowhere"), "no suitable node (3 nodes not available for new tasks)");
  for (const node of ["m1", "w1", "w2"]) await lab.run("node", "update", "--availability", "active", node);
  await lab.untilRunning("nowhere", 1);
  await lab.remove("nowhere");
});

test("what cannot be is refused with a sentence and leaves no service behind", async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["--constraint", "node.shoe==9", DEMO], /node\.shoe/],
    [["--constraint", "zone", DEMO], /constraint/],
    [["--name", "Bad Name!", DEMO], /name/],
    [["--replicas", "-1", DEMO], /--replicas/],
    [["--limit-memory", "1", DEMO], /memory/i],
    [["--publish", "mode=host,published=99999,target=80", DEMO], /99999/],
    [["--mount", "type=bind,source=relative,target=/x", DEMO], /relative/],
    [["--no-such-flag", DEMO], /--no-such-flag/],
    [["Web:1"], /Web.*must be lowercase/],
    [["--env-file", "/no/such/env", DEMO], /\/no\/such\/env/],
  ];
  const before = await lab.run("service", "ls", "-q");
  for (const [words, error] of cases) {
    const ran = await lab.tsswarm("m1", ["service", "create", "-d", ...words]);
    assert.notEqual(ran.code, 0, words.join(" "));
    assert.match(ran.stderr, error);
    assert.doesNotMatch(ran.stderr, /^\s+at /m);
  }
  assert.equal(await lab.run("service", "ls", "-q"), before);
});
