// A whole manager on a disk in memory and a clock that the test moves: a cluster begins, a service becomes tasks on a node that
// registered, and all of it is there after a restart.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { newKeyAndRequest } from "../../../agent/identity-request.ts";
import { Manager } from "../../../manager/index.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { type AssignmentsMessage, DispatcherService } from "../../../proto/gen/dispatcher.ts";
import { NodeDescription, NodeStatus_State, TaskStatus } from "../../../proto/gen/objects.ts";
import { NodeRole, NodeSpec_Availability } from "../../../proto/gen/specs.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import type { Handlers, Service } from "../../../proto/rpc/methods.ts";
import { webSpec } from "../../support/cluster-state.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { SimDisk } from "../../support/sim-disk.ts";

const LOCAL: CallContext = { caller: { kind: "local" }, signal: new AbortController().signal };
const never = new AbortController().signal;

interface Machine {
  readonly disk: SimDisk;
  readonly clock: ManualClock;
}

function open({ disk, clock }: Machine): Promise<Manager> {
  const random = seededRandom(disk.calls + 5);
  const options = { stateDir: "/state", disk, clock, random, logger: silentLogger };
  return Manager.open({ ...options, strict: true, segmentBytes: 65_536 }, never);
}

async function init(manager: Manager): Promise<Awaited<ReturnType<Manager["bootstrap"]>>> {
  const { csrPem } = await newKeyAndRequest();
  return manager.bootstrap({
    nodeId: "m".repeat(25),
    spec: undefined,
    advertiseAddr: "10.0.0.1:2377",
    availability: NodeSpec_Availability.ACTIVE,
    csrPem,
  });
}

/** Runs the manager while `body` does. */
async function whileRunning(manager: Manager, body: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const running = manager.run(stop.signal);
  try {
    await body();
  } finally {
    stop.abort(new SwarmError("Cancelled", "the test is over"));
    await running;
  }
}

function handlersOf<S extends Service>(manager: Manager, service: S): Handlers<S> {
  let found: unknown;
  manager.register({
    add: (each, handlers) => {
      if ((each as unknown) === service) found = handlers;
    },
  });
  assert.ok(found !== undefined);
  return found as Handlers<S>;
}

test("init makes a cluster with one manager and a certificate that says so", async () => {
  const machine = { disk: new SimDisk(), clock: new ManualClock(Date.parse("2026-01-01")) };
  const manager = await open(machine);
  assert.equal(manager.clusterId, undefined);
  const made = await init(manager);
  assert.equal(manager.clusterId, made.clusterId);
  const { subject } = new X509Certificate(made.certificatePem);
  assert.deepEqual(subject.split("\n").sort(), [`CN=${made.nodeId}`, `O=${made.clusterId}`, "OU=swarm-manager"]);
  const { nodes } = await manager.control.listNodes({ filters: [] }, LOCAL);
  assert.deepEqual(
    nodes.map((node) => [node.id, node.role, node.managerStatus?.addr, node.managerStatus?.leader]),
    [[made.nodeId, NodeRole.MANAGER, "10.0.0.1:2377", true]],
  );
  const cluster = await manager.control.getCluster({}, LOCAL);
  assert.equal(cluster.rootCa?.joinTokenWorker, made.joinTokenWorker);
  assert.match(made.joinTokenWorker, /^SWMTKN-1-/);
  await assert.rejects(init(manager), { code: "FailedPrecondition", message: /holds a cluster already/ });
  await manager.close();
});

test("a service becomes tasks on the node that registered, and runs when its agent says so", async () => {
  const machine = { disk: new SimDisk(), clock: new ManualClock() };
  const manager = await open(machine);
  const { nodeId, clusterId } = await init(manager);
  const agent: CallContext = {
    caller: { kind: "node", nodeId, role: "manager", clusterId, addr: "10.0.0.1:50000" },
    signal: never,
  };
  const dispatcher = handlersOf(manager, DispatcherService);
  assert.equal(handlersOf(manager, ControlService), manager.control);
  await whileRunning(manager, async () => {
    const description = {
      ...NodeDescription.create(),
      hostname: "m1",
      platform: { architecture: "amd64", os: "linux" },
      resources: { nanoCpus: 4e9, memoryBytes: 2 ** 32, pids: 0 },
    };
    const session = dispatcher.session({ description, sessionId: "" }, agent)[Symbol.asyncIterator]();
    const first = await session.next();
    assert.ok(first.done !== true);
    const { sessionId, managers } = first.value as { sessionId: string; managers: readonly string[] };
    assert.deepEqual(managers, ["10.0.0.1:2377"]);
    const assignments = dispatcher.assignments({ sessionId }, agent)[Symbol.asyncIterator]();
    const take = async (): Promise<AssignmentsMessage> => {
      const next = await assignments.next();
      assert.ok(next.done !== true);
      return next.value;
    };
    assert.deepEqual((await take()).changes, []);
    await manager.control.createService({ spec: webSpec() }, LOCAL);
    const tasks = new Set<string>();
    while (tasks.size < 3) for (const { item } of (await take()).changes) tasks.add(item?.value.id ?? "");
    const updates = [...tasks].map((taskId) => ({
      taskId,
      status: { ...TaskStatus.create(), state: TaskState.RUNNING },
    }));
    await dispatcher.updateTaskStatus({ sessionId, updates }, agent);
    const { services } = await manager.control.listServices({ filters: [] }, LOCAL);
    assert.deepEqual(
      services.map((each) => [each.service?.spec?.name, each.runningTasks, each.desiredTasks]),
      [["web", 3, 3]],
    );
  });
  await manager.close();
});

test("what was acknowledged is there after the power is cut", async () => {
  const machine = { disk: new SimDisk(), clock: new ManualClock() };
  const before = await open(machine);
  const { clusterId, nodeId } = await init(before);
  const { service } = await before.control.createService({ spec: webSpec() }, LOCAL);
  machine.disk.restart("lose", seededRandom(1));
  const after = await open(machine);
  assert.equal(after.clusterId, clusterId);
  assert.equal((await after.control.getService({ ref: "web" }, LOCAL)).id, service?.id);
  await after.announce({ nodeId, addr: "10.0.0.9:2377" });
  assert.equal((await after.control.getNode({ ref: nodeId }, LOCAL)).managerStatus?.addr, "10.0.0.9:2377");
  await whileRunning(after, async () => {
    await machine.clock.advance(60_000);
    const node = await after.control.getNode({ ref: nodeId }, LOCAL);
    assert.equal(node.status?.state, NodeStatus_State.DOWN);
  });
  await after.close();
  await assert.rejects(after.control.removeService({ ref: "web" }, LOCAL), { code: "Unavailable" });
});

test("a manager whose disk fails stops and says so", async () => {
  const machine = { disk: new SimDisk(), clock: new ManualClock() };
  const manager = await open(machine);
  await init(manager);
  const running = manager.run(never);
  const failed = assert.rejects(running, { code: "Unavailable" });
  machine.disk.arm({ call: 1, kind: "EIO", only: "sync", forever: true });
  await assert.rejects(manager.control.createService({ spec: webSpec() }, LOCAL), { code: "Internal" });
  await failed;
  await manager.close().catch(() => undefined);
});
