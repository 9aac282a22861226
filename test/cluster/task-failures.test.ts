// Tasks that cannot start or do not end well: the reason stands on the task, and the restart policy decides what follows.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { placesOf } from "../../deploy/lab/lab.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, taskStateName } from "../../proto/model/task-state.ts";
import { defined } from "../../proto/base/assert.ts";
import { eventually } from "./support/bound.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "fail", workers: 1 });
const DEMO = "tsswarm/demo:1";
const ON_W1 = ["--constraint", "node.hostname==w1"];

/** The first task of the service, once it has ended. */
function firstEnd(service: string): Promise<WholeTask> {
  return lab.until((view) => {
    const [first] = view.tasks(service);
    return first !== undefined && isEnded(first.status.state) ? first : undefined;
  });
}

interface Case {
  readonly what: string;
  readonly words: readonly string[];
  readonly state: TaskState;
  readonly error: RegExp;
}

const CASES: readonly Case[] = [
  {
    what: "a command that does not exist",
    words: [DEMO, "/no/such"],
    state: TaskState.FAILED,
    error: /\/no\/such.*(no such file|not found)/i,
  },
  {
    what: "a user that does not exist",
    words: ["--user", "ghost", DEMO],
    state: TaskState.FAILED,
    error: /user.*ghost/,
  },
  {
    what: "a bind mount whose source does not exist",
    words: ["--mount", "type=bind,source=/no/such/folder,target=/data", DEMO],
    state: TaskState.REJECTED,
    error: /\/no\/such\/folder/,
  },
  {
    what: "an image that the node does not have",
    words: ["no/image:9", "true"],
    state: TaskState.REJECTED,
    error: /no\/image:9/,
  },
  {
    what: "an exit that is not zero",
    words: [DEMO, "sh", "-c", "exit 3"],
    state: TaskState.FAILED,
    error: /^task: non-zero exit \(3\)$/,
  },
  {
    what: "more memory than allowed",
    words: ["--limit-memory", "16M", DEMO, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1"],
    state: TaskState.FAILED,
    error: /^task: non-zero exit \(\d+\): out of memory \(its limit is 16 MiB\)$/,
  },
];

for (const [index, { what, words, state, error }] of CASES.entries()) {
  test(`${what} is the reason on the task`, async () => {
    const name = `case${index}`;
    await lab.create(name, "--restart-condition", "none", ...ON_W1, ...words);
    const task = await firstEnd(name);
    assert.match(task.status.error, error);
    assert.equal(task.status.state, state, `${taskStateName(task.status.state)}: ${task.status.error}`);
    assert.match(await lab.run("service", "ps", "--no-trunc", name), new RegExp(`${name}\\.1 .*"`));
    await lab.remove(name);
  });
}

test("a container killed from outside names the signal", async () => {
  await lab.create("killed", "--restart-condition", "none", ...ON_W1, DEMO, "sleep", "1000");
  const [task] = await lab.untilRunning("killed", 1);
  process.kill(defined(task?.status.container?.pid, "the pid of a running container"), "SIGKILL");
  const ended = await firstEnd("killed");
  assert.equal(ended.status.error, "task: non-zero exit (137): killed by signal 9 (SIGKILL)");
  assert.equal(ended.status.container?.exitCode, 137);
  assert.equal(ended.status.container.oomKilled, false);
  await lab.remove("killed");
});

test("a port that another program has taken is the reason on the task", async () => {
  const { netns } = placesOf(lab.lab.name, "w1");
  const script = "require('net').createServer().listen(8090, '0.0.0.0', () => console.log('listening'))";
  const other = spawn("nsenter", [`--net=/run/netns/${netns}`, "--", process.execPath, "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await new Promise((resolve) => other.stdout.once("data", resolve));
    const publish = "published=8090,target=80,mode=host";
    await lab.create("taken", "--restart-delay", "200ms", ...ON_W1, "--publish", publish, DEMO);
    const task = await firstEnd("taken");
    assert.equal(task.status.state, TaskState.REJECTED);
    assert.match(task.status.error, /8090/);
  } finally {
    other.kill("SIGKILL");
  }
  // Once the port is free, the restart policy brings the service up by itself.
  await lab.untilRunning("taken", 1);
  assert.match(await eventually(() => lab.http("m1", `http://${lab.address("w1")}:8090/`)), /^hostname: /);
  await lab.remove("taken");
});

test("service create that cannot converge ends with exit status 1 and the reason", async () => {
  const flags = ["--name", "never", "--restart-delay", "50ms", ...ON_W1];
  const ran = await lab.tsswarm("m1", ["service", "create", ...flags, DEMO, "/no/such"]);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /task never\.1: .*\/no\/such/);
  await lab.remove("never");
});

test("restart-condition none leaves an ended task alone, whatever its exit code", async () => {
  await lab.create("none", "--restart-condition", "none", "--restart-delay", "0s", DEMO, "false");
  const ended = await lab.until((view) => {
    const [first] = view.tasks("none");
    return first !== undefined && first.status.state === TaskState.FAILED && first.desiredState === TaskState.SHUTDOWN
      ? view.tasks("none")
      : undefined;
  });
  assert.equal(ended.length, 1);
  await lab.remove("none");
});

test("restart-condition on-failure restarts a failure and lets a success be", async () => {
  const flags = ["--restart-condition", "on-failure", "--restart-delay", "50ms"];
  await lab.create("good", ...flags, DEMO, "true");
  await lab.create("bad", ...flags, DEMO, "false");
  const bad = await lab.until((view) => (view.tasks("bad").length >= 3 ? view.tasks("bad") : undefined));
  assert.ok(bad.some((task) => task.status.state === TaskState.FAILED));
  const good = await lab.until((view) => {
    const [first] = view.tasks("good");
    return first !== undefined && first.desiredState === TaskState.SHUTDOWN ? view.tasks("good") : undefined;
  });
  assert.deepEqual(
    good.map((task) => task.status.state),
    [TaskState.COMPLETE],
  );
  await lab.remove("good", "bad");
});

test("restart-max-attempts ends the attempts", async () => {
  const flags = ["--restart-max-attempts", "2", "--restart-delay", "50ms"];
  await lab.create("thrice", ...flags, DEMO, "false");
  const tasks = await lab.until((view) => {
    const all = view.tasks("thrice");
    return all.length > 0 && view.wanted("thrice").length === 0 ? all : undefined;
  });
  assert.equal(tasks.length, 3);
  for (const task of tasks) assert.equal(task.status.state, TaskState.FAILED);
  await lab.remove("thrice");
});
