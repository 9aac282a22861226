// The lab itself, by its command: up, the verbs on nodes, and down, after which nothing of it is left on the machine.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, globSync, readdirSync } from "node:fs";
import { after, test } from "node:test";
import { cgroupRoot, labDir, placesOf, runDir } from "../../deploy/lab/lab.ts";
import { BIN_DIR } from "../../deploy/lab/process.ts";
import { eventually } from "./support/bound.ts";
import { cgroupsBelow, mountsNaming } from "./support/leftovers.ts";
import { processesNaming } from "./support/processes.ts";
import { type Ran, runProgram } from "./support/program.ts";

const NAME = `t${process.pid}-lab`;
const HALF = `t${process.pid}-half`;

after(() => {
  for (const name of [NAME, HALF])
    if (existsSync(labDir(name)))
      spawnSync(`${BIN_DIR}/tsswarm`, ["lab", "down", "--name", name], { stdio: "inherit" });
});

function lab(verb: string, ...words: readonly string[]): Promise<Ran> {
  return runProgram([`${BIN_DIR}/tsswarm`, "lab", verb, "--name", NAME, ...words]);
}

async function succeed(verb: string, ...words: readonly string[]): Promise<string> {
  const ran = await lab(verb, ...words);
  assert.equal(ran.code, 0, `lab ${verb} ${words.join(" ")}: ${ran.stdout}${ran.stderr}`);
  return ran.stdout;
}

/** Everything on the machine that carries the lab's name, and the devices of the machine's own namespace. */
function tracesOf(name: string): readonly string[] {
  return [
    ...processesNaming(name),
    ...mountsNaming(name),
    ...readdirSync("/run/netns").filter((each) => each.startsWith(`tsl-${name}`)),
    ...cgroupsBelow(cgroupRoot(name)),
    ...[labDir(name), runDir(name)].filter((path) => existsSync(path)),
    ...globSync(`/tmp/*${name}*`),
  ];
}

test("lab up makes the cluster, says how to use it, and is refused a second time", async () => {
  const shown = await succeed("up", "--managers", "1", "--workers", "2");
  assert.match(shown, /is up: m1 \(10\.77\.0\.11\), w1 \(10\.77\.0\.12\), w2 \(10\.77\.0\.13\)\./);
  const again = await lab("up");
  assert.equal(again.code, 1);
  assert.match(again.stderr, /exists; take it down/);
  const tooMany = await runProgram([`${BIN_DIR}/tsswarm`, "lab", "up", "--name", HALF, "--managers", "10"]);
  assert.equal(tooMany.code, 1);
  assert.match(tooMany.stderr, /--managers: it must be a whole number from 1 to 9/);
  assert.ok(!existsSync(labDir(HALF)));
  const list = await runProgram([`${BIN_DIR}/tsswarm`, "lab", "ls"]);
  for (const node of ["m1", "w1", "w2"])
    assert.match(
      list.stdout,
      new RegExp(`${NAME} +${node} +${node === "m1" ? "manager" : "worker"} +10\\.77\\.0\\.\\d+ +running`),
    );
});

test("lab exec keeps working directory, output, exit status and the node's network and daemon", async () => {
  const child = spawnSync(
    `${BIN_DIR}/tsswarm`,
    ["lab", "exec", "--name", NAME, "w1", "--", "sh", "-c", "pwd; exit 9"],
    {
      cwd: "/usr/lib",
      encoding: "utf8",
    },
  );
  assert.equal(child.stdout, "/usr/lib\n");
  assert.equal(child.status, 9);
  assert.match(await succeed("exec", "w2", "--", "ip", "-o", "-4", "addr", "show", "eth0"), /10\.77\.0\.13\/24/);
  assert.match(await succeed("exec", "m1", "--", "tsswarm", "node", "ls"), /\* +m1 +Ready/);
  const images = await succeed("exec", "w1", "--", "tsswarm", "image", "ls");
  assert.match(images, /tsswarm\/demo +1 /);
  const unknown = await lab("exec", "w9", "--", "true");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /has no node "w9"; it has m1, w1, w2/);
});

test("lab kill, cut and logs act on one node", async () => {
  const publish = "published=8080,target=80,mode=host";
  await succeed(
    ...(["exec", "m1", "--", "tsswarm", "service", "create", "-q", "--name", "web"] as const),
    ...["--replicas", "3", "--publish", publish, "tsswarm/demo:1"],
  );
  await succeed("kill", "w1");
  const twice = await lab("kill", "w1");
  assert.equal(twice.code, 1);
  assert.match(twice.stderr, /daemon of w1 is not running/);
  assert.match(await succeed("exec", "m1", "--", "curl", "-s", "http://10.77.0.12:8080/"), /^hostname: /);
  await succeed("cut", "w2");
  const deaf = await lab("exec", "m1", "--", "curl", "-s", "--max-time", "1", "http://10.77.0.13:8080/");
  assert.notEqual(deaf.code, 0);
  await succeed("heal", "w2");
  await eventually(async () => {
    const ran = await lab("exec", "m1", "--", "curl", "-s", "--max-time", "1", "http://10.77.0.13:8080/");
    return ran.code === 0 ? true : undefined;
  });
  assert.match(await succeed("logs", "w1"), /this node is a member of a cluster|session with a manager/);
});

test("lab down leaves nothing of running containers, dead daemons and cut cables", async () => {
  await succeed("cut", "w2", "--direction", "in");
  const before = tracesOf(NAME).join("\n");
  for (const trace of [/^process .*tsswarmd/m, /^process .*tsswarm-shim/m, /^process .*\/httpd/m, /^control group/m])
    assert.match(before, trace, "the search must find what is there");
  assert.match(before, new RegExp(`^tsl-${NAME}-w1$`, "m"));
  assert.match(await succeed("down"), /is down\./);
  assert.deepEqual(tracesOf(NAME), []);
  const again = await lab("down");
  assert.equal(again.code, 1);
  assert.match(again.stderr, /no lab/);
});

test("a lab up that is killed half way is taken down without a trace", async () => {
  const child = spawn(`${BIN_DIR}/tsswarm`, ["lab", "up", "--name", HALF], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("close", resolve));
  await eventually(() => (existsSync(placesOf(HALF, "m1").pidFile) ? true : undefined));
  child.kill("SIGKILL");
  await ended;
  assert.notDeepEqual(tracesOf(HALF), []);
  const down = await runProgram([`${BIN_DIR}/tsswarm`, "lab", "down", "--name", HALF]);
  assert.equal(down.code, 0, down.stderr);
  assert.deepEqual(tracesOf(HALF), []);
});
