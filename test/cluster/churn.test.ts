// Daemons are killed and nodes lose their power in the midst of work, in an order that a seed decides. Whatever happened, the cluster ends as
// it was asked to: the right tasks run, nothing else does, and nothing is left when they are gone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../proto/base/clock.ts";
import { seededRandom } from "../../proto/base/random.ts";
import { TaskState } from "../../proto/model/task-state.ts";
import { bound, eventually } from "./support/bound.ts";
import { leftovers } from "./support/leftovers.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "churn", workers: 2, heartbeatPeriodMs: 500 });
const NODES = ["m1", "w1", "w2"] as const;
/** One that may run anywhere, and one that has a port of each node: greatest number of replicas by name. */
const SERVICES = { free: 9, port: NODES.length } as const;
const NAMES = Object.keys(SERVICES) as (keyof typeof SERVICES)[];
const ROUNDS = 8;

/** Asks until the manager takes it: it may be dead at this moment, and another change may have come between. */
async function insist(...words: readonly string[]): Promise<void> {
  await eventually(async () => ((await lab.tsswarm("m1", words)).code === 0 ? true : undefined));
}

test("daemons killed in the midst of work lose nothing and leave nothing", async () => {
  const seed = Number(process.env["TSSWARM_TEST_SEED"] ?? Math.floor(systemClock.now()) % 1_000_000);
  console.log(`seed ${seed}: TSSWARM_TEST_SEED=${seed} replays it`);
  const random = seededRandom(seed);
  const replicas = new Map<keyof typeof SERVICES, number>();
  const flags = ["--restart-delay", "100ms", "--stop-grace-period", "500ms"];
  await lab.create("free", ...flags, "tsswarm/demo:1");
  await lab.create("port", ...flags, "--publish", "published=8080,target=80,mode=host", "tsswarm/demo:1");
  for (let round = 0; round < ROUNDS; round += 1) {
    const victim = NODES[random.int(0, NODES.length)] ?? "w1";
    const pauseMs = random.int(0, 300);
    const name = NAMES[random.int(0, NAMES.length)] ?? "free";
    const count = random.int(0, SERVICES[name] + 1);
    const isUpdate = random.int(0, 3) === 0;
    if (isUpdate) await insist("service", "update", "-d", "--force", name);
    await insist("service", "scale", "-d", `${name}=${count}`);
    replicas.set(name, count);
    // The moment of the kill is part of the random history, not a wait for something.
    await systemClock.sleep(pauseMs, bound());
    await (random.int(0, 3) === 0 ? lab.powerOff(victim) : lab.kill(victim));
    await systemClock.sleep(random.int(0, 300), bound());
    await lab.start(victim);
  }
  for (const name of NAMES) await lab.untilRunning(name, replicas.get(name) ?? 1);
  for (const node of NODES) {
    const { id } = await lab.until((view) => view.node(node));
    await eventually(async () => {
      const { tasks } = await lab.control.listTasks({ filters: [] }, { signal: bound() });
      const running = tasks.filter((task) => task.nodeId === id && task.status?.state === TaskState.RUNNING).length;
      const { containersRunning } = await lab.local(node).info({}, { signal: bound() });
      return containersRunning === running ? true : undefined;
    });
  }
  await lab.remove(...NAMES);
  await eventually(
    () => (leftovers(lab.lab).length === 0 ? true : undefined),
    () => leftovers(lab.lab).join("\n"),
  );
  assert.deepEqual(leftovers(lab.lab), []);
});
