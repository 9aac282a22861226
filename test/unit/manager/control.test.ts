// The cluster's API over a store in memory: names and references, versions, filters, secrets, what may not be removed.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterControl } from "../../../manager/control/cluster-control.ts";
import { createControl } from "../../../manager/control/create-control.ts";
import type { MemberFacts } from "../../../manager/control/members.ts";
import type { Store } from "../../../manager/store/store.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { StoreChange_Action, type WatchMessage } from "../../../proto/gen/control.ts";
import { ManagerStatus_Reachability, type Node, NodeStatus_State } from "../../../proto/gen/objects.ts";
import {
  NodeRole,
  NodeSpec,
  NodeSpec_Availability,
  PortConfig,
  PortConfig_PublishMode,
} from "../../../proto/gen/specs.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";
import { addCluster, addNode, addService, addTask, memoryStore, webSpec } from "../../support/cluster-state.ts";

const LOCAL: CallContext = { caller: { kind: "local" }, signal: new AbortController().signal };
const WORKER: CallContext = {
  ...LOCAL,
  caller: { kind: "node", nodeId: "n1", role: "worker", clusterId: "c1", addr: "10.0.0.2:1" },
};

async function set(
  members: readonly MemberFacts[] = [],
): Promise<{ readonly store: Store; readonly control: ClusterControl }> {
  const clock = new ManualClock();
  const store = memoryStore(clock);
  await addCluster(store);
  const control = createControl({
    store,
    clock,
    random: seededRandom(3),
    members: () => members,
    playOut: () => Promise.resolve([]),
    rotateTokens: (rootCa, roles) => (roles.includes("worker") ? { ...rootCa, joinTokenWorker: "fresh" } : rootCa),
    streams: { connect: () => assert.fail("no stream is wanted here") },
  });
  return { store, control };
}

function refusal(code: string, message: string | RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SwarmError, String(error));
    assert.equal(error.code, code);
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    return true;
  };
}

const list = (key: string, ...values: string[]): { filters: { key: string; values: string[] }[] } => ({
  filters: [{ key, values }],
});

test("a service is created once per name and found by name, id and part of an id", async () => {
  const { control } = await set();
  const { service } = await control.createService({ spec: webSpec() }, LOCAL);
  assert.ok(service?.meta !== undefined && service.meta.version > 0);
  assert.equal(service.specVersion, 1);
  for (const ref of [service.id, service.id.slice(0, 6), "web"])
    assert.equal((await control.getService({ ref }, LOCAL)).id, service.id);
  await assert.rejects(
    control.createService({ spec: webSpec() }, LOCAL),
    refusal("AlreadyExists", "name conflicts with an existing object: service web already exists"),
  );
  await assert.rejects(control.getService({ ref: "foo" }, LOCAL), refusal("NotFound", "service foo not found"));
});

test("two creations of one name at the same time give one service", async () => {
  const { control } = await set();
  const results = await Promise.allSettled([
    control.createService({ spec: webSpec() }, LOCAL),
    control.createService({ spec: webSpec() }, LOCAL),
  ]);
  assert.deepEqual(results.map((result) => result.status).sort(), ["fulfilled", "rejected"]);
});

test("a part of an id that several objects share is ambiguous", async () => {
  const { store, control } = await set();
  await addService(store, "ab1", { spec: { ...webSpec(), name: "a" } });
  await addService(store, "ab2", { spec: { ...webSpec(), name: "b" } });
  await assert.rejects(
    control.getService({ ref: "ab" }, LOCAL),
    refusal("InvalidArgument", "service ab is ambiguous (2 matches found)"),
  );
});

test("an update needs the version it was made from, keeps the name, and raises spec_version only for what tasks are made of", async () => {
  const { control } = await set();
  const { service } = await control.createService({ spec: webSpec() }, LOCAL);
  assert.ok(service?.meta !== undefined);
  const { id } = service;
  const version = service.meta.version;
  const scaled = { ...webSpec(), mode: { $case: "replicated", value: { replicas: 5 } } } as const;
  await assert.rejects(
    control.updateService({ id, version: version - 1, spec: scaled }, LOCAL),
    refusal("OutOfSequence", "update out of sequence"),
  );
  const first = await control.updateService({ id, version, spec: scaled }, LOCAL);
  assert.equal(first.service?.specVersion, 1);
  assert.deepEqual(first.service.previousSpec, webSpec());
  const newer = first.service.meta?.version ?? 0;
  assert.ok(newer > version);
  const second = await control.updateService({ id, version: newer, spec: webSpec({ image: "web:2" }) }, LOCAL);
  assert.equal(second.service?.specVersion, 2);
  const port = { ...PortConfig.create(), targetPort: 80, publishMode: PortConfig_PublishMode.HOST };
  const third = await control.updateService(
    {
      id,
      version: second.service.meta?.version ?? 0,
      spec: { ...webSpec({ image: "web:2" }), endpoint: { ports: [port] } },
    },
    LOCAL,
  );
  assert.equal(third.service?.specVersion, 3);
  await assert.rejects(
    control.updateService(
      { id, version: third.service.meta?.version ?? 0, spec: { ...webSpec(), name: "other" } },
      LOCAL,
    ),
    refusal("InvalidArgument", /renaming services is not supported/),
  );
});

test("of two updates from one version only one is made", async () => {
  const { control } = await set();
  const { service } = await control.createService({ spec: webSpec() }, LOCAL);
  const request = { id: service?.id ?? "", version: service?.meta?.version ?? 0 };
  const results = await Promise.allSettled(
    ["web:2", "web:3"].map((image) => control.updateService({ ...request, spec: webSpec({ image }) }, LOCAL)),
  );
  assert.deepEqual(
    results.map((result) => result.status),
    ["fulfilled", "rejected"],
  );
  assert.equal((await control.getService({ ref: "web" }, LOCAL)).spec?.task?.container?.image, "web:2");
});

test("a template whose maps are only in another order is the same template", async () => {
  const { control } = await set();
  const { service } = await control.createService({ spec: webSpec({ labels: { a: "1", b: "2" } }) }, LOCAL);
  const updated = await control.updateService(
    { id: "web", version: service?.meta?.version ?? 0, spec: webSpec({ labels: { b: "2", a: "1" } }) },
    LOCAL,
  );
  assert.equal(updated.service?.specVersion, 1);
});

test("a removed service is gone for people at once and its name is free", async () => {
  const { store, control } = await set();
  const { service } = await control.createService({ spec: webSpec() }, LOCAL);
  const { id } = await control.removeService({ ref: "web" }, LOCAL);
  assert.equal(id, service?.id);
  assert.equal(store.view().services.get(id)?.pendingDelete, true);
  await assert.rejects(control.getService({ ref: "web" }, LOCAL), refusal("NotFound", "service web not found"));
  assert.deepEqual((await control.listServices({ filters: [] }, LOCAL)).services, []);
  await control.createService({ spec: webSpec() }, LOCAL);
});

test("a list counts what runs and is wanted, on nodes that are there", async () => {
  const { store, control } = await set();
  await addNode(store, "n1");
  await addNode(store, "n2", { status: { state: NodeStatus_State.DOWN, message: "", addr: "" } });
  await addService(store, "s1");
  await addTask(store, "t1");
  await addTask(store, "t2", { slot: 2, state: TaskState.STARTING });
  await addTask(store, "t3", { slot: 3, nodeId: "n2" });
  await addTask(store, "t4", { slot: 1, desiredState: TaskState.SHUTDOWN });
  const { services } = await control.listServices({ filters: [] }, LOCAL);
  assert.deepEqual(
    services.map((each) => [each.runningTasks, each.desiredTasks]),
    [[1, 3]],
  );
});

test("filters are Docker's, and an unknown one is refused with those there are", async () => {
  const { store, control } = await set();
  await addNode(store, "n1", { spec: { ...NodeSpec.create(), labels: { zone: "a" }, role: NodeRole.MANAGER } });
  await addNode(store, "n2");
  await addService(store, "s1");
  await addTask(store, "t1");
  await addTask(store, "t2", { slot: 2, nodeId: "n2", desiredState: TaskState.SHUTDOWN });
  const nodes = async (...filter: [string, ...string[]]): Promise<string[]> =>
    (await control.listNodes(list(...filter), LOCAL)).nodes.map((node) => node.id);
  const tasks = async (...filter: [string, ...string[]]): Promise<string[]> =>
    (await control.listTasks(list(...filter), LOCAL)).tasks.map((task) => task.id);
  assert.deepEqual(await nodes("role", "manager"), ["n1"]);
  assert.deepEqual(await nodes("name", "host-n2", "host-n9"), ["n2"]);
  assert.deepEqual(await nodes("node.label", "zone=a"), ["n1"]);
  assert.deepEqual(await nodes("node.label", "zone=b"), []);
  assert.deepEqual(await tasks("node", "host-n2"), ["t2"]);
  assert.deepEqual(await tasks("desired-state", "running"), ["t1"]);
  assert.deepEqual(await tasks("service", "web"), ["t1", "t2"]);
  assert.deepEqual(await tasks("name", "web.2"), ["t2"]);
  await assert.rejects(
    control.listServices(list("colour", "red"), LOCAL),
    refusal("InvalidArgument", "invalid filter 'colour': the filters here are id, label, mode, name"),
  );
  await assert.rejects(control.listNodes(list("role", "boss"), LOCAL), refusal("InvalidArgument", /manager, worker/));
  await assert.rejects(control.listNodes(list("__proto__", "x"), LOCAL), refusal("InvalidArgument", /invalid filter/));
});

test("a slot's name means the task that runs in it", async () => {
  const { store, control } = await set();
  await addTask(store, "old", { state: TaskState.FAILED, desiredState: TaskState.SHUTDOWN });
  await addTask(store, "current");
  await addTask(store, "next", { state: TaskState.READY, desiredState: TaskState.READY });
  assert.equal((await control.getTask({ ref: "web.1" }, LOCAL)).id, "current");
  assert.equal((await control.getTask({ ref: "web.1.old" }, LOCAL)).id, "old");
  assert.equal((await control.getTask({ ref: "ne" }, LOCAL)).id, "next");
  await assert.rejects(control.getTask({ ref: "web.2" }, LOCAL), refusal("NotFound", "task web.2 not found"));
});

test("a node is updated, and is removed only when down or by force", async () => {
  const { store, control } = await set();
  await addNode(store, "n1");
  const node = await control.getNode({ ref: "host-n1" }, LOCAL);
  const drained = { ...NodeSpec.create(), availability: NodeSpec_Availability.DRAIN };
  const updated = await control.updateNode({ id: "n1", version: node.meta?.version ?? 0, spec: drained }, LOCAL);
  assert.equal(updated.spec?.availability, NodeSpec_Availability.DRAIN);
  await assert.rejects(
    control.updateNode({ id: "n1", version: node.meta?.version ?? 0, spec: drained }, LOCAL),
    refusal("OutOfSequence", "update out of sequence"),
  );
  await assert.rejects(
    control.removeNode({ ref: "host-n1", force: false }, LOCAL),
    refusal("FailedPrecondition", "node host-n1 is not down and can't be removed"),
  );
  assert.deepEqual(await control.removeNode({ ref: "host-n1", force: true }, LOCAL), { id: "n1" });
  await assert.rejects(control.getNode({ ref: "n1" }, LOCAL), refusal("NotFound", "node n1 not found"));
});

const MANAGER = { ...NodeSpec.create(), role: NodeRole.MANAGER };

function member(nodeId: string, change: Partial<MemberFacts> = {}): MemberFacts {
  return { nodeId, addr: `${nodeId}:2377`, isLeader: false, isReachable: true, isLearner: false, ...change };
}

async function demote(control: ClusterControl, id: string): Promise<Node> {
  const { meta, spec } = await control.getNode({ ref: id }, LOCAL);
  const worker = { ...(spec ?? NodeSpec.create()), role: NodeRole.WORKER };
  return control.updateNode({ id, version: meta?.version ?? 0, spec: worker }, LOCAL);
}

test("a member of the group of managers is not removed, force or not, and the last manager not demoted", async () => {
  const { store, control } = await set([member("m1")]);
  await addNode(store, "m1", { spec: MANAGER, status: { state: NodeStatus_State.DOWN, message: "", addr: "" } });
  await assert.rejects(
    control.removeNode({ ref: "m1", force: true }, LOCAL),
    refusal(
      "FailedPrecondition",
      "node m1 is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal",
    ),
  );
  await assert.rejects(
    demote(control, "m1"),
    refusal("FailedPrecondition", "attempting to demote the last manager of the swarm"),
  );
});

test("a node is promoted and demoted, but never where the managers that stay would have no quorum", async () => {
  const members = [member("m1", { isLeader: true }), member("m2"), member("m3", { isReachable: false })];
  const { store, control } = await set(members);
  for (const { nodeId } of members) await addNode(store, nodeId, { spec: MANAGER });
  await assert.rejects(demote(control, "m2"), refusal("FailedPrecondition", /this would result in a loss of quorum/));
  assert.equal((await demote(control, "m3")).spec?.role, NodeRole.WORKER);
  assert.equal((await demote(control, "m2")).spec?.role, NodeRole.WORKER);
  await assert.rejects(demote(control, "m1"), refusal("FailedPrecondition", /last manager/));
  const { meta, spec } = await control.getNode({ ref: "m2" }, LOCAL);
  assert.ok(spec);
  const back = await control.updateNode({ id: "m2", version: meta?.version ?? 0, spec: MANAGER }, LOCAL);
  assert.equal(back.spec?.role, NodeRole.MANAGER);
});

test("nodes are shown with the leader and the reachability of this moment", async () => {
  const { store, control } = await set([
    member("m1", { isLeader: true }),
    member("m2", { isReachable: false }),
    member("m3", { isLearner: true }),
  ]);
  const lost = { addr: "m4:2377", leader: true, reachability: ManagerStatus_Reachability.REACHABLE };
  for (const id of ["m1", "m2", "m3"]) await addNode(store, id, { spec: MANAGER });
  await addNode(store, "m4", { spec: MANAGER, managerStatus: lost });
  await addNode(store, "n1");
  const { nodes } = await control.listNodes({ filters: [] }, LOCAL);
  const { REACHABLE, UNREACHABLE } = ManagerStatus_Reachability;
  assert.deepEqual(
    nodes.map(({ id, managerStatus }) => [id, managerStatus]),
    [
      ["m1", { addr: "m1:2377", leader: true, reachability: REACHABLE }],
      ["m2", { addr: "m2:2377", leader: false, reachability: UNREACHABLE }],
      ["m3", undefined],
      ["m4", { addr: "m4:2377", leader: false, reachability: UNREACHABLE }],
      ["n1", undefined],
    ],
  );
  assert.deepEqual((await control.getNode({ ref: "m2" }, LOCAL)).managerStatus, nodes[1]?.managerStatus);
});

test("the CA's key never leaves, and join tokens only to those who may let nodes in", async () => {
  const { control } = await set();
  const cluster = await control.getCluster({}, LOCAL);
  assert.equal(cluster.rootCa?.caKeyPem.length, 0);
  assert.equal(cluster.rootCa.joinTokenWorker, "worker-token");
  const seen = await control.getCluster({}, WORKER);
  assert.deepEqual([seen.rootCa?.joinTokenWorker, seen.rootCa?.joinTokenManager], ["", ""]);
  assert.equal(seen.rootCa?.caKeyPem.length, 0);
});

test("a rotated token is a new one and the other stays", async () => {
  const { store, control } = await set();
  const { meta } = await control.getCluster({}, LOCAL);
  const request = { version: meta?.version ?? 0, spec: undefined, rotateManagerToken: false };
  const rotated = await control.updateCluster({ ...request, rotateWorkerToken: true }, LOCAL);
  assert.equal(rotated.rootCa?.joinTokenWorker, "fresh");
  assert.equal(rotated.rootCa.joinTokenManager, "manager-token");
  assert.equal(rotated.rootCa.caKeyPem.length, 0);
  assert.equal(Buffer.from([...store.view().clusters.all()][0]?.rootCa.caKeyPem ?? []).toString(), "key");
  await assert.rejects(
    control.updateCluster({ ...request, rotateWorkerToken: true }, LOCAL),
    refusal("OutOfSequence", "update out of sequence"),
  );
});

test("a watcher gets the present, then what is committed, of what it wants", async () => {
  const { store, control } = await set();
  await addService(store, "s1");
  await addTask(store, "t1");
  await addTask(store, "other", { serviceId: "s2" });
  const stop = new AbortController();
  const request = { kinds: ["service", "task"], serviceId: "s1", includePresent: true };
  const messages = control.watch(request, { ...LOCAL, signal: stop.signal })[Symbol.asyncIterator]();
  const next = async (): Promise<WatchMessage> => {
    const result = await messages.next();
    assert.ok(result.done !== true);
    return result.value;
  };
  const ids = (message: WatchMessage): unknown[] =>
    message.changes.map((change) => [change.action, change.object?.value.id]);
  assert.deepEqual(ids(await next()), [
    [StoreChange_Action.CREATE, "s1"],
    [StoreChange_Action.CREATE, "t1"],
  ]);
  assert.deepEqual(ids(await next()), []);
  await addNode(store, "n1");
  await addTask(store, "other2", { serviceId: "s2" });
  await addTask(store, "t2");
  await store.update((tx) => tx.tasks.remove("t1"));
  assert.deepEqual(ids(await next()), [[StoreChange_Action.CREATE, "t2"]]);
  assert.deepEqual(ids(await next()), [[StoreChange_Action.REMOVE, "t1"]]);
  const last = messages.next();
  stop.abort(new SwarmError("Cancelled", "enough"));
  await assert.rejects(last, refusal("Cancelled", "enough"));
});

test("a watcher that wants an unknown kind is told the kinds", async () => {
  const { control } = await set();
  const request = { kinds: ["pod"], serviceId: "", includePresent: false };
  const messages = control.watch(request, LOCAL)[Symbol.asyncIterator]();
  await assert.rejects(messages.next(), refusal("InvalidArgument", /one of cluster, node, service, task/));
});

test("a watcher that falls too far behind is cut off and nobody waits for it", async () => {
  const { store, control } = await set();
  const watched = control.watch({ kinds: [], serviceId: "", includePresent: true }, LOCAL)[Symbol.asyncIterator]();
  await watched.next();
  await addTask(store, "t1");
  const writes = 20_100;
  for (let count = 0; count < writes; count += 100) {
    await store.update((tx) => {
      for (let each = 0; each < 100; each += 1) {
        const id = `t${count + each}x`;
        const task = tx.tasks.get("t1");
        if (task !== undefined) tx.tasks.create({ ...task, id });
      }
    });
  }
  await settled();
  let error: unknown;
  try {
    for (let next = await watched.next(); next.done !== true; next = await watched.next());
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(refusal("ResourceExhausted", /list and watch again/)(error));
});
