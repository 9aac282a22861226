// From a command line to the mode of a service: each flag where its mode has it, and a refusal in Docker's words where not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createSpec } from "../../../deploy/cli/service/create.ts";
import { withReplicas } from "../../../deploy/cli/service/flags-mode.ts";
import { updatedSpec } from "../../../deploy/cli/service/update.ts";
import { modeJson } from "../../../deploy/docker/mode.ts";
import { CronSchedule_Concurrency } from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeServiceSpec } from "../../../proto/model/objects.ts";

type Mode = WholeServiceSpec["mode"];

function spec(given: Readonly<Record<string, string>>): WholeServiceSpec {
  return wholeServiceSpec(createSpec({ image: "web:1", args: [], given: { name: "web", ...given }, shell: {} }));
}

function updated(before: WholeServiceSpec, given: Readonly<Record<string, string>>): Mode {
  return wholeServiceSpec(updatedSpec(before, given, {})).mode;
}

const CRON = { mode: "replicated-job", schedule: "*/5 * * * *" };

test("each mode has one task to begin with, or one on each node", () => {
  assert.deepEqual(spec({}).mode, { $case: "replicated", value: { replicas: 1 } });
  assert.deepEqual(spec({ mode: "global" }).mode, { $case: "global", value: {} });
  const value = { maxConcurrent: 0, totalCompletions: 1, schedule: undefined };
  assert.deepEqual(spec({ mode: "replicated-job" }).mode, { $case: "replicatedJob", value });
  assert.deepEqual(spec({ mode: "global-job" }).mode, { $case: "globalJob", value: { schedule: undefined } });
});

test("replicas of a job are its completions, of which as many as that run at once unless told otherwise", () => {
  const ten = spec({ mode: "replicated-job", replicas: "10" });
  assert.deepEqual(modeJson(ten), { ReplicatedJob: { MaxConcurrent: 10, TotalCompletions: 10 } });
  const two = spec({ mode: "replicated-job", replicas: "10", maxConcurrent: "2" });
  assert.deepEqual(modeJson(two), { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 10 } });
});

test("a schedule has a time zone and says what becomes of a run whose forerunner has not ended", () => {
  const given = { ...CRON, scheduleTimeZone: "Europe/Berlin", concurrencyPolicy: "Replace" };
  assert.deepEqual(modeJson(spec(given)), {
    ReplicatedJob: {
      MaxConcurrent: 1,
      TotalCompletions: 1,
      Schedule: { Expression: "*/5 * * * *", TimeZone: "Europe/Berlin", ConcurrencyPolicy: "replace" },
    },
  });
  assert.deepEqual(modeJson(spec({ mode: "global-job", schedule: "@daily" })), {
    GlobalJob: { Schedule: { Expression: "@daily", TimeZone: "UTC", ConcurrencyPolicy: "forbid" } },
  });
});

test("an update changes what the mode has: replicas, how many at once, the schedule part by part, and no schedule", () => {
  const { FORBID, ALLOW } = CronSchedule_Concurrency;
  assert.deepEqual(updated(spec({}), { replicas: "4" }), { $case: "replicated", value: { replicas: 4 } });
  const cron = spec({ ...CRON, scheduleTimeZone: "Asia/Tokyo", concurrencyPolicy: "allow" });
  const job = { maxConcurrent: 0, totalCompletions: 1 };
  const later = { expression: "@daily", timeZone: "Asia/Tokyo", concurrency: ALLOW };
  assert.deepEqual(updated(cron, { schedule: "@daily" }), {
    $case: "replicatedJob",
    value: { ...job, schedule: later },
  });
  const stricter = { expression: "*/5 * * * *", timeZone: "Asia/Tokyo", concurrency: FORBID };
  assert.deepEqual(updated(cron, { concurrencyPolicy: "forbid" }), {
    $case: "replicatedJob",
    value: { ...job, schedule: stricter },
  });
  assert.deepEqual(updated(cron, { schedule: "" }), { $case: "replicatedJob", value: { ...job, schedule: undefined } });
  assert.deepEqual(updated(cron, { maxConcurrent: "3", replicas: "7" }), {
    $case: "replicatedJob",
    value: { maxConcurrent: 3, totalCompletions: 7, schedule: { ...stricter, concurrency: ALLOW } },
  });
});

test("a flag that the mode does not have is refused in Docker's words", () => {
  const refused = (given: Readonly<Record<string, string>>, message: string): void => {
    assert.throws(() => spec(given), { code: "InvalidArgument", message });
  };
  refused({ mode: "swarm" }, "Unknown mode: swarm, only replicated, global, replicated-job, global-job supported");
  const replicas = "replicas can only be used with replicated or replicated-job mode";
  refused({ mode: "global", replicas: "2" }, replicas);
  refused({ mode: "global-job", replicas: "2" }, replicas);
  const atOnce = "max-concurrent can only be used with replicated-job mode";
  for (const mode of ["replicated", "global", "global-job"]) refused({ mode, maxConcurrent: "2" }, atOnce);
  const schedule = "schedule can only be used with replicated-job or global-job mode";
  for (const mode of ["replicated", "global"]) refused({ mode, schedule: "@daily" }, schedule);
  const zone = "--schedule-time-zone can only be used with a schedule: give one with --schedule";
  refused({ mode: "replicated-job", scheduleTimeZone: "Europe/Berlin" }, zone);
  const policy = 'invalid --concurrency-policy "queue": it must be one of forbid, replace, allow';
  refused({ ...CRON, concurrencyPolicy: "queue" }, policy);
});

test("who scales is refused where there is no number of replicas", () => {
  for (const mode of ["global", "global-job"])
    assert.throws(() => withReplicas(spec({ mode }).mode, 3, "scale cannot"), { message: "scale cannot" });
  const { mode } = spec({ mode: "replicated-job", maxConcurrent: "2" });
  const value = { maxConcurrent: 2, totalCompletions: 3, schedule: undefined };
  assert.deepEqual(withReplicas(mode, 3, ""), { $case: "replicatedJob", value });
});
