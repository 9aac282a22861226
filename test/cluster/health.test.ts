// Health checks on a real cluster: a task runs when it is healthy, one that no longer is gets replaced, and a restarted daemon goes
// on checking.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TaskState, isEnded } from "../../proto/model/task-state.ts";
import { eventually } from "./support/bound.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "health", workers: 1 });
const DEMO = "tsswarm/demo:1";
const ON_W1 = ["--constraint", "node.hostname==w1"];
const CHECK = ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "2"];
const SOON = ["--stop-grace-period", "100ms", "--restart-delay", "100ms"];

test("a task is starting until its check says that it serves, and one that no longer does is stopped and replaced", async () => {
  const late = "sleep 1; touch /tmp/well; exec sleep 1000";
  const period = ["--health-start-period", "30s", "--health-start-interval", "200ms"];
  await lab.create("web", ...CHECK, ...period, ...SOON, ...ON_W1, DEMO, "sh", "-c", late);
  const starting = await lab.until((view) =>
    view.tasks("web").find((task) => task.status.state === TaskState.STARTING),
  );
  const [running] = await lab.untilRunning("web", 1);
  assert.equal(running?.id, starting.id);
  assert.equal(running.status.container?.health, 2);
  assert.ok(running.runningAtMs - starting.status.atMs >= 800, "not before it is healthy");
  await lab.run("exec", "web.1", "rm", "/tmp/well");
  const ended = await lab.until((view) => {
    const task = view.task(running.id);
    return task !== undefined && isEnded(task.status.state) ? task : undefined;
  });
  assert.equal(ended.status.state, TaskState.FAILED);
  assert.match(ended.status.error, /^task: unhealthy container: its health check failed 2 times in a row/);
  const [next] = await lab.untilRunning("web", 1);
  assert.notEqual(next?.id, ended.id);
  await lab.remove("web");
});

test("a task that is never healthy fails when its start period and its retries are over, and never ran", async () => {
  const flags = [...CHECK, "--health-start-period", "500ms", "--restart-condition", "none"];
  await lab.create("ill", ...flags, ...SOON, ...ON_W1, DEMO, "sleep", "1000");
  const ended = await lab.until((view) => view.tasks("ill").find((task) => isEnded(task.status.state)));
  assert.equal(ended.status.state, TaskState.FAILED);
  assert.equal(ended.runningAtMs, 0);
  await lab.remove("ill");
});

test("a restarted daemon goes on checking a container that an earlier one started", async () => {
  await lab.create("kept", ...CHECK, ...SOON, ...ON_W1, DEMO, "sh", "-c", "touch /tmp/well; exec sleep 1000");
  const [before] = await lab.untilRunning("kept", 1);
  await lab.kill("w1");
  await lab.start("w1");
  const [after] = await lab.untilRunning("kept", 1);
  assert.equal(after?.id, before?.id);
  await eventually(async () => {
    const ran = await lab.tsswarm("m1", ["exec", "kept.1", "rm", "/tmp/well"]);
    return ran.code === 0 ? true : undefined;
  });
  const ended = await lab.until((view) => {
    const task = view.task(before?.id ?? "");
    return task !== undefined && isEnded(task.status.state) ? task : undefined;
  });
  assert.match(ended.status.error, /unhealthy container/);
  await lab.remove("kept");
});

test("a spec that does not change restarts nothing, whatever health flags are said again", async () => {
  const flags = [...CHECK, "--init"];
  await lab.create("same", ...flags, ...ON_W1, DEMO, "sh", "-c", "touch /tmp/well; exec sleep 1000");
  const [before] = await lab.untilRunning("same", 1);
  await lab.run("service", "update", "--detach", ...flags, "same");
  const [after] = await lab.untilRunning("same", 1);
  assert.equal(after?.id, before?.id);
  assert.equal(after?.specVersion, before?.specVersion);
  await lab.remove("same");
});
