// The agent against the real dispatcher, joined without a network: what each half's own tests assume of the other.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Agent } from "../../../agent/agent.ts";
import { Dispatcher } from "../../../manager/dispatcher/dispatcher.ts";
import { StreamBroker } from "../../../manager/dispatcher/stream-broker.ts";
import type { Store } from "../../../manager/store/store.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import type { DispatcherService } from "../../../proto/gen/dispatcher.ts";
import type { Task } from "../../../proto/gen/objects.ts";
import type { StreamFrame } from "../../../proto/gen/streams.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import type { Client } from "../../../proto/rpc/methods.ts";
import { addNode, addTask, memoryStore } from "../../support/cluster-state.ts";
import { FakeExecutor, FakeMachine } from "../../support/fake-executor.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { taskId } from "../../support/tasks.ts";

interface Cluster {
  readonly agent: Agent;
  readonly clock: ManualClock;
  readonly machine: FakeMachine;
  readonly store: Store;
  readonly broker: () => StreamBroker;
  readonly stopManager: () => Promise<void>;
  readonly startManager: () => void;
  readonly task: (name: string) => Task | undefined;
  /** Lets time pass until it is so. */
  readonly reach: (condition: () => boolean) => Promise<void>;
}

async function withCluster(body: (cluster: Cluster) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-agent-"));
  const clock = new ManualClock();
  const store = memoryStore(clock);
  const machine = new FakeMachine();
  const logger = silentLogger;
  let manager:
    { readonly dispatcher: Dispatcher; readonly broker: StreamBroker; readonly stop: () => Promise<void> } | undefined;
  const startManager = (): void => {
    const abort = new AbortController();
    const random = seededRandom(3);
    const broker = new StreamBroker({ clock, random });
    const dispatcher = new Dispatcher({ store, clock, random, logger, streams: broker });
    const run = dispatcher.run(abort.signal);
    const stop = async (): Promise<void> => {
      abort.abort(new SwarmError("Unavailable", "the manager stops"));
      await run;
    };
    manager = { dispatcher, broker, stop };
  };
  const stopManager = async (): Promise<void> => {
    const { stop } = required(manager);
    manager = undefined;
    await stop();
  };
  startManager();
  const agent = new Agent({
    dir,
    managers: ["m1:2377"],
    dial: () => ({ client: clientOf(() => manager?.dispatcher), close: () => undefined }),
    executor: new FakeExecutor(machine),
    clock,
    random: seededRandom(5),
    logger,
  });
  await addNode(store, "n1");
  const abort = new AbortController();
  const run = agent.run(abort.signal);
  try {
    await body({
      agent,
      clock,
      machine,
      store,
      stopManager,
      startManager,
      broker: () => required(manager).broker,
      task: (name) => store.view().tasks.get(taskId(name)),
      reach: async (condition) => {
        for (let round = 0; round < 2_000 && !condition(); round += 1) await clock.advance(50);
        assert.ok(condition(), `not reached: ${String(condition)}`);
      },
    });
  } finally {
    abort.abort(new SwarmError("Cancelled", "the test is over"));
    await run;
    await manager?.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

function required<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}

/** Calls the dispatcher's handlers as the RPC server does for node n1. */
function clientOf(dispatcher: () => Dispatcher | undefined): Client<typeof DispatcherService> {
  const handlers = (): Dispatcher["handlers"] => {
    const found = dispatcher();
    if (found === undefined) throw new SwarmError("Unavailable", "Cannot connect to m1:2377");
    return found.handlers;
  };
  const context = (signal: AbortSignal): CallContext => ({
    signal,
    caller: { kind: "node", nodeId: "n1", role: "worker", clusterId: "c1", addr: "10.0.0.2:4000" },
  });
  return {
    session: async function* (request, { signal }) {
      yield* handlers().session(request, context(signal));
    },
    heartbeat: async (request, { signal }) => handlers().heartbeat(request, context(signal)),
    updateTaskStatus: async (request, { signal }) => handlers().updateTaskStatus(request, context(signal)),
    assignments: async function* (request, { signal }) {
      yield* handlers().assignments(request, context(signal));
    },
    stream: async function* (requests, { signal }) {
      yield* handlers().stream(requests, context(signal));
    },
  };
}

const assigned = { state: TaskState.ASSIGNED };

async function desire(store: Store, name: string, desiredState: TaskState): Promise<void> {
  await store.update((tx) => {
    const task = required(tx.tasks.get(taskId(name)));
    tx.tasks.update({ ...task, desiredState });
  });
}

test("an assigned task runs, is stopped when that is desired, and goes when it leaves the store", async () => {
  await withCluster(async ({ agent, machine, reach, store, task }) => {
    await addTask(store, taskId("t1"), assigned);
    await reach(() => task("t1")?.status?.state === TaskState.RUNNING);
    await addTask(store, taskId("t2"), assigned);
    await reach(() => task("t2")?.status?.state === TaskState.RUNNING);
    await desire(store, "t1", TaskState.SHUTDOWN);
    await reach(() => task("t1")?.status?.state === TaskState.SHUTDOWN);
    assert.equal(agent.counts().tasks, 2);
    await store.update((tx) => tx.tasks.remove(taskId("t1")));
    await reach(() => agent.counts().tasks === 1);
    assert.deepEqual([...machine.containers.keys()], [taskId("t2")]);
  });
});

test("a container's end reaches the store with its reason", async () => {
  await withCluster(async ({ machine, reach, store, task }) => {
    await addTask(store, taskId("t1"), assigned);
    await reach(() => task("t1")?.status?.state === TaskState.RUNNING);
    machine.exit(taskId("t1"), { code: 1 });
    await reach(() => task("t1")?.status?.state === TaskState.FAILED);
    assert.equal(task("t1")?.status?.error, "task: non-zero exit (1)");
  });
});

test("while the manager is gone tasks go on, and the next manager hears what happened", async () => {
  await withCluster(async ({ agent, clock, machine, reach, startManager, stopManager, store, task }) => {
    await addTask(store, taskId("t1"), assigned);
    await addTask(store, taskId("t2"), assigned);
    await reach(() => task("t1")?.status?.state === TaskState.RUNNING);
    await reach(() => task("t2")?.status?.state === TaskState.RUNNING);
    await stopManager();
    machine.exit(taskId("t1"), { code: 0 });
    await clock.advance(30_000);
    assert.equal(agent.counts().running, 1);
    await store.update((tx) => tx.tasks.remove(taskId("t2")));
    startManager();
    await reach(() => task("t1")?.status?.state === TaskState.COMPLETE);
    await reach(() => agent.counts().tasks === 1);
  });
});

test("a person's command reaches the task and its answer comes back", async () => {
  await withCluster(async ({ broker, clock, reach, store, task }) => {
    await addTask(store, taskId("t1"), assigned);
    await reach(() => task("t1")?.status?.state === TaskState.RUNNING);
    const exec = {
      args: ["cat"],
      env: [],
      dir: "",
      user: "",
      tty: false,
      stdin: true,
      size: undefined,
      privileged: false,
    };
    const input = (async function* (): AsyncGenerator<StreamFrame> {
      yield await Promise.resolve({ frame: { $case: "stdin" as const, value: Buffer.from("hello") } });
      yield { frame: { $case: "stdinClosed", value: {} } };
    })();
    const frames: StreamFrame[] = [];
    const reading = (async () => {
      const target = { nodeId: "n1", nodeName: "w1" };
      const open = { taskId: taskId("t1"), kind: { $case: "exec" as const, value: exec } };
      for await (const frame of broker().connect(target, { open, input }, new AbortController().signal))
        frames.push(frame);
    })();
    await clock.advance(1_000);
    await reading;
    assert.deepEqual(
      frames.map(({ frame }) => frame?.$case),
      ["started", "stdout", "exit"],
    );
  });
});
