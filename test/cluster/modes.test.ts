// The modes of services on a real cluster: one task on each node, jobs that end, and jobs at the times of a schedule, over the restart
// of the manager too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TaskState } from "../../proto/model/task-state.ts";
import type { ClusterView } from "./support/cluster-view.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "modes", workers: 2 });
const DEMO = "tsswarm/demo:1";
const SOON = ["--stop-grace-period", "100ms", "--update-monitor", "0"];

/** Host names of the nodes where a task of the service runs. */
function running(view: ClusterView, service: string): readonly string[] {
  const names = new Map(view.nodes().map((node) => [node.id, node.description.hostname]));
  return view
    .wanted(service)
    .filter((task) => task.status.state === TaskState.RUNNING)
    .map((task) => names.get(task.nodeId) ?? task.nodeId)
    .sort();
}

function untilOn(service: string, ...nodes: readonly string[]): Promise<unknown> {
  return lab.until((view) => (running(view, service).join() === nodes.join() ? true : undefined));
}

function row(service: string): Promise<string> {
  return lab.run("service", "ls", "--filter", `name=${service}`, "--format", "{{.Mode}}|{{.Replicas}}");
}

async function refused(words: readonly string[]): Promise<string> {
  const ran = await lab.tsswarm("m1", words);
  assert.equal(ran.code, 1, ran.stdout);
  return ran.stderr;
}

test("a global service has a task on each node, which goes and comes with the node's availability", async () => {
  const shown = await lab.run("service", "create", "--name", "each", "--mode", "global", ...SOON, DEMO);
  assert.match(shown, /^overall progress: 3 out of 3 tasks\n/m);
  assert.match(shown, /verify: Service \S+ converged\n$/);
  assert.equal(await row("each"), "global|3/3\n");
  const names = (await lab.run("service", "ps", "each", "--format", "{{.Name}}")).trim().split("\n");
  const ids = await lab.until((view) => (view.nodes().length === 3 ? view.nodes().map(({ id }) => id) : undefined));
  assert.deepEqual(new Set(names), new Set(ids.map((id) => `each.${id}`)));

  await lab.run("node", "update", "--availability", "pause", "w1");
  await lab.run("node", "update", "--availability", "drain", "w2");
  await untilOn("each", "m1", "w1");
  assert.equal(await row("each"), "global|2/2\n");
  await lab.run("node", "update", "--availability", "active", "w1");
  await lab.run("node", "update", "--availability", "active", "w2");
  await untilOn("each", "m1", "w1", "w2");
});

test("an update of a global service goes from node to node, and what the mode does not have is refused", async () => {
  await lab.run("service", "update", "--image", "tsswarm/demo:2", "each");
  const images = await lab.until((view) => view.wanted("each").map((task) => task.spec.container.image));
  assert.deepEqual(images, Array(3).fill("tsswarm/demo:2"));
  const scale = /scale can only be used with replicated or replicated-job mode/;
  assert.match(await refused(["service", "scale", "each=2"]), scale);
  const replicas = /replicas can only be used with replicated or replicated-job mode/;
  assert.match(await refused(["service", "update", "--replicas", "2", "each"]), replicas);
  assert.match(await lab.run("service", "inspect", "--pretty", "each"), /^Service Mode: +Global$/m);
  await lab.remove("each");
});

test("a job is waited for until enough tasks have ended well, never more at once than may", async () => {
  let most = 0;
  const ended = lab.until((view) => {
    const tasks = view.tasks("sum");
    const up = tasks.filter(({ status }) => status.state >= TaskState.STARTING && status.state <= TaskState.RUNNING);
    most = Math.max(most, up.length);
    return tasks.filter(({ status }) => status.state === TaskState.COMPLETE).length === 5 ? true : undefined;
  });
  const job = ["--mode", "replicated-job", "--replicas", "5", "--max-concurrent", "2", "--name", "sum"];
  const shown = await lab.run("service", "create", ...job, DEMO, "sleep", "0.3");
  await ended;
  assert.match(shown, /^job progress: 0 out of 5 complete$/m);
  assert.match(shown, /^job progress: 5 out of 5 complete$/m);
  assert.match(shown, /^job complete\n$/m);
  assert.equal(most, 2);
  assert.equal(await row("sum"), "replicated job|0/2 (5/5 completed)\n");
  const [inspected] = JSON.parse(await lab.run("service", "inspect", "sum")) as readonly {
    readonly Spec: { readonly Mode: unknown };
    readonly JobStatus: { readonly JobIteration: unknown };
  }[];
  assert.deepEqual(inspected?.Spec.Mode, { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 5 } });
  assert.deepEqual(inspected.JobStatus.JobIteration, { Index: 1 });
  await lab.run("service", "update", "--force", "sum");
  assert.equal(await row("sum"), "replicated job|0/2 (5/5 completed)\n");
  const again = await lab.until((view) => view.service("sum")?.jobStatus?.iteration);
  assert.equal(again, 2);
  await lab.remove("sum");
});

test("a job that fails and may not try again ends the command with status 1 and the reason", async () => {
  const job = ["--mode", "replicated-job", "--restart-condition", "none", "--name", "bad"];
  const said = await refused(["service", "create", ...job, DEMO, "sh", "-c", "exit 3"]);
  assert.match(said, /task bad\.1: task: non-zero exit \(3\)/);
  await lab.remove("bad");
});

test("a global job ends on each node", async () => {
  const shown = await lab.run("service", "create", "--name", "sweep", "--mode", "global-job", DEMO, "true");
  assert.match(shown, /^job progress: 3 out of 3 complete$/m);
  assert.equal(await row("sweep"), "global job|0/0 (3/3 completed)\n");
  await lab.remove("sweep");
});

test("a schedule runs nothing at creation, a forced run at once, and the same next time over a restart of the manager", async () => {
  const job = ["--mode", "replicated-job", "--schedule", "0 3 1 1 *", "--schedule-time-zone", "Europe/Berlin"];
  const shown = await lab.run("service", "create", "--name", "tidy", ...job, DEMO, "true");
  assert.match(shown, /^job schedule: next run at \d{4}-01-01T02:00:00\.000Z$/m);
  assert.equal(await row("tidy"), "replicated job|0/1 (0/1 completed)\n");
  await lab.run("service", "update", "-d", "--force", "tidy");
  const complete = (view: ClusterView): number =>
    view.tasks("tidy").filter(({ status }) => status.state === TaskState.COMPLETE).length;
  const before = await lab.until((view) => (complete(view) === 1 ? view.service("tidy")?.jobStatus : undefined));
  await lab.kill("m1");
  await lab.start("m1");
  const after = await lab.until((view) => view.service("tidy")?.jobStatus);
  assert.deepEqual(after, before);
  assert.equal(await lab.until(complete), 1);
  const pretty = await lab.run("service", "inspect", "--pretty", "tidy");
  assert.match(pretty, /^ Schedule: +0 3 1 1 \* \(Europe\/Berlin\)\n Concurrency Policy: +forbid$/m);
  const said = await refused(["service", "update", "--schedule", "61 * * * *", "tidy"]);
  assert.match(said, /invalid schedule "61 \* \* \* \*": "61" is no minute/);
  await lab.remove("tidy");
});
