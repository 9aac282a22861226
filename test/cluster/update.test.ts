// Updates as a person sees them on three nodes: without a gap, back again when the image is bad, behind a canary, by hand, over the
// restart of the manager, and through the history.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { WholeTask } from "../../proto/model/objects.ts";
import { UpdateStatus_State } from "../../proto/gen/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";
import type { ClusterView } from "./support/cluster-view.ts";
import { openTestLab } from "./support/test-lab.ts";

const lab = await openTestLab({ name: "upd", workers: 2 });
const DEMO = "tsswarm/demo:1";
const NEW = "tsswarm/demo:2";
const QUICK = ["--update-monitor", "0", "--rollback-monitor", "0", "--stop-grace-period", "1s"];

function imageOf(task: WholeTask): string {
  return task.spec.container.image;
}

function images(tasks: readonly WholeTask[]): readonly string[] {
  return tasks.map(imageOf).sort();
}

function updated(view: ClusterView, service: string): number {
  return view.wanted(service).filter((task) => imageOf(task) === NEW && task.status.state === TaskState.RUNNING).length;
}

test("a start-first update leaves no moment without an answer, and never fewer tasks running than replicas", async () => {
  const publish = ["--publish", "published=8080,target=80,mode=host"];
  await lab.create("web", "--replicas", "2", "--update-order", "start-first", ...QUICK, ...publish, DEMO);
  await lab.untilRunning("web", 2);
  let fewest = 2;
  const watching = lab.until((view) => {
    const up = view.wanted("web").filter((task) => task.status.state === TaskState.RUNNING);
    fewest = Math.min(fewest, up.length);
    return updated(view, "web") === 2 && view.wanted("web").length === 2 ? up : undefined;
  });
  const nodes = ["m1", "w1", "w2"] as const;
  const versions: string[] = [];
  const asking = new AbortController();
  const asker = (async () => {
    while (!asking.signal.aborted) {
      const answers = await Promise.all(nodes.map((node) => lab.http("m1", `http://${lab.address(node)}:8080/`)));
      versions.push(...answers.map((answer) => /^version: (\d)$/m.exec(answer ?? "")?.[1] ?? ""));
      assert.ok(
        answers.some((answer) => answer !== undefined),
        "somebody answers",
      );
    }
  })();
  const shown = await lab.run("service", "update", "--image", NEW, "web");
  await watching;
  asking.abort();
  await asker;
  assert.match(shown, /overall progress: 2 out of 2 tasks\n/);
  assert.match(shown, /verify: Service \S+ converged\n$/);
  assert.equal(fewest, 2);
  assert.ok(versions.includes("1") && versions.includes("2"), "there were requests before and after");
  await lab.remove("web");
});

test("a bad image is rolled back by itself: the command ends with status 1 and why, and what ran runs on", async () => {
  await lab.create(
    ...["bad", "--replicas", "3", "--update-order", "start-first", "--update-failure-action", "rollback"],
    ...["--restart-condition", "none", ...QUICK, DEMO],
  );
  const before = await lab.untilRunning("bad", 3);
  const ran = await lab.tsswarm("m1", ["service", "update", "--image", "tsswarm/nosuch:9", "bad"]);
  assert.equal(ran.code, 1, ran.stdout + ran.stderr);
  assert.match(ran.stdout, /^rollback: update rolled back due to failure or early termination of task \w{25}: /m);
  assert.match(ran.stderr, /service rolled back: update rolled back due to .* No such image: tsswarm\/nosuch:9/);
  const after = await lab.untilRunning("bad", 3);
  assert.deepEqual(new Set(after.map((task) => task.id)), new Set(before.map((task) => task.id)));
  const inspected = await lab.run("service", "inspect", "--pretty", "bad");
  assert.match(inspected, /^ State: +rollback_completed\n.*\n.*\n Message: +rollback completed\n/m);
  assert.match(inspected, /^UpdateConfig:\n Parallelism: +1\n On failure: +rollback\n Monitoring Period: +0s\n/m);
});

test("a bad image without a rollback pauses the update, and the next spec takes over", async () => {
  await lab.run("service", "update", "--update-failure-action", "pause", "bad");
  const ran = await lab.tsswarm("m1", ["service", "update", "--image", "tsswarm/nosuch:9", "bad"]);
  assert.equal(ran.code, 1, ran.stdout + ran.stderr);
  assert.match(ran.stderr, /service update paused: update paused due to failure or early termination of task \w{25}: /);
  await lab.run("service", "update", "--image", NEW, "bad");
  assert.deepEqual(images(await lab.untilRunning("bad", 3)), [NEW, NEW, NEW]);
  await lab.remove("bad");
});

test("a canary waits for its promotion", async () => {
  await lab.create("bird", "--replicas", "3", ...QUICK, DEMO);
  await lab.untilRunning("bird", 3);
  const shown = await lab.run("service", "update", "--canary", "1", "--image", NEW, "bird");
  assert.match(shown, /^canary: update paused after its canary of 1 task: go on with "service promote bird"/m);
  assert.deepEqual(images(await lab.untilRunning("bird", 3)), [DEMO, DEMO, NEW]);
  const refused = await lab.tsswarm("m1", ["service", "resume", "bird"]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /waits behind its canary/);
  await lab.run("service", "promote", "bird");
  assert.deepEqual(images(await lab.untilRunning("bird", 3)), [NEW, NEW, NEW]);
});

test("the history says what was asked for and by whom, and any of it is come back to", async () => {
  const rows = (await lab.run("service", "history", "bird")).trim().split("\n");
  assert.match(rows[0] ?? "", /^REVISION +CREATED +AUTHOR +ACTION +IMAGE +REPLICAS$/);
  assert.match(rows[1] ?? "", /^2 +.* ago +root on m1 +update +tsswarm\/demo:2 +3$/);
  assert.match(rows[2] ?? "", /^1 +.* ago +root on m1 +create +tsswarm\/demo:1 +3$/);
  assert.equal(await lab.run("service", "diff", "bird"), `~ task.container.image: ${DEMO} -> ${NEW}\n`);
  const shown = await lab.run("service", "rollback", "--to", "1", "bird");
  assert.match(shown, /^overall progress: rolling back update: \d out of 3 tasks$/m);
  assert.deepEqual(images(await lab.untilRunning("bird", 3)), [DEMO, DEMO, DEMO]);
  assert.equal(await lab.run("service", "diff", "bird", "1", "3"), "revisions 1 and 3 are the same\n");
  assert.match(
    await lab.run("service", "history", "bird", "--format", "{{.Revision}} {{.Action}}"),
    /^3 rollback to 1\n/,
  );
  await lab.remove("bird");
});

test("an update stands still while it is paused, goes on when resumed, and over a restart of the manager", async () => {
  await lab.create("slow", "--replicas", "4", "--update-delay", "2s", ...QUICK, DEMO);
  await lab.untilRunning("slow", 4);
  await lab.run("service", "update", "-d", "--image", NEW, "slow");
  await lab.until((view) => (updated(view, "slow") === 1 ? true : undefined));
  await lab.run("service", "pause", "slow");
  const paused = await lab.control.getService({ ref: "slow" }, { signal: AbortSignal.timeout(5_000) });
  assert.equal(paused.updateStatus?.state, UpdateStatus_State.PAUSED);
  await lab.kill("m1");
  await lab.start("m1");
  assert.equal(await lab.until((view) => updated(view, "slow")), 1);
  await lab.run("service", "resume", "-d", "slow");
  await lab.until((view) => (updated(view, "slow") === 2 ? true : undefined));
  await lab.kill("m1");
  await lab.start("m1");
  const done = await lab.until((view) => {
    const status = view.service("slow")?.updateStatus;
    return status?.state === UpdateStatus_State.COMPLETED ? updated(view, "slow") : undefined;
  });
  assert.equal(done, 4);
  await lab.remove("slow");
});
