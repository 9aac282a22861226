// Calls passed on to the leader: made again where they certainly changed nothing, reported where they may have, and never passed on
// twice.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { GroupLog } from "../../../manager/group-log.ts";
import { leaderDoor } from "../../../manager/leader-door.ts";
import { Leadership } from "../../../manager/leadership.ts";
import { noLeader } from "../../../manager/no-leader.ts";
import { type ManagerLink, Peers } from "../../../manager/peers.ts";
import { raftHandlers } from "../../../manager/replication/grpc/raft-handlers.ts";
import type { TransportReceiver } from "../../../manager/replication/transport.ts";
import { Store } from "../../../manager/store/store.ts";
import { SwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import { NodeCaService } from "../../../proto/gen/ca.ts";
import type { RaftFrame } from "../../../proto/gen/raft.ts";
import { NodeRole } from "../../../proto/gen/specs.ts";
import { webSpec } from "../../support/cluster-state.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { LOCAL, ManagerGroup, never } from "../../support/manager-group.ts";

test("a write whose answer was lost is reported as one that may have been made, and a read is made again", async () => {
  const group = await ManagerGroup.of(3, { seed: 21 });
  const { control } = group.managerOf("m2");
  const write = control.createService({ spec: webSpec() }, LOCAL);
  const read = control.listServices({ filters: [] }, LOCAL);
  const outcome = assert.rejects(write, { code: "Internal", message: /may or may not have been made/ });
  await group.clock.advance(1);
  group.cutOff(group.machine("m1"));
  await group.settle(outcome);
  const { services } = await group.settle(read);
  assert.ok(services.length <= 1);
  group.heal();
  const later = await group.settle(control.listServices({ filters: [] }, LOCAL));
  assert.ok(later.services.length >= services.length);
  await group.close();
});

test("a call that one manager passed on is not passed on again", async () => {
  const group = await ManagerGroup.of(3, { seed: 22 });
  const follower = group.handlers(group.machine("m3"), ControlService);
  const forwarded = { ...LOCAL, forwardedBy: group.machine("m2").nodeId };
  await assert.rejects(group.settle(follower.listServices({ filters: [] }, forwarded)), { code: "NotLeader" });
  const leader = group.handlers(group.machine("m1"), ControlService);
  assert.deepEqual((await group.settle(leader.listServices({ filters: [] }, forwarded))).services, []);
  await group.close();
});

test("the leader answers for the caller, not for the manager that passed the call on", async () => {
  const group = await ManagerGroup.of(3, { seed: 23 });
  const ca = group.handlers(group.machine("m2"), NodeCaService);
  const nobody = { caller: { kind: "anonymous", addr: "10.0.0.99:1" } as const, signal: never };
  const request = { csrPem: Buffer.from("none"), token: "", availability: 0 as const };
  await assert.rejects(group.settle(ca.issueNodeCertificate(request, nobody)), { code: "Unauthenticated" });
  const { certificatePem } = await group.settle(ca.getRootCaCertificate({}, nobody));
  assert.match(Buffer.from(certificatePem).toString(), /BEGIN CERTIFICATE/);
  await group.close();
});

test("a node that is no manager any more neither commands nor speaks for others, whatever its certificate says", async () => {
  const group = await ManagerGroup.of(2, { seed: 24 });
  const { nodeId } = group.machine("m2");
  const removed = group.managerOf("m2").removed;
  await group.setRole(group.leader(), { nodeId, role: NodeRole.WORKER });
  await group.until("it is out", () => removed.aborted);
  await group.clock.advance(1_000);
  const control = group.handlers(group.machine("m1"), ControlService);
  const ca = group.handlers(group.machine("m1"), NodeCaService);
  const refused = { code: "PermissionDenied", message: /is not, or is no longer, a manager/ };
  const list = { filters: [] };
  await assert.rejects(group.settle(control.listServices(list, group.asNode({ nodeId, addr: "x:1" }))), refused);
  await assert.rejects(group.settle(control.listServices(list, { ...LOCAL, forwardedBy: nodeId })), refused);
  const forged = { ...group.asNode(group.machine("m1")), forwardedBy: nodeId };
  const request = { csrPem: Buffer.from("none"), token: "", availability: 0 as const };
  await assert.rejects(group.settle(ca.issueNodeCertificate(request, forged)), refused);
  await group.close();
});

test("what a node does by itself cannot be passed on in its name: Raft, and the agents' door", async () => {
  const group = await ManagerGroup.of(1, { seed: 25 });
  const machine = group.machine("m1");
  const context = { ...group.asNode(machine), forwardedBy: machine.nodeId };
  const refused = { code: "PermissionDenied", message: /in the name of another/ };
  const dispatcher = group.dispatcher(machine);
  const nothing = async function* (): AsyncGenerator<never, void, undefined> {};
  const sessionId = "s";
  await assert.rejects(group.settle(dispatcher.heartbeat({ sessionId }, context)), refused);
  await assert.rejects(group.settle(dispatcher.updateTaskStatus({ sessionId, updates: [] }, context)), refused);
  const streams: readonly AsyncIterable<unknown>[] = [
    dispatcher.session({ sessionId: "", description: undefined }, context),
    dispatcher.assignments({ sessionId }, context),
    dispatcher.stream(nothing(), context),
  ];
  for (const stream of streams) await assert.rejects(group.settle(stream[Symbol.asyncIterator]().next()), refused);
  const unreached = (): never => assert.fail("nothing of it is looked at");
  const raft = raftHandlers({
    transport: { admit: unreached, prove: unreached, opened: unreached, heard: unreached },
    receiver: { isRemoved: () => false } as unknown as TransportReceiver,
    clock: group.clock,
    logger: silentLogger,
  });
  const hello: RaftFrame = { part: { $case: "hello", value: { raftId: 7, addr: "a:1", clusterId: "c", to: 1 } } };
  const frames = async function* (): AsyncGenerator<RaftFrame, void, undefined> {
    yield await Promise.resolve(hello);
  };
  await assert.rejects(raft.messages(frames(), context)[Symbol.asyncIterator]().next(), refused);
  await assert.rejects(raft.snapshot(nothing(), context)[Symbol.asyncIterator]().next(), refused);
  await group.close();
});

test("a leader that is there and takes nothing is told apart from none", async () => {
  const clock = new ManualClock();
  const leader = { raftId: 1, nodeId: "m1", addr: "10.0.0.1:2377" };
  const log = {
    self: { ...leader, raftId: 2 },
    subscribe: () => () => undefined,
    members: () => [],
    status: () => ({ role: "follower", term: 3, leader }),
  } as unknown as GroupLog;
  const refuse = (): Promise<never> => Promise.reject(new SwarmError("NotLeader", "the manager's disk takes nothing"));
  const link = { client: () => ({ createService: refuse }), ready: () => Promise.resolve(), close: () => undefined };
  const door = leaderDoor({
    service: ControlService,
    leadership: new Leadership({ log, store: new Store({ now: () => clock.now() }), clock }),
    peers: new Peers(() => link as unknown as ManagerLink),
    local: () => assert.fail("another manager leads"),
    admit: () => undefined,
    repeatable: [],
  });
  const outcome = assert.rejects(door.createService({ spec: webSpec() }, LOCAL), {
    code: "Unavailable",
    message: "the leader at 10.0.0.1:2377 does not take the call: the manager's disk takes nothing",
  });
  await clock.advance(5_000);
  await outcome;
});

test("who cannot be reached is named, and a group that is about to elect is told apart from one that cannot", () => {
  const view = (nodeId: string, reachable: boolean): Parameters<typeof noLeader>[0][number] => {
    const common = { addr: `${nodeId}:2377`, raftId: 1, isLeader: false, isLearner: false, isCaughtUp: true };
    return { ...common, nodeId, reachable, isSelf: nodeId === "m1" };
  };
  const name = (nodeId: string): string => nodeId;
  const lost = noLeader([view("m1", true), view("m2", false), view("m3", false)], name);
  assert.equal(
    lost.message,
    "the cluster has no leader: 1 of 3 managers is reachable (m1; m2 and m3 are not); start or heal them, or `tsswarm swarm init --force-new-cluster` on this one if they are lost for good",
  );
  const electing = noLeader([view("m1", true), view("m2", true), view("m3", false)], name);
  assert.match(electing.message, /2 of 3 managers are reachable \(m1 and m2; m3 is not\).*about to be elected/);
  assert.match(noLeader([], name).message, /^this manager is joining the others and knows nothing of the cluster yet/);
});
