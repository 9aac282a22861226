// Commands in tasks and their logs, from any node to any node: exit codes, input, terminals, following, and what is still told when
// a node is dead.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { placesOf } from "../../deploy/lab/lab.ts";
import { BIN_DIR } from "../../deploy/lab/process.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { bound } from "./support/bound.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "exec", workers: 2, heartbeatPeriodMs: 500 });
const DEMO = "tsswarm/demo:1";
const QUICK = ["--stop-grace-period", "100ms"];

test("exec runs in the task wherever it runs and ends with the command's exit status", async () => {
  await lab.create("box", ...QUICK, "--replicas", "3", "--env", "COLOUR=blue", DEMO, "sleep", "1000");
  const tasks = await lab.untilRunning("box", 3);
  for (const { slot, status } of tasks) {
    const ran = await lab.tsswarm("m1", [
      "exec",
      `box.${slot}`,
      "sh",
      "-c",
      "echo $COLOUR; echo $(hostname) >&2; exit 7",
    ]);
    assert.deepEqual(
      { ...ran, stderr: ran.stderr.trim() },
      { code: 7, stdout: "blue\n", stderr: status.container?.containerId.slice(0, 12) },
    );
  }
  const flags = ["--user", "nobody", "--workdir", "/tmp", "--env", "SIZE=big"];
  const ran = await lab.tsswarm("m1", ["exec", ...flags, "box.1", "sh", "-c", "id -un; pwd; echo $SIZE"]);
  assert.equal(ran.stdout, "nobody\n/tmp\nbig\n", ran.stderr);
});

test("what exec cannot do is said with the exit status that shells use", async () => {
  const missing = await lab.tsswarm("m1", ["exec", "box.1", "/no/such"]);
  assert.equal(missing.code, 127);
  assert.match(missing.stderr, /\/no\/such/);
  const folder = await lab.tsswarm("m1", ["exec", "box.1", "/etc"]);
  assert.equal(folder.code, 126);
  const nobody = await lab.tsswarm("m1", ["exec", "ghost.1", "true"]);
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /ghost\.1/);
  const worker = await lab.tsswarm("w1", ["exec", "box.1", "true"]);
  assert.equal(worker.code, 1);
  assert.match(worker.stderr, /not a swarm manager/);
});

test("exec -i carries input of any size to the command and its end", async () => {
  const input = "0123456789abcde\n".repeat(65_536);
  for (const slot of [1, 2, 3]) {
    const ran = await lab.tsswarm("m1", ["exec", "-i", `box.${slot}`, "cat"], { input });
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(ran.stdout === input, `${ran.stdout.length} of ${input.length} bytes came back`);
  }
});

test("exec -it gives the command a terminal of the size of ours", async () => {
  const words = `stty rows 33 cols 111; exec ${BIN_DIR}/tsswarm exec -it box.2 sh -c 'tty; stty size; exit 5'`;
  const ran = await lab.on("m1", ["script", "-qec", words, "/dev/null"]);
  assert.equal(ran.code, 5, ran.stdout);
  // script(1) types an end of input of its own, and the terminal shows it.
  assert.match(ran.stdout.replace("^@", ""), /^\/dev\/pts\/\d+\r\n33 111\r\n$/);
  const plain = await lab.tsswarm("m1", ["exec", "-it", "box.1", "sh"]);
  assert.equal(plain.code, 1);
  assert.match(plain.stderr, /the input device is not a TTY/);
  await lab.remove("box");
});

test("service logs shows both streams of all replicas, their ends and their times", async () => {
  const words = ["sh", "-c", "for i in 1 2 3 4 5; do echo out $i; done; echo problem >&2; sleep 1000"];
  await lab.create("talk", ...QUICK, "--replicas", "3", DEMO, ...words);
  await lab.untilRunning("talk", 3);
  const follow = await followLogs("talk", (lines) => lines.filter((line) => line.includes("out 5")).length === 3);
  assert.equal(
    follow.filter((line) => /^talk\.[123]\.\w+@(m1|w1|w2) +\| out \d$/.test(line)).length,
    15,
    follow.join("\n"),
  );
  const all = await lab.tsswarm("m1", ["service", "logs", "talk"]);
  assert.equal(all.stdout.trim().split("\n").length, 15);
  assert.equal(
    all.stderr
      .trim()
      .split("\n")
      .filter((line) => line.endsWith("| problem")).length,
    3,
    all.stderr,
  );
  const tail = await lab.run("service", "logs", "--raw", "--tail", "3", "talk.2");
  assert.equal(tail, "out 4\nout 5\n");
  const stamped = await lab.run("service", "logs", "--raw", "-t", "talk.1");
  assert.match(stamped, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out 1\n/);
  assert.equal(await lab.run("service", "logs", "--since", "2100-01-01T00:00:00Z", "talk"), "");
  await lab.remove("talk");
});

test("service logs -f goes on with the tasks that follow a restart", async () => {
  const words = ["sh", "-c", "echo life of $(hostname); sleep 0.2; exit 1"];
  await lab.create("lives", "--restart-delay", "50ms", DEMO, ...words);
  const isEnough = (lines: readonly string[]): boolean => new Set(lines.map((line) => line.split("| ")[1])).size >= 3;
  const lines = await followLogs("lives", isEnough);
  for (const line of lines) assert.match(line, /^lives\.1\.\w+@(m1|w1|w2) +\| life of [0-9a-f]{12}$/);
  await lab.remove("lives");
});

test("with one node dead, logs of the others are shown and a warning names the missing one", async () => {
  const flags = [...QUICK, "--replicas", "3", "--replicas-max-per-node", "1"];
  await lab.create("each", ...flags, DEMO, "sh", "-c", "echo here; sleep 1000");
  await lab.untilRunning("each", 3);
  await lab.powerOff("w2");
  await lab.until((view) => (view.node("w2")?.status.state === NodeStatus_State.DOWN ? true : undefined));
  const ran = await lab.tsswarm("m1", ["service", "logs", "each"]);
  assert.equal(ran.code, 0);
  const nodes = ran.stdout
    .trim()
    .split("\n")
    .map((line) => /@(\w+) +\| here$/.exec(line)?.[1]);
  assert.deepEqual(nodes.sort(), ["m1", "w1"]);
  assert.match(ran.stderr, /warning: node w2 is down: the logs of its tasks are missing/);
  await lab.start("w2");
  await lab.untilRunning("each", 3);
  await lab.remove("each");
});

/** Lines of `service logs -f` on standard output until there are enough of them; then it is interrupted, as by Ctrl-C. */
async function followLogs(
  service: string,
  isEnough: (lines: readonly string[]) => boolean,
): Promise<readonly string[]> {
  const { socket } = placesOf(lab.lab.name, "m1");
  const child = spawn(`${BIN_DIR}/tsswarm`, ["service", "logs", "-f", service], {
    env: { ...process.env, TSSWARM_HOST: `unix://${socket}` },
    stdio: ["ignore", "pipe", "ignore"],
    signal: bound(),
    killSignal: "SIGKILL",
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code));
  });
  let text = "";
  const complete = (): readonly string[] => text.split("\n").slice(0, -1);
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    if (isEnough(complete())) child.kill("SIGINT");
  });
  assert.equal(await ended, 130, text);
  return complete();
}
