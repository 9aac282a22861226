// The daemon of the manager is killed with -9 right after it acknowledged changes: all of them are there when it is back, its
// workers come back by themselves, and nothing that runs is touched.

import assert from "node:assert/strict";
import { test } from "node:test";
import { placesOf } from "../../deploy/lab/lab.ts";
import { ControlService } from "../../proto/gen/control.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { ContainerSpec, Placement, ServiceSpec, TaskSpec } from "../../proto/gen/specs.ts";
import { createClient } from "../../proto/rpc/call.ts";
import { unixChannel } from "../../proto/rpc/channel.ts";
import { bound } from "./support/bound.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "mgr", workers: 2, heartbeatPeriodMs: 500 });
const DEMO = "tsswarm/demo:1";
const ROUNDS = 3;

/** A service that no node can take: the cheapest thing to have acknowledged. */
function parked(name: string): ServiceSpec {
  const container = ContainerSpec.create({ image: DEMO });
  const placement = { ...Placement.create(), constraints: ["node.hostname==nowhere"] };
  return { ...ServiceSpec.create({ name }), task: { ...TaskSpec.create(), container, placement } };
}

/** Creates services as fast as the manager acknowledges them until it is killed; answers the acknowledged ones. */
async function createUntilKilled(round: number): Promise<readonly string[]> {
  const channel = unixChannel(placesOf(lab.lab.name, "m1").socket);
  const control = createClient(ControlService, channel);
  const acknowledged: string[] = [];
  let killing: Promise<void> | undefined;
  try {
    for (let count = 0; killing === undefined || count < 1_000; count += 1) {
      const name = `r${round}-${count}`;
      const made = await control.createService({ spec: parked(name) }, { signal: bound() }).catch((error: unknown) => {
        if (killing === undefined) throw error;
        return undefined;
      });
      if (made === undefined) break;
      acknowledged.push(name);
      // In the midst of the stream of creates, a different number of them each round.
      if (count === 10 + round * 7) killing = lab.kill("m1");
    }
  } finally {
    channel.close();
    await killing;
  }
  return acknowledged;
}

test("every acknowledged service is there after the manager was killed, round after round", async () => {
  await lab.create("web", "--replicas", "3", "--publish", "published=8080,target=80,mode=host", DEMO);
  const before = await lab.untilRunning("web", 3);
  const acknowledged: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    acknowledged.push(...(await createUntilKilled(round)));
    for (const node of ["w1", "w2"]) {
      assert.match((await lab.http(node, `http://${lab.address(node)}:8080/`)) ?? "", /^hostname: /);
    }
    await lab.start("m1");
    const { services } = await lab.control.listServices({ filters: [] }, { signal: bound() });
    const names = new Set(services.map(({ service }) => service?.spec?.name ?? ""));
    assert.deepEqual(
      acknowledged.filter((name) => !names.has(name)),
      [],
    );
  }
  assert.ok(acknowledged.length > ROUNDS * 10);
  await lab.until((view) =>
    view.nodes().length === 3 && view.nodes().every((node) => node.status.state === NodeStatus_State.READY)
      ? true
      : undefined,
  );
  const after = await lab.untilRunning("web", 3);
  assert.deepEqual(
    after.map((task) => [task.id, task.status.container?.containerId]),
    before.map((task) => [task.id, task.status.container?.containerId]),
  );
});

test("workers that came back take new work and report it", async () => {
  await lab.run("service", "scale", "-d", "web=2");
  await lab.untilRunning("web", 2);
  await lab.run("service", "scale", "-d", "web=3");
  const tasks = await lab.untilRunning("web", 3);
  assert.equal(new Set(tasks.map((task) => task.nodeId)).size, 3);
});

test("what was removed stays removed", async () => {
  await lab.run("service", "rm", "web");
  await lab.kill("m1");
  await lab.start("m1");
  await lab.until((view) => (view.service("web") === undefined && view.tasks("web").length === 0 ? true : undefined));
  assert.doesNotMatch(await lab.run("service", "ls"), / web /);
});

test("join tokens are the same after the manager's restart", async () => {
  const before = await lab.run("swarm", "join-token", "-q", "worker");
  await lab.kill("m1");
  await lab.start("m1");
  assert.equal(await lab.run("swarm", "join-token", "-q", "worker"), before);
});
