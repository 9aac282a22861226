// The dispatcher over a store in memory and a clock that the test moves: who is there, who is given what, who may report.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Dispatcher } from "../../../manager/dispatcher/dispatcher.ts";
import { StreamBroker } from "../../../manager/dispatcher/stream-broker.ts";
import type { Store } from "../../../manager/store/store.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import {
  AssignmentChange_Action,
  AssignmentsMessage_Type,
  type AssignmentsMessage,
  type SessionMessage,
  type TaskStatusUpdate,
} from "../../../proto/gen/dispatcher.ts";
import { NodeDescription, NodeStatus_State, TaskStatus } from "../../../proto/gen/objects.ts";
import { NodeSpec, NodeSpec_Availability } from "../../../proto/gen/specs.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import { addCluster, addNode, addTask, memoryStore } from "../../support/cluster-state.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

const DESCRIPTION = { ...NodeDescription.create(), hostname: "host-n1" };

interface World {
  readonly clock: ManualClock;
  readonly store: Store;
  readonly dispatcher: Dispatcher;
  readonly streams: StreamBroker;
  readonly stop: AbortController;
  readonly finish: () => Promise<void>;
}

async function world(prepare: (store: Store) => Promise<void> = async (store) => addNode(store, "n1")): Promise<World> {
  const clock = new ManualClock();
  const store = memoryStore(clock);
  await addCluster(store);
  await prepare(store);
  const random = seededRandom(11);
  const streams = new StreamBroker({ clock, random });
  const dispatcher = new Dispatcher({ store, clock, random, logger: silentLogger, streams });
  const stop = new AbortController();
  const running = dispatcher.run(stop.signal);
  await settled();
  const finish = async (): Promise<void> => {
    stop.abort(new SwarmError("Cancelled", "the test is over"));
    await running;
    assert.equal(clock.pending, 0, "no timer is left");
  };
  return { clock, store, dispatcher, streams, stop, finish };
}

function as(nodeId: string, signal: AbortSignal = new AbortController().signal): CallContext {
  return { caller: { kind: "node", nodeId, role: "worker", clusterId: "c1", addr: "10.0.0.5:40000" }, signal };
}

/** Reads a stream one message at a time; `next` fails when nothing comes. */
class Reader<T> {
  readonly #source: AsyncIterator<T>;
  #waiting: Promise<IteratorResult<T>> | undefined;

  constructor(stream: AsyncIterable<T>) {
    this.#source = stream[Symbol.asyncIterator]();
  }

  async next(): Promise<T> {
    const result = await this.#take();
    assert.ok(result !== undefined && result.done !== true, "a message came");
    this.#waiting = undefined;
    return result.value;
  }

  async idle(): Promise<boolean> {
    return (await this.#take()) === undefined;
  }

  async end(): Promise<unknown> {
    this.#waiting ??= this.#source.next();
    return this.#waiting.then(
      () => assert.fail("the stream goes on"),
      (error: unknown) => error,
    );
  }

  async #take(): Promise<IteratorResult<T> | undefined> {
    this.#waiting ??= this.#source.next();
    this.#waiting.catch(() => undefined);
    return Promise.race([this.#waiting, settled(8).then(() => undefined)]);
  }
}

async function register(
  { dispatcher }: World,
  nodeId = "n1",
  options: { readonly sessionId?: string; readonly signal?: AbortSignal } = {},
): Promise<{ readonly session: Reader<SessionMessage>; readonly first: SessionMessage }> {
  const request = { description: { ...DESCRIPTION, hostname: `host-${nodeId}` }, sessionId: options.sessionId ?? "" };
  const session = new Reader(dispatcher.handlers.session(request, as(nodeId, options.signal)));
  return { session, first: await session.next() };
}

function stateOf({ store }: World, nodeId = "n1"): NodeStatus_State | undefined {
  return store.view().nodes.get(nodeId)?.status.state;
}

function report(taskId: string, state: TaskState, message = ""): TaskStatusUpdate {
  return { taskId, status: { ...TaskStatus.create(), state, message } };
}

function summary(message: AssignmentsMessage): unknown[] {
  return message.changes.map(({ action, item }) => [
    action === AssignmentChange_Action.UPDATE ? "update" : "remove",
    item?.value.id,
  ]);
}

test("a node that registers is ready, described, and keeps so while it beats", async () => {
  const w = await world();
  assert.equal(stateOf(w), NodeStatus_State.UNKNOWN);
  const { first } = await register(w);
  assert.equal(first.node?.id, "n1");
  assert.equal(first.node.status?.state, NodeStatus_State.READY);
  assert.equal(first.node.status.addr, "10.0.0.5");
  for (let beats = 0; beats < 10; beats += 1) {
    const { periodMs } = await w.dispatcher.handlers.heartbeat({ sessionId: first.sessionId }, as("n1"));
    assert.ok(periodMs >= 4_500 && periodMs <= 5_500);
    await w.clock.advance(periodMs);
  }
  assert.equal(stateOf(w), NodeStatus_State.READY);
  await w.finish();
});

test("a silent node is down after three periods and its session is over", async () => {
  const w = await world();
  const { session, first } = await register(w);
  await w.clock.advance(13_400);
  assert.equal(stateOf(w), NodeStatus_State.READY);
  await w.clock.advance(3_200);
  assert.equal(stateOf(w), NodeStatus_State.DOWN);
  assert.equal(w.store.view().nodes.get("n1")?.status.message, "heartbeat failure");
  assert.match(String(await session.end()), /no heartbeat of node n1 came in time/);
  await assert.rejects(w.dispatcher.handlers.heartbeat({ sessionId: first.sessionId }, as("n1")), {
    code: "FailedPrecondition",
  });
  await register(w);
  assert.equal(stateOf(w), NodeStatus_State.READY);
  await w.finish();
});

test("after a manager's start nodes are unknown and have twice the time to come back", async () => {
  const w = await world();
  await w.clock.advance(26_900);
  assert.equal(stateOf(w), NodeStatus_State.UNKNOWN);
  await w.clock.advance(6_200);
  assert.equal(stateOf(w), NodeStatus_State.DOWN);
  assert.match(w.store.view().nodes.get("n1")?.status.message ?? "", /"unknown" state/);
  await w.finish();
});

test("the cluster's heartbeat period is the one that counts", async () => {
  const w = await world(async (store) => {
    await addNode(store, "n1");
    await store.update((tx) => {
      const [cluster] = tx.clusters.all();
      if (cluster !== undefined) tx.clusters.update({ ...cluster, spec: { ...cluster.spec, heartbeatPeriodMs: 200 } });
    });
  });
  await register(w);
  await w.clock.advance(700);
  assert.equal(stateOf(w), NodeStatus_State.DOWN);
  await w.finish();
});

test("a newer session takes the place of the one before, and an agent may go on with its own", async () => {
  const w = await world();
  const one = await register(w);
  const two = await register(w);
  assert.notEqual(one.first.sessionId, two.first.sessionId);
  assert.match(String(await one.session.end()), /a newer session of node n1/);
  const again = await register(w, "n1", { sessionId: two.first.sessionId });
  assert.equal(again.first.sessionId, two.first.sessionId);
  await w.finish();
});

test("a node that registers too often has to wait", async () => {
  const w = await world();
  for (let times = 0; times < 3; times += 1) await register(w);
  await assert.rejects(register(w), { code: "Unavailable", message: /registers too often/ });
  await w.clock.advance(8_000);
  await register(w);
  await w.finish();
});

test("the session tells of the node's object, the managers and the streams wanted, each when it changes", async () => {
  const w = await world();
  const { session, first } = await register(w);
  assert.deepEqual(first.managers, []);
  assert.ok(await session.idle());
  await w.store.update((tx) => {
    const node = tx.nodes.get("n1");
    const spec = { ...NodeSpec.create(), availability: NodeSpec_Availability.DRAIN };
    if (node !== undefined) tx.nodes.update({ ...node, spec });
  });
  assert.equal((await session.next()).node?.spec?.availability, NodeSpec_Availability.DRAIN);
  await addNode(w.store, "m1", { managerStatus: { addr: "10.0.0.1:2377", leader: true, reachability: 2 } });
  assert.deepEqual((await session.next()).managers, ["10.0.0.1:2377"]);
  const gone = new AbortController();
  const open = { taskId: "t1", kind: undefined };
  const client = w.streams
    .connect({ nodeId: "n1", nodeName: "host-n1" }, { open, input: (async function* () {})() }, gone.signal)
    .next();
  const { streams } = await session.next();
  assert.deepEqual(
    streams.map((each) => each.open?.taskId),
    ["t1"],
  );
  assert.ok(await session.idle());
  gone.abort(new SwarmError("Cancelled", "enough"));
  await assert.rejects(client);
  await w.finish();
});

test("a node that is removed is told so, on its streams and when it comes again, and its tasks are given up", async () => {
  const w = await world(async (store) => {
    await addNode(store, "n1");
    await addTask(store, "t1");
  });
  const { session, first } = await register(w);
  const assignments = new Reader(w.dispatcher.handlers.assignments({ sessionId: first.sessionId }, as("n1")));
  await assignments.next();
  await w.store.update((tx) => tx.nodes.remove("n1"));
  for (const stream of [session, assignments]) {
    const error = await stream.end();
    assert.ok(error instanceof SwarmError);
    assert.equal(error.code, "PermissionDenied");
    assert.match(error.message, /node n1 was removed from the cluster/);
  }
  await assert.rejects(register(w), { code: "PermissionDenied" });
  await settled();
  assert.equal(w.store.view().tasks.get("t1")?.status.state, TaskState.ORPHANED);
  await w.finish();
});

test("assignments are complete first, then differences of this node alone", async () => {
  const w = await world(async (store) => {
    await addNode(store, "n1");
    await addTask(store, "t1", { state: TaskState.ASSIGNED });
    await addTask(store, "elsewhere", { nodeId: "n2" });
  });
  const { first } = await register(w);
  const assignments = new Reader(w.dispatcher.handlers.assignments({ sessionId: first.sessionId }, as("n1")));
  const complete = await assignments.next();
  assert.equal(complete.type, AssignmentsMessage_Type.COMPLETE);
  assert.deepEqual(summary(complete), [["update", "t1"]]);
  await addTask(w.store, "t2", { state: TaskState.ASSIGNED });
  const second = await assignments.next();
  assert.equal(second.appliesTo, complete.resultsIn);
  assert.deepEqual(summary(second), [["update", "t2"]]);
  await addTask(w.store, "t3", { state: TaskState.PENDING, nodeId: "" });
  await addTask(w.store, "t4", { nodeId: "n2" });
  assert.ok(await assignments.idle());
  await w.store.update((tx) => tx.tasks.remove("t1"));
  assert.deepEqual(summary(await assignments.next()), [["remove", "t1"]]);
  await w.finish();
});

test("what an agent reports does not come back to it", async () => {
  const w = await world(async (store) => {
    await addNode(store, "n1");
    await addTask(store, "t1", { state: TaskState.ASSIGNED });
  });
  const { sessionId } = (await register(w)).first;
  const assignments = new Reader(w.dispatcher.handlers.assignments({ sessionId }, as("n1")));
  await assignments.next();
  await w.dispatcher.handlers.updateTaskStatus({ sessionId, updates: [report("t1", TaskState.RUNNING)] }, as("n1"));
  assert.equal(w.store.view().tasks.get("t1")?.status.state, TaskState.RUNNING);
  assert.ok(await assignments.idle());
  await w.finish();
});

test("many changes under load come in one message per window", async () => {
  const w = await world();
  const { first } = await register(w);
  const assignments = new Reader(w.dispatcher.handlers.assignments({ sessionId: first.sessionId }, as("n1")));
  await assignments.next();
  for (let count = 0; count < 4; count += 1) {
    await addTask(w.store, `early${count}`, { state: TaskState.ASSIGNED });
    await assignments.next();
  }
  for (let count = 0; count < 50; count += 1) await addTask(w.store, `t${count}`, { state: TaskState.ASSIGNED });
  assert.ok(await assignments.idle());
  await w.clock.advance(100);
  assert.equal((await assignments.next()).changes.length, 50);
  await w.finish();
});

test("a task's state only rises, and a node speaks of its own tasks alone", async () => {
  const w = await world(async (store) => {
    await addNode(store, "n1");
    await addTask(store, "t1");
    await addTask(store, "t2", { nodeId: "n2" });
  });
  const { sessionId } = (await register(w)).first;
  const update = (...updates: TaskStatusUpdate[]): Promise<object> =>
    w.dispatcher.handlers.updateTaskStatus({ sessionId, updates }, as("n1"));
  const { version } = w.store.view();
  await update(report("t1", TaskState.STARTING), report("unknown", TaskState.RUNNING));
  assert.equal(w.store.view().version, version, "old news costs no commit");
  await update(report("t1", TaskState.FAILED, "x".repeat(10_000)));
  const task = w.store.view().tasks.get("t1");
  assert.equal(task?.status.state, TaskState.FAILED);
  assert.equal(task.status.message.length, 4_096);
  await assert.rejects(update(report("t2", TaskState.FAILED)), { code: "PermissionDenied" });
  await assert.rejects(update(report("t1", TaskState.ORPHANED)), { code: "InvalidArgument" });
  await assert.rejects(update(report("t1", 600 as TaskState)), { code: "InvalidArgument" });
  await assert.rejects(update({ taskId: "t1", status: undefined }), { code: "InvalidArgument" });
  await assert.rejects(update(...Array.from({ length: 10_001 }, () => report("t1", TaskState.FAILED))), {
    code: "InvalidArgument",
  });
  await assert.rejects(w.dispatcher.handlers.updateTaskStatus({ sessionId: "another", updates: [] }, as("n1")), {
    code: "FailedPrecondition",
  });
  await w.finish();
});

test("reports of many tasks are written together", async () => {
  const w = await world(async (store) => {
    await addNode(store, "n1");
    for (let count = 0; count < 450; count += 1) await addTask(store, `t${count}`, { slot: count });
  });
  const { sessionId } = (await register(w)).first;
  const { version } = w.store.view();
  const updates = Array.from({ length: 450 }, (_, count) => report(`t${count}`, TaskState.COMPLETE));
  await w.dispatcher.handlers.updateTaskStatus({ sessionId, updates }, as("n1"));
  assert.equal(w.store.view().version - version, 3);
  assert.ok([...w.store.view().tasks.all()].every((task) => task.status.state === TaskState.COMPLETE));
  await w.finish();
});

test("the tasks of a node that is down for a day are given up", async () => {
  const w = await world(async (store) => {
    await addNode(store, "n1");
    await addTask(store, "t1");
    await addTask(store, "ended", { slot: 2, state: TaskState.COMPLETE });
  });
  await w.clock.advance(86_400_000);
  assert.equal(stateOf(w), NodeStatus_State.DOWN);
  assert.equal(w.store.view().tasks.get("t1")?.status.state, TaskState.RUNNING);
  await w.clock.advance(60_000);
  assert.equal(w.store.view().tasks.get("t1")?.status.state, TaskState.ORPHANED);
  assert.equal(w.store.view().tasks.get("ended")?.status.state, TaskState.COMPLETE);
  await w.finish();
});

test("a machine's description is checked before the node is taken in", async () => {
  const w = await world();
  const attempt = (description: NodeDescription | undefined): Promise<unknown> =>
    new Reader(w.dispatcher.handlers.session({ description, sessionId: "" }, as("n1"))).next();
  await assert.rejects(attempt(undefined), { code: "InvalidArgument" });
  await assert.rejects(attempt({ ...DESCRIPTION, hostname: "a b" }), { code: "InvalidArgument" });
  await assert.rejects(attempt({ ...DESCRIPTION, engineLabels: { a: "x".repeat(70_000) } }), {
    code: "InvalidArgument",
  });
  assert.equal(stateOf(w), NodeStatus_State.UNKNOWN);
  await w.finish();
});

test("streams end when the manager stops", async () => {
  const w = await world();
  const { session } = await register(w);
  const ended = session.end();
  await w.finish();
  assert.match(String(await ended), /the manager is stopping/);
});
