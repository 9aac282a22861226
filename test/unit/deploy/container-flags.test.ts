// The flags that say how a container is watched and treated, and docker's flags for what is not here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Command } from "commander";
import { healthcheckJson } from "../../../deploy/docker/health.ts";
import { createSpec } from "../../../deploy/cli/service/create.ts";
import { addContainerFlags } from "../../../deploy/cli/service/flags-container.ts";
import { type Given, addFlags } from "../../../deploy/cli/service/flags.ts";
import { updatedSpec } from "../../../deploy/cli/service/update.ts";
import { checkContainer } from "../../../manager/control/validate-container.ts";
import { checkTask } from "../../../manager/control/validate-task.ts";
import { specDifferences } from "../../../proto/model/spec-diff.ts";
import { type WholeServiceSpec, wholeServiceSpec } from "../../../proto/model/objects.ts";

/** As the command line gives them. */
function given(...words: readonly string[]): Given {
  const command = addFlags(new Command()).exitOverride();
  return command.parse(words, { from: "user" }).opts();
}

function created(...words: readonly string[]): WholeServiceSpec {
  return wholeServiceSpec(
    createSpec({ image: "web:1", args: [], given: { name: "web", ...given(...words) }, shell: {} }),
  );
}

function updated(spec: WholeServiceSpec, ...words: readonly string[]): WholeServiceSpec {
  return wholeServiceSpec(updatedSpec(spec, given(...words), {}));
}

const WORDS = ["--health-cmd", "wget -q localhost", "--health-interval", "5s", "--health-retries", "2"];
const START = ["--health-timeout", "1s", "--health-start-period", "1m", "--health-start-interval", "500ms"];

test("a health check is set part by part, and changed part by part", () => {
  const spec = created(...WORDS, ...START);
  assert.deepEqual(spec.task.container.healthcheck, {
    test: ["CMD-SHELL", "wget -q localhost"],
    intervalMs: 5_000,
    timeoutMs: 1_000,
    retries: 2,
    startPeriodMs: 60_000,
    startIntervalMs: 500,
  });
  const changed = updated(spec, "--health-retries", "7").task.container.healthcheck;
  assert.deepEqual(changed, { ...spec.task.container.healthcheck, retries: 7 });
  assert.deepEqual(healthcheckJson(created(...WORDS).task.container.healthcheck), {
    Test: ["CMD-SHELL", "wget -q localhost"],
    Interval: 5_000_000_000,
    Retries: 2,
  });
});

test("what is set back to nothing is the image's, and a spec that does not change is the same", () => {
  const bare = created();
  assert.equal(bare.task.container.healthcheck, undefined);
  assert.deepEqual(updated(bare), bare);
  assert.deepEqual(
    specDifferences(
      bare,
      updated(created(...WORDS), "--health-cmd", "", "--health-interval", "0", "--health-retries", "0"),
    ),
    [],
  );
  const full = created(...WORDS, ...START, "--init", "--memory-swap", "2g", "--limit-memory", "1g");
  assert.deepEqual(updated(full, ...WORDS, ...START, "--init"), full);
});

test("--no-healthcheck takes the image's check away, alone", () => {
  const none = created("--no-healthcheck");
  assert.deepEqual(none.task.container.healthcheck, { test: ["NONE"] });
  assert.deepEqual(updated(none, "--health-cmd", "true").task.container.healthcheck, { test: ["CMD-SHELL", "true"] });
  assert.throws(
    () => created("--no-healthcheck", "--health-cmd", "true"),
    /--no-healthcheck conflicts with --health-\*/,
  );
});

test("init, the score of memory shortage, swap and swappiness are set and set back", () => {
  const spec = created(
    ...["--init", "--oom-score-adj", "-5", "--limit-memory", "64M", "--memory-swap", "-1"],
    ...["--memory-swappiness", "0"],
  );
  const { container, limits } = spec.task;
  assert.equal(container.init, true);
  assert.equal(container.oomScoreAdj, -5);
  assert.deepEqual([limits.memorySwapBytes, limits.memorySwappiness], [-1, 0]);
  const { task } = updated(spec, "--no-init", "--memory-swap", "0", "--memory-swappiness", "-1");
  assert.equal(task.container.init, false);
  assert.deepEqual([task.limits.memorySwapBytes, task.limits.memorySwappiness], [undefined, undefined]);
});

test("docker's flags for what is not here are refused with the reason", () => {
  for (const flag of ["--network", "--network-add", "--secret", "--config-rm", "--credential-spec", "--isolation"]) {
    const command = addContainerFlags(new Command()).exitOverride();
    assert.throws(
      () => command.parse([flag, "x"], { from: "user" }),
      new RegExp(`^SwarmError: ${flag} is not supported: `),
    );
  }
});

test("a check, a score or a swap that cannot be is refused by its field", () => {
  const bad = (words: readonly string[], message: RegExp): void => {
    const { task } = created(...words);
    assert.throws(() => checkTask({ path: "task", value: task }), message);
  };
  bad(["--memory-swap", "1g"], /task\.limits\.memory_swap_bytes 1073741824 is not valid: it needs a memory limit/);
  bad(["--memory-swap", "1g", "--limit-memory", "2g"], /memory_swap_bytes .* at least the memory limit/);
  const { container } = created().task;
  const check = (test: readonly string[]): void => {
    checkContainer({ path: "task.container", value: { ...container, healthcheck: { test } } });
  };
  for (const test of [["NONE"], ["CMD", "a", "b"], ["CMD-SHELL", "a b"], []]) check(test);
  for (const test of [["NONE", "x"], ["CMD"], ["CMD-SHELL"], ["CMD-SHELL", "a", "b"], ["wget"], ["CMD", ""]])
    assert.throws(() => check(test), /task\.container\.healthcheck\.test .* is not valid: a check is \["NONE"\]/);
  const range = /task\.container\.oom_score_adj 1001 is not valid/;
  assert.throws(() => checkContainer({ path: "task.container", value: { ...container, oomScoreAdj: 1_001 } }), range);
});
