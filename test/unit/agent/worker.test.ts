// The tasks of a node: sets of assignments, and what a restarted agent makes of its journal and of what runs.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Journal } from "../../../agent/journal.ts";
import { Reporter } from "../../../agent/reporter.ts";
import { Worker } from "../../../agent/worker.ts";
import { SwarmError, isSwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import type { WholeTask } from "../../../proto/model/objects.ts";
import { TaskState, taskStateName } from "../../../proto/model/task-state.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeExecutor, FakeMachine } from "../../support/fake-executor.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { makeTask, taskId } from "../../support/tasks.ts";

interface Node {
  readonly machine: FakeMachine;
  readonly worker: () => Worker;
  readonly clock: ManualClock;
  /** Waits until the worker's states are these, by task name; fails after a bound. */
  readonly reach: (states: Readonly<Record<string, string>>) => Promise<void>;
  /** The agent stops and a new one starts over what is on disk and on the machine. */
  readonly restart: (meanwhile?: () => void) => Promise<void>;
}

async function withNode(body: (node: Node) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-worker-"));
  const machine = new FakeMachine();
  const clock = new ManualClock();
  let worker: Worker;
  let abort = new AbortController();
  const begin = async (): Promise<void> => {
    abort = new AbortController();
    const journal = new Journal({ dir: join(dir, "journal"), logger: silentLogger });
    const reporter = new Reporter({ clock });
    const executor = new FakeExecutor(machine);
    worker = new Worker({ executor, journal, reporter, clock, random: seededRandom(1), logger: silentLogger });
    await worker.start(abort.signal);
  };
  const end = async (): Promise<void> => {
    abort.abort(new SwarmError("Cancelled", "the agent stops"));
    await worker.join();
  };
  const states = (): Record<string, string> =>
    Object.fromEntries(worker.tasks().map((task) => [task.id.replace(/^0+/, ""), taskStateName(task.status.state)]));
  await begin();
  try {
    await body({
      machine,
      clock,
      worker: () => worker,
      reach: (wanted) =>
        eventually(
          () => JSON.stringify(sorted(states())) === JSON.stringify(sorted(wanted)),
          () => JSON.stringify({ states: states(), wanted }),
        ),
      restart: async (meanwhile) => {
        await end();
        meanwhile?.();
        await begin();
      },
    });
  } finally {
    await end();
    await rm(dir, { recursive: true, force: true });
  }
}

function sorted(record: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(record).sort(([a], [b]) => a.localeCompare(b));
}

const complete = (...updated: WholeTask[]): Parameters<Worker["assign"]>[0] => ({
  complete: true,
  updated,
  removed: [],
});

test("a complete set starts what is new and removes what is not in it", async () => {
  await withNode(async (node) => {
    await node.worker().assign(complete(makeTask("t1"), makeTask("t2")));
    await node.reach({ t1: "running", t2: "running" });
    await node.worker().assign(complete(makeTask("t2"), makeTask("t3")));
    await node.reach({ t2: "running", t3: "running" });
    assert.deepEqual([...node.machine.containers.keys()].sort(), [taskId("t2"), taskId("t3")]);
    assert.deepEqual(node.worker().counts(), { tasks: 2, running: 2, unreported: 2 });
  });
});

test("an incremental set leaves the others alone", async () => {
  await withNode(async (node) => {
    await node.worker().assign(complete(makeTask("t1"), makeTask("t2")));
    await node.reach({ t1: "running", t2: "running" });
    const updated = [makeTask("t2", { desired: TaskState.SHUTDOWN }), makeTask("t3")];
    await node.worker().assign({ complete: false, updated, removed: [] });
    await node.reach({ t1: "running", t2: "shutdown", t3: "running" });
    await node.worker().assign({ complete: false, updated: [], removed: [taskId("t2"), taskId("t9")] });
    await node.reach({ t1: "running", t3: "running" });
  });
});

test("a task that comes back while it is being removed begins anew after that", async () => {
  await withNode(async (node) => {
    await node.worker().assign(complete(makeTask("t1")));
    await node.reach({ t1: "running" });
    const { promise, resolve } = Promise.withResolvers<undefined>();
    node.machine.script("remove", taskId("t1"), promise.then());
    await node.worker().assign(complete());
    await node.worker().assign(complete(makeTask("t1")));
    resolve(undefined);
    const starts = (): number => node.machine.callsOf(taskId("t1")).filter((call) => call === "start").length;
    await eventually(() => starts() === 2);
    await node.reach({ t1: "running" });
  });
});

test("a restarted agent goes on with running containers before any manager answers", async () => {
  await withNode(async (node) => {
    await node.worker().assign(complete(makeTask("t1"), makeTask("t2"), makeTask("t3")));
    await node.reach({ t1: "running", t2: "running", t3: "running" });
    node.machine.calls.length = 0;
    await node.restart(() => {
      node.machine.exit(taskId("t2"), { code: 3 });
      node.machine.lose(taskId("t3"));
    });
    await node.reach({ t1: "running", t2: "failed", t3: "failed" });
    const errors = node
      .worker()
      .tasks()
      .map((task) => [task.id, task.status.error] as const);
    assert.deepEqual(new Map(errors).get(taskId("t2")), "task: non-zero exit (3)");
    assert.match(new Map(errors).get(taskId("t3")) ?? "", /the container was lost/);
    assert.equal(
      node.machine.calls.some((call) => call.startsWith("start") || call.startsWith("prepare")),
      false,
    );
    node.machine.exit(taskId("t1"), { code: 0 });
    await node.reach({ t1: "complete", t2: "failed", t3: "failed" });
    await node.restart();
    await node.reach({ t1: "complete", t2: "failed", t3: "failed" });
    assert.equal(node.worker().counts().unreported, 3);
  });
});

for (const step of ["prepare", "start", "shutdown"] as const) {
  test(`a restart in the middle of ${step} is caught up with`, async () => {
    await withNode(async (node) => {
      node.machine.script(step, taskId("t1"), new Promise<void>(() => undefined));
      await node.worker().assign(complete(makeTask("t1")));
      if (step === "shutdown") {
        await node.reach({ t1: "running" });
        await node.worker().assign(complete(makeTask("t1", { desired: TaskState.SHUTDOWN })));
      }
      await eventually(() => node.machine.callsOf(taskId("t1")).includes(step));
      await node.restart();
      await node.reach({ t1: step === "shutdown" ? "shutdown" : "running" });
    });
  });
}

test("a container whose journal is gone is swept away, and the manager's task fails as lost", async () => {
  await withNode(async (node) => {
    node.machine.make(taskId("t1"), "running");
    await node.restart();
    assert.equal(node.machine.containers.size, 0);
    await node.worker().assign(complete(makeTask("t1", { state: TaskState.RUNNING })));
    await node.reach({ t1: "failed" });
  });
});

test("leaving removes every task", async () => {
  await withNode(async (node) => {
    await node.worker().assign(complete(makeTask("t1"), makeTask("t2")));
    await node.reach({ t1: "running", t2: "running" });
    await node.worker().removeAll(AbortSignal.timeout(5_000));
    assert.equal(node.machine.containers.size, 0);
    await node.reach({});
  });
});

test("a stream of a task that is not here is refused", async () => {
  await withNode(async (node) => {
    await Promise.resolve();
    const open = { taskId: taskId("t1"), kind: undefined };
    const none = (async function* () {
      yield* await Promise.resolve([]);
    })();
    assert.throws(
      () => node.worker().stream(open, none, new AbortController().signal),
      (error) => isSwarmError(error, "NotFound"),
    );
  });
});
