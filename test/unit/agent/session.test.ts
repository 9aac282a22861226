// The agent with a manager that answers from queues: registering, beating, sequences, failures, streams.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Agent } from "../../../agent/agent.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { Node, NodeDescription } from "../../../proto/gen/objects.ts";
import type { StreamOpen } from "../../../proto/gen/streams.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeExecutor, FakeMachine } from "../../support/fake-executor.ts";
import { FakeManager } from "../../support/fake-manager.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { makeTask, taskId } from "../../support/tasks.ts";

interface World {
  readonly agent: Agent;
  readonly dir: string;
  readonly clock: ManualClock;
  readonly machine: FakeMachine;
  readonly executor: FakeExecutor;
  readonly managers: Readonly<Record<string, FakeManager>>;
  /** Addresses that were dialled, in order. */
  readonly dialled: string[];
  readonly manager: FakeManager;
}

async function withAgent(
  body: (world: World) => Promise<void>,
  addresses: readonly string[] = ["m1:2377"],
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "tsswarm-agent-"));
  const managers = Object.fromEntries(addresses.map((address) => [address, new FakeManager()]));
  const machine = new FakeMachine();
  const executor = new FakeExecutor(machine);
  const clock = new ManualClock();
  const dialled: string[] = [];
  const agent = new Agent({
    dir,
    managers: addresses,
    dial: (address) => {
      dialled.push(address);
      const manager = managers[address];
      assert.ok(manager !== undefined);
      return { client: manager.client, close: () => undefined };
    },
    executor,
    clock,
    random: seededRandom(7),
    logger: silentLogger,
  });
  const abort = new AbortController();
  const run = agent.run(abort.signal);
  try {
    const manager = managers[addresses[0] ?? ""];
    assert.ok(manager !== undefined);
    await body({ agent, dir, clock, machine, executor, managers, dialled, manager });
  } finally {
    abort.abort(new SwarmError("Cancelled", "the test is over"));
    await run;
    await rm(dir, { recursive: true, force: true });
  }
  assert.equal(clock.pending, 0);
}

const stateOf = (manager: FakeManager, name: string): TaskState | undefined =>
  manager.statuses.get(taskId(name))?.state;

test("an agent registers, beats at the manager's pace, takes tasks and says how they fare", async () => {
  await withAgent(async ({ agent, clock, manager }) => {
    await eventually(() => manager.beats.length === 1);
    assert.equal(manager.sessions[0]?.description?.hostname, "w1");
    assert.equal(manager.sessions[0].sessionId, "");
    await clock.advance(5_000);
    assert.deepEqual(manager.beats, ["s1", "s1"]);
    manager.assignAll(makeTask("t1"));
    manager.assign({ updated: [makeTask("t2")] });
    await eventually(() => agent.counts().running === 2);
    await clock.advance(200);
    assert.equal(stateOf(manager, "t1"), TaskState.RUNNING);
    assert.equal(stateOf(manager, "t2"), TaskState.RUNNING);
    manager.assign({ removed: [taskId("t1")] });
    await eventually(() => agent.counts().tasks === 1);
    assert.equal(agent.connection.kind, "connected");
  });
});

test("a gap in the sequence begins a new session, and the complete set puts it right", async () => {
  await withAgent(async ({ agent, clock, manager }) => {
    manager.assignAll(makeTask("t1"));
    await eventually(() => agent.counts().running === 1);
    manager.assign({ updated: [makeTask("t2")], skip: true });
    await eventually(() => agent.connection.kind === "connecting");
    assert.equal(agent.counts().tasks, 1);
    manager.drop();
    await clock.advance(1_000);
    await eventually(() => manager.sessions.length === 2);
    manager.assignAll(makeTask("t1"), makeTask("t2"));
    await eventually(() => agent.counts().running === 2);
  });
});

test("while the manager is away tasks go on, and it hears of everything when it is back", async () => {
  await withAgent(async ({ agent, clock, machine, manager }) => {
    manager.assignAll(makeTask("t1"), makeTask("t2"));
    await eventually(() => agent.counts().running === 2);
    await clock.advance(200);
    manager.down = new SwarmError("Unavailable", "Cannot connect to m1:2377");
    manager.drop();
    await eventually(() => agent.connection.kind === "connecting");
    machine.exit(taskId("t1"), { code: 1 });
    await clock.advance(60_000);
    assert.equal(agent.counts().running, 1);
    assert.deepEqual(agent.connection, { kind: "connecting", error: "Cannot connect to m1:2377" });
    const tries = manager.sessions.length;
    assert.ok(tries >= 8 && tries <= 30, `${tries} tries in a minute`);
    manager.down = undefined;
    manager.batches.length = 0;
    await clock.advance(8_000);
    await eventually(() => agent.connection.kind === "connected");
    await clock.advance(200);
    assert.equal(stateOf(manager, "t1"), TaskState.FAILED);
    assert.equal(stateOf(manager, "t2"), TaskState.RUNNING);
  });
});

test("an agent whose manager is gone goes to another", async () => {
  await withAgent(
    async ({ agent, clock, managers, dialled }) => {
      await eventually(() => agent.connection.kind === "connected");
      const first = dialled[0] ?? "";
      const manager = managers[first];
      assert.ok(manager !== undefined);
      manager.down = new SwarmError("Unavailable", "gone");
      manager.drop();
      await eventually(() => agent.connection.kind === "connecting");
      await clock.advance(8_000);
      await eventually(() => agent.connection.kind === "connected");
      assert.notEqual(dialled.at(-1), first);
    },
    ["m1:2377", "m2:2377"],
  );
});

test("an agent that is sent to the leader dials it at once", async () => {
  await withAgent(
    async ({ agent, clock, managers, dialled }) => {
      const leader = managers["m3:2377"];
      assert.ok(leader !== undefined);
      const all = ["m1:2377", "m2:2377", "m3:2377"];
      for (const address of ["m1:2377", "m2:2377"]) {
        const manager = managers[address];
        assert.ok(manager !== undefined);
        manager.redirect = { leaderAddr: "m3:2377", managers: all };
      }
      await eventually(() => leader.beats.length === 1);
      assert.deepEqual(agent.connection, { kind: "connected", manager: "m3:2377" });
      assert.deepEqual([...agent.managers].sort(), all);
      leader.down = new SwarmError("Unavailable", "gone");
      leader.drop();
      await eventually(() => agent.connection.kind === "connecting");
      const next = managers["m1:2377"];
      assert.ok(next !== undefined && managers["m2:2377"] !== undefined);
      next.redirect = undefined;
      managers["m2:2377"].redirect = { leaderAddr: "m1:2377", managers: all };
      await clock.advance(1_000);
      await eventually(() => next.beats.length > 0);
      assert.equal(dialled.at(-1), "m1:2377");
    },
    ["m1:2377", "m2:2377", "m3:2377"],
  );
});

test("an agent dials at once where it hears that a manager begins", async () => {
  await withAgent(async ({ agent, clock, dialled, manager }) => {
    await eventually(() => agent.connection.kind === "connected");
    manager.down = new SwarmError("Unavailable", "gone");
    manager.drop();
    await eventually(() => agent.connection.kind === "connecting");
    await clock.advance(60_000);
    const before = dialled.length;
    manager.down = undefined;
    agent.dialNext("m1:2377");
    await eventually(() => agent.connection.kind === "connected");
    assert.equal(dialled.length, before + 1);
  });
});

test("managers that send an agent to each other are asked at the pace of failures", async () => {
  await withAgent(
    async ({ clock, managers, dialled }) => {
      const [one, two] = [managers["m1:2377"], managers["m2:2377"]];
      assert.ok(one !== undefined && two !== undefined);
      one.redirect = { leaderAddr: "m2:2377", managers: [] };
      two.redirect = { leaderAddr: "m1:2377", managers: [] };
      await eventually(() => dialled.length === 4);
      await clock.advance(60_000);
      assert.ok(dialled.length >= 8 && dialled.length <= 120, `${dialled.length} dials in a minute`);
      one.redirect = undefined;
      await clock.advance(8_000);
      await eventually(() => one.beats.length > 0);
    },
    ["m1:2377", "m2:2377"],
  );
});

test("a status that a manager refuses ends the session and is brought by the next one", async () => {
  await withAgent(async ({ agent, clock, manager }) => {
    manager.refuseStatuses = new SwarmError("Unavailable", "no leader");
    manager.assignAll(makeTask("t1"));
    await eventually(() => agent.connection.kind === "connecting" && agent.connection.error === "no leader");
    manager.refuseStatuses = undefined;
    manager.drop();
    await clock.advance(1_000);
    await eventually(() => stateOf(manager, "t1") === TaskState.RUNNING);
  });
});

test("a machine that changed is described anew under the same session", async () => {
  await withAgent(async ({ clock, executor, manager }) => {
    await eventually(() => manager.beats.length > 0);
    await clock.advance(40_000);
    assert.equal(manager.sessions.length, 1);
    executor.description = NodeDescription.create({ hostname: "w1", kernelVersion: "6.2" });
    await clock.advance(20_000);
    await eventually(() => manager.sessions.length === 2);
    assert.equal(manager.sessions[1]?.sessionId, "s1");
    assert.equal(manager.sessions[1].description?.kernelVersion, "6.2");
  });
});

test("the list of managers and the node's own object are taken over, and the list is kept on disk", async () => {
  await withAgent(async ({ agent, dir, manager }) => {
    await eventually(() => agent.connection.kind === "connected");
    manager.say({ managers: ["m1:2377", "m2:2377"], node: Node.create({ id: "n1" }) });
    await eventually(() => agent.node?.id === "n1");
    await eventually(() => agent.managers.length === 2);
    manager.say({ managers: [] });
    manager.say({ managers: ["m1:2377", "m2:2377", "m3:2377"] });
    await eventually(() => agent.managers.length === 3);
    await eventually(() => agent.connection.kind === "connected");
    const kept = JSON.parse(await readFile(join(dir, "managers.json"), "utf8")) as unknown;
    assert.ok(typeof kept === "object" && kept !== null && "managers" in kept);
  });
});

const exec = (name: string): StreamOpen => ({
  taskId: taskId(name),
  kind: {
    $case: "exec",
    value: { args: ["cat"], env: [], dir: "", user: "", tty: false, stdin: true, size: undefined, privileged: false },
  },
});

test("a stream that is asked for is opened once and joined to its task", async () => {
  await withAgent(async ({ agent, manager }) => {
    manager.assignAll(makeTask("t1"));
    await eventually(() => agent.counts().running === 1);
    manager.say({ streams: [{ streamId: "x1", open: exec("t1") }] });
    manager.say({ streams: [{ streamId: "x1", open: exec("t1") }] });
    const live = new AbortController().signal;
    await manager.input.put({ frame: { $case: "stdin", value: Buffer.from("hello") } }, live);
    await manager.input.put({ frame: { $case: "stdinClosed", value: {} } }, live);
    await eventually(() => manager.frames.get("x1")?.at(-1)?.frame?.$case === "exit");
    assert.deepEqual(
      manager.frames.get("x1")?.map(({ frame }) => frame?.$case),
      ["accept", "started", "stdout", "exit"],
    );
  });
});

test("a stream of a task that is not here ends with an error that says so", async () => {
  await withAgent(async ({ agent, manager }) => {
    await eventually(() => agent.connection.kind === "connected");
    manager.say({ streams: [{ streamId: "x2", open: exec("t9") }] });
    await eventually(() => manager.frames.get("x2")?.length === 2);
    const last = manager.frames.get("x2")?.at(-1)?.frame;
    assert.ok(last?.$case === "error");
    assert.equal(last.value.code, "NotFound");
    assert.match(last.value.message, /is not on this node/);
  });
});

test("leaving stops and removes every task and begins no session any more", async () => {
  await withAgent(async ({ agent, clock, machine, manager }) => {
    manager.assignAll(makeTask("t1"), makeTask("t2"));
    await eventually(() => agent.counts().running === 2);
    await agent.leave(AbortSignal.timeout(5_000));
    assert.equal(machine.containers.size, 0);
    await clock.advance(60_000);
    assert.equal(manager.sessions.length, 1);
  });
});
