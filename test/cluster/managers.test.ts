// A cluster of three managers and a worker, in real processes: the leader is killed, roles change while tasks run, managers leave and
// join, all lose power at once, a majority is lost for good, and a state is backed up and restored.

import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { placesOf } from "../../deploy/lab/lab.ts";
import { InfoResponse_LocalNodeState } from "../../proto/gen/local.ts";
import { type Node, ManagerStatus_Reachability, NodeStatus_State } from "../../proto/gen/objects.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { bound, eventually } from "./support/bound.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "many", managers: 3, workers: 1, heartbeatPeriodMs: 1_000 });
const DEMO = "tsswarm/demo:1";
const QUICK = ["--stop-grace-period", "100ms"];
/** Kill to the next accepted change; the issue's own figure is measured by the bench. */
const FAILOVER_MS_MAX = 10_000;

/** By host name, as the manager that is asked sees them; undefined while it does not answer. */
async function managers(): Promise<ReadonlyMap<string, "leader" | "reachable" | "unreachable"> | undefined> {
  let nodes: readonly Node[];
  try {
    ({ nodes } = await lab.control.listNodes({ filters: [] }, { signal: bound() }));
  } catch (error) {
    if (isSwarmError(error, "Unavailable", "FailedPrecondition")) return undefined;
    throw error;
  }
  return new Map(
    nodes.flatMap(({ description, managerStatus }) => {
      if (managerStatus === undefined) return [];
      const reachable = managerStatus.reachability === ManagerStatus_Reachability.REACHABLE;
      const state = managerStatus.leader ? "leader" : reachable ? "reachable" : "unreachable";
      return [[description?.hostname ?? "", state] as const];
    }),
  );
}

/** Settles when these are the managers, all of them answer, and one leads; answers that one. */
function untilManagers(...names: readonly string[]): Promise<string> {
  return eventually(
    async () => {
      const found = await managers();
      const all = found !== undefined && [...found.keys()].sort().join() === [...names].sort().join();
      if (!all || [...found.values()].includes("unreachable")) return undefined;
      return [...found].find(([, state]) => state === "leader")?.[0];
    },
    () => `the managers are ${names.join(", ")}`,
  );
}

const idsOf = (tasks: readonly WholeTask[]): readonly (readonly unknown[])[] =>
  tasks.map((task) => [task.id, task.status.container?.containerId]);

function untilReady(count: number): Promise<true> {
  return lab.until((view) =>
    view.nodes().filter((node) => node.status.state === NodeStatus_State.READY).length === count ? true : undefined,
  );
}

/** The real command on a node, which must be refused. Answers what it said. */
async function refused(node: string, ...words: readonly string[]): Promise<string> {
  const ran = await lab.tsswarm(node, words);
  assert.equal(ran.code, 1, `tsswarm ${words.join(" ")} on ${node}: ${ran.stdout}${ran.stderr}`);
  assert.doesNotMatch(ran.stderr, /^\s+at /m);
  return ran.stderr;
}

test("every manager answers, and knows who leads", async () => {
  const leader = await untilManagers("m1", "m2", "m3");
  for (const name of ["m1", "m2", "m3"]) {
    lab.door = name;
    const shown = await lab.run("node", "ls");
    assert.match(shown, new RegExp(`${leader} +Ready +Active +Leader`));
    assert.equal(shown.match(/ Reachable /g)?.length, 2);
    const info = await lab.local(name).info({}, { signal: bound() });
    assert.equal(info.managerList.find((manager) => manager.leader)?.addr, `${lab.address(leader)}:2377`);
    assert.match(await lab.run("info"), /Managers: +3\n[^]* Reachable: +3 of 3/);
  }
});

test("the leader is killed: another manager takes changes, nothing that runs is touched, and the leader comes back", async () => {
  await lab.create("web", "--replicas", "4", ...QUICK, DEMO);
  const before = await lab.untilRunning("web", 4);
  const leader = await untilManagers("m1", "m2", "m3");
  lab.door = leader === "m1" ? "m2" : "m1";
  await lab.kill(leader);
  const killedMs = systemClock.monotonicMs();
  await lab.create("after", "--replicas", "1", ...QUICK, "--constraint", "node.hostname==w1", DEMO);
  const tookMs = systemClock.monotonicMs() - killedMs;
  assert.ok(tookMs < FAILOVER_MS_MAX, `the create took ${tookMs} ms`);
  await lab.untilRunning("after", 1);
  await eventually(async () => (await managers())?.get(leader) === "unreachable" || undefined);
  await lab.start(leader);
  await untilManagers("m1", "m2", "m3");
  await untilReady(4);
  assert.deepEqual(idsOf(await lab.untilRunning("web", 4)), idsOf(before));
});

test("a worker is promoted and the leader demoted; their containers run on", async () => {
  const before = await lab.untilRunning("web", 4);
  assert.equal(await lab.run("node", "promote", "w1"), "Node w1 promoted to a manager in the swarm.\n");
  const leader = await untilManagers("m1", "m2", "m3", "w1");
  assert.equal(await lab.run("node", "promote", "w1"), "Node w1 is already a manager.\n");
  lab.door = "w1";
  assert.equal(await lab.run("node", "demote", leader), `Manager ${leader} demoted in the swarm.\n`);
  await untilManagers(...["m1", "m2", "m3", "w1"].filter((name) => name !== leader));
  await eventually(async () => !(await lab.local(leader).info({}, { signal: bound() })).isManager || undefined);
  assert.match(await refused(leader, "node", "ls"), /This node is not a swarm manager/);
  await eventually(() => !existsSync(`${placesOf(lab.lab.name, leader).stateDir}/manager`) || undefined);
  assert.match(readFileSync(placesOf(lab.lab.name, leader).log, "utf8"), /no manager any more/);
  await untilReady(4);
  assert.deepEqual(idsOf(await lab.untilRunning("web", 4)), idsOf(before));
  // Back to what the next tests know: w1 is a worker.
  await lab.run("node", "promote", leader);
  await untilManagers("m1", "m2", "m3", "w1");
  lab.door = "m1";
  await lab.run("node", "update", "--role", "worker", "w1");
  await untilManagers("m1", "m2", "m3");
});

test("a manager leaves only with --force, is out of the group then, and joins again", async () => {
  lab.door = "m1";
  assert.match(await refused("m1", "node", "rm", "--force", "m3"), /must be demoted to worker before removal/);
  assert.match(
    await refused("m3", "swarm", "leave"),
    /You are attempting to leave the swarm on a node that is participating as a manager\..*--force-new-cluster/,
  );
  const left = await lab.tsswarm("m3", ["swarm", "leave", "--force"]);
  assert.equal(left.stdout, "Node left the swarm.\n", left.stderr);
  await untilManagers("m1", "m2");
  assert.match(await refused("m2", "swarm", "leave"), /leaves 1 managers out of 2\. Without a Raft quorum/);
  await lab.until((view) => (view.node("m3")?.status.state === NodeStatus_State.DOWN ? true : undefined));
  await lab.run("node", "rm", "m3");
  const token = (await lab.run("swarm", "join-token", "-q", "manager")).trim();
  assert.match(await lab.run("swarm", "join-token", "manager"), /To add a manager to this swarm, run/);
  const joined = await lab.tsswarm("m3", ["swarm", "join", "--token", token, `${lab.address("m2")}:2377`]);
  assert.equal(joined.stdout, "This node joined a swarm as a manager.\n", joined.stderr);
  await untilManagers("m1", "m2", "m3");
});

test("all nodes lose power at once: everything is there when they are back", async () => {
  await lab.create("parked", "--constraint", "node.hostname==nowhere", DEMO);
  const names = lab.lab.nodes.map((node) => node.name);
  await Promise.all(names.map((name) => lab.powerOff(name)));
  await Promise.all(names.map((name) => lab.start(name)));
  await untilManagers("m1", "m2", "m3");
  const shown = await lab.run("service", "ls");
  for (const name of ["web", "after", "parked"]) assert.match(shown, new RegExp(` ${name} `));
  await lab.untilRunning("web", 4);
});

const backup = `${lab.scratch}/swarm.backup`;

test("a backup is written while the cluster runs, for root alone, and over nothing", async () => {
  lab.door = "m2";
  assert.match(await lab.run("system", "backup", "-o", backup), /Backup of the swarm written to/);
  assert.equal(statSync(backup).mode & 0o777, 0o600);
  assert.match(await refused("m2", "system", "backup", "-o", backup), /exists; choose another name/);
  assert.match(await refused("w1", "system", "backup", "-o", `${backup}.2`), /This node is not a swarm manager/);
  assert.ok(!existsSync(`${backup}.2`) && !existsSync(`${backup}.2.part`));
});

test("with the majority lost, changes are refused with what to do, tasks run on, and one manager begins anew with all it knows", async () => {
  lab.door = "m1";
  await lab.create("late", "--replicas", "1", ...QUICK, "--constraint", "node.hostname==w1", DEMO);
  const [before] = await lab.untilRunning("late", 1);
  await Promise.all(["m2", "m3"].map((name) => lab.powerOff(name)));
  // One that led until now gives that up first: what it was asked meanwhile may or may not have been done.
  const noLeader = /no leader.*1 of 3 managers is reachable \(m1; .*--force-new-cluster/;
  await eventually(async () => noLeader.test((await lab.tsswarm("m1", ["node", "ls"])).stderr) || undefined);
  assert.match(await refused("m1", "service", "create", "-d", "--name", "lost", DEMO), noLeader);
  assert.match((await lab.tsswarm("m1", ["info"])).stderr, /no leader: 1 of 3/);
  assert.match(await refused("m1", "swarm", "leave"), /may lose the consensus of your cluster/);
  assert.match(await refused("w1", "swarm", "init", "--force-new-cluster"), /this node is no manager/);
  assert.match(
    await lab.run("swarm", "init", "--force-new-cluster"),
    /Swarm initialized: current node \(\w+\) is now a manager/,
  );
  assert.equal(await untilManagers("m1"), "m1");
  const shown = await lab.run("service", "ls");
  for (const name of ["web", "after", "parked", "late"]) assert.match(shown, new RegExp(` ${name} `));
  await lab.create("lost", "--constraint", "node.hostname==nowhere", DEMO);
  const [after] = await lab.untilRunning("late", 1);
  assert.equal(after?.status.container?.containerId, before?.status.container?.containerId);
  // The two that come back are told that they are no managers, and go on as workers.
  for (const name of ["m2", "m3"]) await lab.start(name);
  await untilReady(4);
  for (const name of ["m2", "m3"])
    await eventually(async () => {
      const info = await lab.local(name).info({}, { signal: bound() });
      return (!info.isManager && info.error === "" && info.state === InfoResponse_LocalNodeState.ACTIVE) || undefined;
    });
  assert.equal(await untilManagers("m1"), "m1");
});

test("a restored backup is the cluster of that moment, and what is no backup is refused", async () => {
  for (const name of ["m2", "m3", "w1", "m1"]) {
    const left = await lab.tsswarm(name, ["swarm", "leave", "--force"]);
    assert.equal(left.code, 0, left.stderr);
  }
  const cut = `${lab.scratch}/cut.backup`;
  writeFileSync(cut, readFileSync(backup).subarray(0, -7));
  assert.match(await refused("m2", "system", "restore", cut), /the backup cannot be used: it is cut short/);
  assert.match(await refused("m2", "system", "restore", "/dev/null"), /is no file/);
  assert.match(await refused("m2", "system", "restore", `${cut}.none`), /cannot read the backup/);
  assert.equal((await lab.local("m2").info({}, { signal: bound() })).state, InfoResponse_LocalNodeState.INACTIVE);
  lab.door = "m2";
  assert.match(await lab.run("system", "restore", backup), /Swarm restored: current node \(\w+\) is now its manager/);
  const shown = await lab.run("service", "ls");
  for (const name of ["web", "after", "parked"]) assert.match(shown, new RegExp(` ${name} `));
  assert.doesNotMatch(shown, / late /);
  const token = (await lab.run("swarm", "join-token", "-q", "worker")).trim();
  const joined = await lab.tsswarm("w1", ["swarm", "join", "--token", token, `${lab.address("m2")}:2377`]);
  assert.equal(joined.stdout, "This node joined a swarm as a worker.\n", joined.stderr);
  assert.match(await refused("m2", "system", "restore", backup), /already part of a swarm/);
  await lab.untilRunning("web", 4);
});
