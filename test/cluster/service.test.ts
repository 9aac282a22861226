// The life of a service on three nodes, as a person sees it: created, asked, listed, scaled, updated, removed without a trace.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";
import { eventually } from "./support/bound.ts";
import { leftovers } from "./support/leftovers.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "svc", workers: 2 });
const NODES = ["m1", "w1", "w2"] as const;
const DEMO = "tsswarm/demo:1";

function answerOf(text: string | undefined): Readonly<Record<string, string>> {
  const lines = (text ?? "").trim().split("\n");
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]),
  );
}

async function ask(node: string): Promise<Readonly<Record<string, string>>> {
  const url = `http://${lab.address(node)}:8080/`;
  return answerOf(await eventually(() => lab.http("m1", url)));
}

test("service create shows its progress and ends with all replicas running", async () => {
  const publish = "published=8080,target=80,mode=host";
  const shown = await lab.run("service", "create", "--name", "web", "--replicas", "3", "--publish", publish, DEMO);
  const service = await lab.control.getService({ ref: "web" }, { signal: AbortSignal.timeout(5_000) });
  assert.match(shown, new RegExp(`^${service.id}\n`));
  assert.match(shown, /overall progress: 3 out of 3 tasks/);
  assert.match(shown, /verify: Service \S+ converged/);
});

test("each replica answers on its own node with its own host name and the client's address", async () => {
  const tasks = await lab.untilRunning("web", 3);
  assert.equal(new Set(tasks.map((task) => task.nodeId)).size, 3);
  const answers = await Promise.all(NODES.map(ask));
  assert.equal(new Set(answers.map((answer) => answer["hostname"])).size, 3);
  const ids = new Set(tasks.map((task) => `web.${task.slot}.${task.id}`));
  assert.deepEqual(new Set(answers.map((answer) => answer["task"])), ids);
  for (const answer of answers) assert.equal(answer["version"], "1");
  // Over the wire the container sees who asks; what a node asks of itself comes from its own address.
  for (const answer of answers) assert.match(answer["client"] ?? "", /^10\.77\.0\.11:\d+$/);
});

test("service ls and service ps print Docker's tables", async () => {
  assert.match(
    await lab.run("service", "ls"),
    /^ID +NAME +MODE +REPLICAS +IMAGE +PORTS\n\w{12} +web +replicated +3\/3 +tsswarm\/demo:1 /,
  );
  const rows = (await lab.run("service", "ps", "web")).trim().split("\n");
  assert.match(rows[0] ?? "", /^ID +NAME +IMAGE +NODE +DESIRED STATE +CURRENT STATE +ERROR +PORTS$/);
  assert.equal(rows.length, 4);
  for (const node of NODES) {
    const row = rows.find((line) => line.includes(` ${node} `)) ?? "";
    assert.match(row, /^\w{12} +web\.[123] +tsswarm\/demo:1 +\w+ +Running +Running \S+ .*ago +8080->80\/tcp \(host\)/);
  }
  const shown = await lab.run("service", "ps", "web", "--format", "{{.Name}} {{.Node}}");
  assert.deepEqual(
    new Set(
      shown
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[1]),
    ),
    new Set(NODES),
  );
});

test("a fourth replica finds no free port and says so, and scaling back takes it away", async () => {
  await lab.run("service", "scale", "-d", "web=4");
  const waiting = await lab.until((view) => view.wanted("web").find((task) => task.status.error !== ""));
  assert.equal(waiting.status.error, "no suitable node (host-mode port already in use on 3 nodes)");
  assert.match(await lab.run("service", "ls"), /web +replicated +3\/4/);
  await lab.run("service", "scale", "-d", "web=3");
  await lab.untilRunning("web", 3);
});

test("scaling down keeps the others as they are", async () => {
  const before = await lab.untilRunning("web", 3);
  const shown = await lab.run("service", "scale", "web=2");
  assert.match(shown, /^web scaled to 2\n/);
  const rest = await lab.untilRunning("web", 2);
  for (const task of rest) assert.ok(before.some((each) => each.id === task.id));
  await lab.run("service", "scale", "-d", "web=3");
  await lab.untilRunning("web", 3);
});

test("an update goes one slot at a time, each task stopped before its successor starts", async () => {
  const old = await lab.untilRunning("web", 3);
  // The watch is open before the update begins, so that no step is missed.
  let fewest = 3;
  const seen = new Map<string, WholeTask>();
  const watching = lab.until((view) => {
    const tasks = view.tasks("web");
    const up = tasks.filter((task) => task.status.state === TaskState.RUNNING);
    fewest = Math.min(fewest, up.length);
    for (const task of tasks) seen.set(task.id, task);
    for (const task of up) {
      const elder = up.find((each) => each.slot === task.slot && each.id !== task.id);
      assert.equal(elder, undefined, `two tasks of slot ${task.slot} run at once`);
    }
    const fresh = up.filter((task) => task.spec.container.image === "tsswarm/demo:2");
    return fresh.length === 3 && up.length === 3 ? fresh : undefined;
  });
  const shown = await lab.run("service", "update", "--image", "tsswarm/demo:2", "web");
  const fresh = await watching;
  assert.match(shown, /overall progress: 3 out of 3 tasks/);
  assert.ok(fewest >= 2, `${fewest} replicas were up at one moment`);
  for (const task of old) assert.equal(seen.get(task.id)?.status.state, TaskState.SHUTDOWN);
  assert.deepEqual(fresh.map((task) => task.slot).sort(), [1, 2, 3]);
  for (const node of NODES) assert.equal((await ask(node))["version"], "2");
});

test("service rm leaves no container, control group, mount or interface behind", async () => {
  const present = leftovers(lab.lab).join("\n");
  for (const kind of ["file", "control group", "interface", "process"])
    assert.match(
      present,
      new RegExp(`^${kind} `, "m"),
      `${kind}: the search must find it while it is there\n${present}`,
    );
  await lab.remove("web");
  const rest = await eventually(
    () => (leftovers(lab.lab).length === 0 ? [] : undefined),
    () => leftovers(lab.lab).join("\n"),
  );
  assert.deepEqual(rest, []);
  for (const node of NODES) assert.equal(await lab.http("m1", `http://${lab.address(node)}:8080/`), undefined);
});
