// The daemon of a worker is killed with -9 while its containers run: they go on, and the next daemon finds them, their logs and
// their ends.

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { placesOf } from "../../deploy/lab/lab.ts";
import { isEnded, TaskState } from "../../proto/model/task-state.ts";
import { eventually } from "./support/bound.ts";
import { isAlive } from "./support/processes.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "agent", workers: 1 });
const DEMO = "tsswarm/demo:1";
const ON_W1 = ["--constraint", "node.hostname==w1"];
const LINES = 400;
const COUNT = `i=0; while [ $i -lt ${LINES} ]; do echo line $i; i=$((i+1)); usleep 5000; done; sleep 1000`;

/** The log as the node keeps it, read while no daemon is there to ask. */
function logOnDisk(containerId: string): string {
  const path = `${placesOf(lab.lab.name, "w1").stateDir}/containers/${containerId}/output.log`;
  return existsSync(path) ? readFileSync(path, "latin1") : "";
}

test("containers answer while their node's daemon is dead, and the next one takes the same ones over", async () => {
  const publish = "published=8081,target=80,mode=host";
  await lab.create("web", "--replicas", "1", ...ON_W1, "--publish", publish, DEMO);
  const [before] = await lab.untilRunning("web", 1);
  const url = `http://${lab.address("w1")}:8081/`;
  const answered = await eventually(() => lab.http("m1", url));
  await lab.kill("w1");
  for (let count = 0; count < 5; count += 1) assert.equal(hostnameOf(await lab.http("m1", url)), hostnameOf(answered));
  await lab.start("w1");
  assert.equal(hostnameOf(await lab.http("m1", url)), hostnameOf(answered));
  // A command in the container shows that the new daemon has it in its hands.
  const ran = await eventually(async () => {
    const tried = await lab.tsswarm("m1", ["exec", "web.1", "hostname"]);
    return tried.code === 0 ? tried : undefined;
  });
  assert.equal(ran.stdout.trim(), hostnameOf(answered));
  const [after] = await lab.untilRunning("web", 1);
  assert.equal(after?.id, before?.id);
  assert.equal(after?.status.container?.containerId, before?.status.container?.containerId);
  assert.equal(after?.status.container?.pid, before?.status.container?.pid);
  await lab.remove("web");
});

test("no line of a container's log is missing across the gap", async () => {
  await lab.create("count", "--stop-grace-period", "100ms", ...ON_W1, DEMO, "sh", "-c", COUNT);
  const [task] = await lab.untilRunning("count", 1);
  const containerId = task?.status.container?.containerId ?? "";
  await eventually(() => (logOnDisk(containerId).includes("line 50") ? true : undefined));
  await lab.kill("w1");
  await eventually(() => (logOnDisk(containerId).includes("line 200") ? true : undefined));
  await lab.start("w1");
  await eventually(() => (logOnDisk(containerId).includes(`line ${LINES - 1}`) ? true : undefined));
  const shown = await eventually(async () => {
    const text = await lab.run("service", "logs", "--raw", "count");
    return text.includes(`line ${LINES - 1}\n`) ? text : undefined;
  });
  const expected = Array.from({ length: LINES }, (_, index) => `line ${index}\n`).join("");
  assert.equal(shown, expected);
  assert.equal((await lab.untilRunning("count", 1))[0]?.id, task?.id);
  await lab.remove("count");
});

test("a container that ends while its daemon is dead is reported with its exit code, and restarted by policy", async () => {
  const wait = "until [ -e /signal/go ]; do usleep 10000; done; exit 7";
  const bind = `type=bind,source=${lab.scratch},target=/signal,readonly`;
  const flags = ["--mount", bind, "--restart-delay", "100ms", "--stop-grace-period", "100ms", ...ON_W1];
  await lab.create("ends", ...flags, DEMO, "sh", "-c", wait);
  const [task] = await lab.untilRunning("ends", 1);
  const pid = task?.status.container?.pid ?? 0;
  assert.ok(pid > 0);
  await lab.kill("w1");
  writeFileSync(`${lab.scratch}/go`, "");
  await eventually(() => (isAlive(pid) ? undefined : true));
  await lab.start("w1");
  const ended = await lab.until((view) => {
    const found = view.task(task?.id ?? "");
    return found !== undefined && isEnded(found.status.state) ? found : undefined;
  });
  assert.equal(ended.status.state, TaskState.FAILED);
  assert.equal(ended.status.container?.exitCode, 7);
  assert.equal(ended.status.error, "task: non-zero exit (7)");
  const next = await lab.until((view) => view.tasks("ends").find((each) => each.generation > ended.generation));
  assert.equal(next.slot, ended.slot);
  await lab.remove("ends");
});

test("a service removed while its node's daemon is dead is gone once it is back", async () => {
  await lab.create("brief", "--stop-grace-period", "100ms", ...ON_W1, DEMO, "sleep", "1000");
  const [task] = await lab.untilRunning("brief", 1);
  const pid = task?.status.container?.pid ?? 0;
  await lab.kill("w1");
  await lab.run("service", "rm", "brief");
  assert.ok(isAlive(pid));
  await lab.start("w1");
  await eventually(() => (isAlive(pid) ? undefined : true));
  await lab.until((view) => (view.tasks("brief").length === 0 ? true : undefined));
});

function hostnameOf(answer: string | undefined): string {
  return /^hostname: (\w+)$/m.exec(answer ?? "")?.[1] ?? "no answer";
}
