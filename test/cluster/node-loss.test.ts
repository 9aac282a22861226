// Nodes that are drained, lose their power or their cable: their tasks go on elsewhere, and when they are back there is no ghost
// of what ran there.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeStatus_State, UpdateStatus_State } from "../../proto/gen/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { bound, eventually } from "./support/bound.ts";
import { isAlive } from "./support/processes.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "loss", workers: 2, heartbeatPeriodMs: 400 });
const DEMO = "tsswarm/demo:1";

function untilState(node: string, state: NodeStatus_State): Promise<string> {
  return lab.until((view) => {
    const found = view.node(node);
    return found?.status.state === state ? found.id : undefined;
  });
}

/** Three running replicas, none of them on that node. */
function untilElsewhere(service: string, nodeId: string): Promise<readonly WholeTask[]> {
  return lab.until((view) => {
    const running = view
      .tasks(service)
      .filter(
        (task) =>
          task.desiredState === TaskState.RUNNING && task.status.state === TaskState.RUNNING && task.nodeId !== nodeId,
      );
    return running.length === 3 ? running : undefined;
  });
}

/** The node runs exactly the containers that the cluster knows to run there. */
async function untilNoGhosts(node: string): Promise<void> {
  const { id } = await lab.until((view) => view.node(node));
  await eventually(async () => {
    const { tasks } = await lab.control.listTasks({ filters: [] }, { signal: bound() });
    const own = tasks.filter((task) => task.nodeId === id);
    const running = own.filter((task) => task.status?.state === TaskState.RUNNING);
    const unwanted = running.filter((task) => task.desiredState !== TaskState.RUNNING);
    const { containersRunning } = await lab.local(node).info({}, { signal: bound() });
    return unwanted.length === 0 && containersRunning === running.length ? true : undefined;
  });
}

async function pidsOn(service: string, nodeId: string): Promise<readonly number[]> {
  const tasks = await lab.untilRunning(service, 3);
  return tasks.filter((task) => task.nodeId === nodeId).map((task) => task.status.container?.pid ?? 0);
}

test("draining a node moves its tasks, and an active node takes tasks again", async () => {
  await lab.create("web", "--replicas", "3", DEMO);
  const drained = await untilState("w1", NodeStatus_State.READY);
  assert.equal((await pidsOn("web", drained)).length, 1);
  await lab.run("node", "update", "--availability", "drain", "w1");
  await untilElsewhere("web", drained);
  await lab.until((view) =>
    view.tasks("web").every((task) => task.nodeId !== drained || task.status.state === TaskState.SHUTDOWN)
      ? true
      : undefined,
  );
  await untilNoGhosts("w1");
  assert.match(await lab.run("node", "ls"), /w1 +Ready +Drain/);
  await lab.run("node", "update", "--availability", "active", "w1");
  await lab.run("service", "update", "-d", "--force", "web");
  await lab.until((view) => {
    const wanted = view.wanted("web").filter((task) => task.status.state === TaskState.RUNNING);
    return wanted.length === 3 && wanted.some((task) => task.nodeId === drained) ? true : undefined;
  });
  // The update goes on one slot after the other; the next test begins when it is over.
  await lab.until((view) =>
    view.service("web")?.updateStatus?.state === UpdateStatus_State.COMPLETED ? true : undefined,
  );
});

test("a node without power counts as down, its tasks run elsewhere, and it comes back without ghosts", async () => {
  const lost = await untilState("w1", NodeStatus_State.READY);
  const pids = await pidsOn("web", lost);
  assert.ok(pids.length > 0);
  await lab.powerOff("w1");
  for (const pid of pids) assert.ok(!isAlive(pid));
  await untilState("w1", NodeStatus_State.DOWN);
  const moved = await untilElsewhere("web", lost);
  assert.match(await lab.run("node", "ls"), /w1 +Down/);
  await lab.start("w1");
  await untilState("w1", NodeStatus_State.READY);
  await untilNoGhosts("w1");
  // What was moved stays where it is: a node that comes back takes nothing away from the others.
  const after = await lab.untilRunning("web", 3);
  assert.deepEqual(
    after.map((task) => task.id),
    moved.map((task) => task.id),
  );
  await lab.create(
    "pinned",
    "--constraint",
    "node.hostname==w1",
    "--publish",
    "published=8085,target=80,mode=host",
    "--replicas",
    "1",
    DEMO,
  );
  await lab.untilRunning("pinned", 1);
  await lab.remove("pinned");
});

for (const direction of ["both", "in", "out"] as const) {
  test(`a node whose cable is cut (${direction}) is replaced, and healed it takes its part again`, async () => {
    await lab.create("cut", "--replicas", "3", "--replicas-max-per-node", "2", DEMO);
    const lost = await untilState("w2", NodeStatus_State.READY);
    const pids = await pidsOn("cut", lost);
    assert.ok(pids.length > 0);
    await lab.cut("w2", direction);
    await untilState("w2", NodeStatus_State.DOWN);
    const moved = await untilElsewhere("cut", lost);
    // Nobody could tell the node: what runs there runs on.
    for (const pid of pids) assert.ok(isAlive(pid));
    await lab.heal("w2");
    await untilState("w2", NodeStatus_State.READY);
    await eventually(() => (pids.some(isAlive) ? undefined : true));
    await untilNoGhosts("w2");
    const after = await lab.untilRunning("cut", 3);
    assert.deepEqual(
      after.map((task) => task.id),
      moved.map((task) => task.id),
    );
    await lab.remove("cut");
  });
}
