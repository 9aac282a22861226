// The leader over a clock and a log that the test moves: wakes, retries, and what a failing pass costs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Leader } from "../../../manager/leader.ts";
import { type Pass } from "../../../manager/pass.ts";
import { PassRunner, everything } from "../../../manager/pass-runner.ts";
import { Store } from "../../../manager/store/store.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { Node, NodeStatus, NodeStatus_State, Service } from "../../../proto/gen/objects.ts";
import { wholeNode, wholeService, wholeTask } from "../../../proto/model/objects.ts";
import { Task } from "../../../proto/gen/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { FakeProposer } from "../../support/fake-proposer.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

interface Lab {
  readonly store: Store;
  readonly proposer: FakeProposer;
  readonly clock: ManualClock;
}

/** Leads a store for as long as the test runs. */
async function leading(action: (lab: Lab) => Promise<void>): Promise<void> {
  const clock = new ManualClock();
  const store = new Store({ now: () => clock.now() });
  const proposer = new FakeProposer();
  store.attach(proposer);
  const leader = new Leader({ store, clock, random: seededRandom(1), logger: silentLogger, strict: true });
  const stop = new AbortController();
  const done = leader.run(stop.signal);
  try {
    await action({ store, proposer, clock });
  } finally {
    stop.abort();
    await done;
  }
  assert.equal(clock.pending, 0, "no timer is left behind");
}

async function addNode(store: Store, id: string): Promise<void> {
  const status = NodeStatus.create({ state: NodeStatus_State.READY });
  await store.update((tx) => tx.nodes.create(wholeNode(Node.create({ id, status }))));
}

async function addService(store: Store, id: string): Promise<void> {
  await store.update((tx) => tx.services.create(wholeService(Service.create({ id, specVersion: 1 }))));
}

function states(store: Store): readonly TaskState[] {
  return store
    .view()
    .tasks.all()
    .map((task) => task.status.state);
}

test("a service is placed two commits after it was asked for", async () => {
  await leading(async ({ store, proposer }) => {
    await addNode(store, "n1");
    await addService(store, "s1");
    await settled();
    assert.deepEqual(states(store), [TaskState.ASSIGNED]);
    assert.equal(proposer.log.length, 3, "the node, the service, and everything the leader did");
  });
});

test("what happens while a run is on its way to the log is not missed", async () => {
  await leading(async ({ store, proposer }) => {
    await addNode(store, "n1");
    await settled();
    proposer.hold = true;
    const first = addService(store, "s1");
    proposer.commit();
    await first;
    await settled();
    assert.equal(proposer.held, 1, "the leader's run is on its way");
    const second = addService(store, "s2");
    proposer.commit();
    await second;
    proposer.hold = false;
    proposer.commit();
    await settled();
    proposer.commit();
    await settled();
    assert.deepEqual(
      store
        .view()
        .tasks.all()
        .map((task) => [task.serviceId, task.status.state]),
      [
        ["s1", TaskState.ASSIGNED],
        ["s2", TaskState.ASSIGNED],
      ],
    );
  });
});

test("the leader wakes for the end of a restart's delay", async () => {
  await leading(async ({ store, clock }) => {
    await addNode(store, "n1");
    await addService(store, "s1");
    await settled();
    await store.update((tx) => {
      for (const task of tx.tasks.all())
        tx.tasks.update({ ...task, status: { ...task.status, state: TaskState.FAILED, atMs: clock.now() } });
    });
    await settled();
    const wanted = (): TaskState | undefined =>
      store
        .view()
        .tasks.all()
        .find((task) => task.status.state !== TaskState.FAILED)?.desiredState;
    assert.equal(wanted(), TaskState.READY);
    await clock.advance(4_999);
    assert.equal(wanted(), TaskState.READY);
    await clock.advance(1);
    assert.equal(wanted(), TaskState.RUNNING);
  });
});

test("a run that the log drops is done again", async () => {
  await leading(async ({ store, proposer, clock }) => {
    await addNode(store, "n1");
    await settled();
    proposer.hold = true;
    const made = addService(store, "s1");
    proposer.commit();
    await made;
    await settled();
    assert.equal(proposer.held, 1);
    proposer.fail("dropped");
    proposer.hold = false;
    await settled();
    assert.deepEqual(states(store), []);
    await clock.advance(5_000);
    assert.deepEqual(states(store), [TaskState.ASSIGNED]);
  });
});

test("a new leader takes up what it finds", async () => {
  const clock = new ManualClock();
  const store = new Store({ now: () => clock.now() });
  store.attach(new FakeProposer());
  await addNode(store, "n1");
  await addService(store, "s1");
  const stop = new AbortController();
  const done = new Leader({ store, clock, random: seededRandom(1), logger: silentLogger, strict: true }).run(
    stop.signal,
  );
  await settled();
  assert.deepEqual(states(store), [TaskState.ASSIGNED]);
  stop.abort();
  await done;
});

function passNamed(name: string, run: Pass["run"]): Pass & { readonly seen: string[] } {
  const seen: string[] = [];
  return { name, seen, observe: (event) => void seen.push(`${event.action} ${event.object.id}`), run };
}

test("a pass that fails loses its own changes only, and is shown everything again later", async () => {
  const store = new Store({ now: () => 0 });
  store.attach(new FakeProposer());
  const bad = passNamed("bad", (tx) => {
    tx.tasks.create(wholeTask(Task.create({ id: "bad" })));
    throw new Error("a bug");
  });
  const good = passNamed("good", (tx) => {
    if (tx.tasks.get("good") === undefined) tx.tasks.create(wholeTask(Task.create({ id: "good" })));
    return null;
  });
  const last = passNamed("last", () => null);
  const passes = [bad, good, last];
  const runner = new PassRunner({ passes, logger: silentLogger, strict: false });
  const result = await store.update((tx) => runner.run(tx, 1_000));
  assert.deepEqual(
    store
      .view()
      .tasks.all()
      .map(({ id }) => id),
    ["good"],
  );
  assert.deepEqual(result, { changed: true, next: 6_000 });
  assert.equal(runner.failures, 1);
  assert.deepEqual(last.seen, ["create good"], "a later pass sees what is there, not what was dropped");
  assert.deepEqual(bad.seen, []);
  await store.update((tx) => runner.run(tx, 6_000));
  assert.deepEqual(bad.seen, ["create good"]);
  const strict = new PassRunner({ passes, logger: silentLogger, strict: true });
  strict.observe(everything(store.view()));
  await assert.rejects(
    store.update((tx) => strict.run(tx, 0)),
    /a bug/,
  );
});
