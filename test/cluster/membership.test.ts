// Joining and leaving: tokens that are not right, nodes that are members already, daemons that get in each other's way. What is
// refused is refused with a sentence, and nothing half-made is left.

import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { test } from "node:test";
import { untilUp } from "../../deploy/lab/cluster.ts";
import { type LabNode, placesOf, saveLab } from "../../deploy/lab/lab.ts";
import { plugNode } from "../../deploy/lab/network.ts";
import { BIN_DIR, startDaemon } from "../../deploy/lab/process.ts";
import { InfoResponse_LocalNodeState } from "../../proto/gen/local.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { bound, eventually } from "./support/bound.ts";
import { leftovers } from "./support/leftovers.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "join", workers: 1, heartbeatPeriodMs: 500 });
const DEMO = "tsswarm/demo:1";

/** A machine beside the cluster: its daemon runs and belongs to nothing. */
async function addMachine(name: string, change: { readonly advertised: boolean }): Promise<LabNode> {
  const node: LabNode = { name, role: "worker", address: `10.77.0.${21 + lab.lab.nodes.length}` };
  const wider = { ...lab.lab, nodes: [...lab.lab.nodes, node] };
  // Written down first, so that it is taken down with the lab.
  await saveLab(wider);
  lab.adopt(wider);
  await plugNode(wider, node, bound());
  await startDaemon(wider, change.advertised ? node : { ...node, address: "" });
  await untilUp(wider, node, bound());
  return node;
}

await addMachine("x1", { advertised: true });
const MANAGER = `${lab.address("m1")}:2377`;

async function assertOutside(node: string): Promise<void> {
  const info = await lab.local(node).info({}, { signal: bound() });
  assert.equal(info.state, InfoResponse_LocalNodeState.INACTIVE);
  const { stateDir } = placesOf(lab.lab.name, node);
  for (const folder of ["node", "manager", "agent"]) assert.ok(!existsSync(`${stateDir}/${folder}`), folder);
}

async function token(role: string): Promise<string> {
  return (await lab.run("swarm", "join-token", "-q", role)).trim();
}

/** The token with one part of its text in other letters. */
function changed(text: string, part: number): string {
  return text
    .split("-")
    .map((word, index) => (index === part ? word.replace(/.{4}$/, word.endsWith("0000") ? "1111" : "0000") : word))
    .join("-");
}

test("a join with a token that is not the cluster's is refused and leaves nothing", async () => {
  const good = await token("worker");
  const parts = good.split("-");
  assert.equal(parts.length, 4);
  const cases: readonly (readonly [string, RegExp])[] = [
    [changed(good, 3), /invalid join token/],
    [changed(good, 2), /does not match|digest|another cluster/i],
    ["garbage", /invalid join token|SWMTKN/],
    ["SWMTKN-1-x-y", /invalid join token|SWMTKN/],
  ];
  for (const [wrong, error] of cases) {
    const ran = await lab.tsswarm("x1", ["swarm", "join", "--token", wrong, MANAGER]);
    assert.equal(ran.code, 1, `${wrong}: ${ran.stdout}`);
    assert.match(ran.stderr, error);
    assert.doesNotMatch(ran.stderr, /^\s+at /m);
    await assertOutside("x1");
  }
  assert.equal((await lab.control.listNodes({ filters: [] }, { signal: bound() })).nodes.length, 2);
});

test("a manager that the others cannot reach at its address is refused, and can be removed from the list", async () => {
  const words = ["swarm", "join", "--advertise-addr", "10.77.0.99", "--token", await token("manager"), MANAGER];
  const ran = await lab.tsswarm("x1", words);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /could not become a manager: the leader cannot reach this node at 10\.77\.0\.99:2377/);
  await assertOutside("x1");
  const { nodes } = await lab.control.listNodes({ filters: [] }, { signal: bound() });
  const left = nodes.filter((node) => (node.description?.hostname ?? "") === "");
  assert.equal(left.length, 1);
  await lab.run("node", "rm", "--force", left[0]?.id ?? "");
  assert.doesNotMatch(await lab.run("info"), /Managers: +2/);
});

test("a join to an address where no manager is says so", async () => {
  const ran = await lab.tsswarm("x1", ["swarm", "join", "--token", await token("worker"), `${lab.address("w1")}:2377`]);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /10\.77\.0\.12:2377/);
  await assertOutside("x1");
});

test("a join with the right token makes a worker, and a second join is refused", async () => {
  const join = ["swarm", "join", "--token", await token("worker"), MANAGER];
  const ran = await lab.tsswarm("x1", join);
  assert.equal(ran.stdout, "This node joined a swarm as a worker.\n", ran.stderr);
  await lab.until((view) => (view.node("x1")?.status.state === NodeStatus_State.READY ? true : undefined));
  const again = await lab.tsswarm("x1", join);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /This node is already part of a swarm/);
  const init = await lab.tsswarm("x1", ["swarm", "init"]);
  assert.equal(init.code, 1);
  assert.match(init.stderr, /This node is already part of a swarm/);
  assert.equal((await lab.control.listNodes({ filters: [] }, { signal: bound() })).nodes.length, 3);
});

test("a rotated token takes the place of the one before", async () => {
  const old = await token("worker");
  const shown = await lab.run("swarm", "join-token", "--rotate", "worker");
  assert.match(shown, /Successfully rotated worker join token/);
  const fresh = await token("worker");
  assert.notEqual(fresh, old);
  assert.ok(shown.includes(`tsswarm swarm join --token ${fresh} ${MANAGER}`));
});

test("commands about the cluster are refused on a worker, and nodes that are up are not removed", async () => {
  const onWorker = await lab.tsswarm("w1", ["service", "ls"]);
  assert.equal(onWorker.code, 1);
  assert.match(onWorker.stderr, /This node is not a swarm manager/);
  const remove = await lab.tsswarm("m1", ["node", "rm", "x1"]);
  assert.equal(remove.code, 1);
  assert.match(remove.stderr, /not down and can't be removed/);
  const self = await lab.tsswarm("m1", ["node", "rm", "--force", "m1"]);
  assert.equal(self.code, 1);
  assert.match(self.stderr, /must be demoted to worker before removal/);
});

test("a worker that leaves stops its tasks, counts as down, and can be removed and join again", async () => {
  const flags = ["--constraint", "node.hostname==x1", "--stop-grace-period", "100ms"];
  // The machine was added bare: it has no image, and the task says so until there is one.
  await lab.create("own", "--restart-delay", "100ms", ...flags, DEMO, "sleep", "1000");
  const failed = await lab.until((view) => view.tasks("own").find((task) => task.status.error.includes("demo:1")));
  assert.match(failed.status.error, /demo:1/);
  const archive = `${lab.scratch}/../demo-image.tar`;
  const loaded = await lab.tsswarm("x1", ["image", "load", "-i", archive]);
  assert.match(loaded.stdout, /Loaded image: tsswarm\/demo:1/, loaded.stderr);
  await lab.untilRunning("own", 1);
  const ran = await lab.tsswarm("x1", ["swarm", "leave"]);
  assert.equal(ran.stdout, "Node left the swarm.\n", ran.stderr);
  await assertOutside("x1");
  const own = { ...lab.lab, nodes: lab.lab.nodes.filter((node) => node.name === "x1") };
  assert.deepEqual(leftovers(own), []);
  await lab.until((view) => (view.node("x1")?.status.state === NodeStatus_State.DOWN ? true : undefined));
  await lab.run("node", "rm", "x1");
  await lab.until((view) => (view.node("x1") === undefined ? true : undefined));
  await lab.remove("own");
  const join = await lab.tsswarm("x1", ["swarm", "join", "--token", await token("worker"), MANAGER]);
  assert.equal(join.code, 0, join.stderr);
  await lab.until((view) => (view.node("x1")?.status.state === NodeStatus_State.READY ? true : undefined));
});

test("a node that was removed while it was down is told so when it comes back", async () => {
  await lab.powerOff("x1");
  await lab.until((view) => (view.node("x1")?.status.state === NodeStatus_State.DOWN ? true : undefined));
  await lab.run("node", "rm", "x1");
  await lab.start("x1");
  const { state, error } = await eventually(async () => {
    const info = await lab.local("x1").info({}, { signal: bound() });
    return /removed/.test(info.error) ? info : undefined;
  });
  assert.match(error, /was removed from the cluster/);
  assert.equal(state, InfoResponse_LocalNodeState.PENDING);
  assert.match((await lab.tsswarm("x1", ["info"])).stderr, /was removed from the cluster/);
  const leave = await lab.tsswarm("x1", ["swarm", "leave"]);
  assert.equal(leave.code, 0, leave.stderr);
  await assertOutside("x1");
});

test("the last manager does not leave without --force", async () => {
  const ran = await lab.tsswarm("m1", ["swarm", "leave"]);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /participating as a manager.*--force/);
  assert.match(await lab.run("node", "ls"), /m1 +Ready/);
});

test("a second daemon is refused the state folder and the socket of the first", async () => {
  const { stateDir, socket } = placesOf(lab.lab.name, "w1");
  const other = `${lab.scratch}/other`;
  const sameState = ["--state-dir", stateDir, "--run-dir", other, "--socket", `${other}/s.sock`];
  const state = await lab.on("w1", [`${BIN_DIR}/tsswarmd`, ...sameState]);
  assert.equal(state.code, 1);
  assert.match(state.stderr, /state folder \S+ is in use by another tsswarmd \(pid \d+\)/);
  const sameSocket = ["--state-dir", `${other}/state`, "--run-dir", other, "--socket", socket];
  const second = await lab.on("w1", [`${BIN_DIR}/tsswarmd`, ...sameSocket]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /another daemon listens on/);
  assert.equal((await lab.local("w1").info({}, { signal: bound() })).state, InfoResponse_LocalNodeState.ACTIVE);
});

test("the socket that a killed daemon left behind is replaced", async () => {
  const { socket } = placesOf(lab.lab.name, "w1");
  await lab.kill("w1");
  assert.ok(statSync(socket).isSocket());
  const dead = await lab.tsswarm("w1", ["info"]);
  assert.equal(dead.code, 1);
  assert.match(
    dead.stderr,
    /Cannot connect to the tsswarm daemon at unix:.*Is the tsswarm daemon \(tsswarmd\) running\?/,
  );
  await lab.start("w1");
  assert.equal((await lab.tsswarm("w1", ["info"])).code, 0);
});

test("swarm init on a machine with several addresses asks for one and names them", async () => {
  const node = await addMachine("x2", { advertised: false });
  const { netns } = placesOf(lab.lab.name, "x2");
  const added = await lab.on("x2", ["ip", "-n", netns, "addr", "add", "10.99.0.1/24", "dev", "eth0"]);
  assert.equal(added.code, 0, added.stderr);
  const ran = await lab.tsswarm("x2", ["swarm", "init"]);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /could not choose an IP address to advertise/);
  for (const address of [node.address, "10.99.0.1"]) assert.ok(ran.stderr.includes(`${address} on eth0`), ran.stderr);
  await assertOutside("x2");
  const chosen = await lab.tsswarm("x2", ["swarm", "init", "--advertise-addr", node.address]);
  assert.equal(chosen.code, 0, chosen.stderr);
  assert.match(chosen.stdout, new RegExp(`tsswarm swarm join --token SWMTKN-1-\\S+ ${node.address}:2377`));
  const left = await lab.tsswarm("x2", ["swarm", "leave", "--force"]);
  assert.equal(left.code, 0, left.stderr);
  await assertOutside("x2");
});
