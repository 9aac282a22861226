// What `service inspect --pretty` says of each mode.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pretty } from "../../../deploy/cli/format/pretty.ts";
import { prettyService } from "../../../deploy/cli/service/pretty.ts";
import { modeSections } from "../../../deploy/cli/service/pretty-mode.ts";
import { JobStatus, Service } from "../../../proto/gen/objects.ts";
import { CronSchedule, CronSchedule_Concurrency, ServiceSpec } from "../../../proto/gen/specs.ts";
import { wholeService } from "../../../proto/model/objects.ts";

const NOW_MS = Date.UTC(2030, 0, 1, 12);

function shown(mode: ServiceSpec["mode"], status?: Partial<JobStatus>): readonly string[] {
  const spec = ServiceSpec.create({ name: "web", mode });
  const jobStatus = status === undefined ? {} : { jobStatus: JobStatus.create(status) };
  const text = pretty(modeSections(wholeService(Service.create({ spec, ...jobStatus })), NOW_MS));
  return text.split("\n").map((line) => line.replace(/: +/, ": "));
}

test("the mode stands beside its heading, and what it counts below", () => {
  assert.deepEqual(shown({ $case: "replicated", value: { replicas: 3 } }), [
    "Service Mode: Replicated",
    " Replicas: 3",
    "",
  ]);
  assert.deepEqual(shown({ $case: "replicated", value: { replicas: 0 } })[1], " Replicas: 0");
  assert.deepEqual(shown({ $case: "global", value: {} }), ["Service Mode: Global", ""]);
});

test("a job tells how far it is, and one with a schedule when it runs next", () => {
  const schedule = CronSchedule.create({ expression: "@daily", concurrency: CronSchedule_Concurrency.REPLACE });
  const job: ServiceSpec["mode"] = {
    $case: "replicatedJob",
    value: { maxConcurrent: 0, totalCompletions: 2, schedule },
  };
  const status = {
    iteration: 4,
    startedAtMs: NOW_MS - 120_000,
    nextRunAtMs: Date.UTC(2030, 0, 2),
    skipped: 1,
    message: "why",
  };
  assert.deepEqual(shown(job, status), [
    "Service Mode: Replicated Job",
    " Max Concurrent: 2",
    " Total Completions: 2",
    " Schedule: @daily (UTC)",
    " Concurrency Policy: replace",
    "Job Status:",
    " Iteration: 4",
    " Last Execution: 2 minutes ago",
    " Next Run: 2030-01-02T00:00:00.000Z",
    " Skipped: 1",
    " Message: why",
    "",
  ]);
});

test("a job shows the restart policy in force, and no config of updates, which it cannot have", () => {
  const service = (mode: ServiceSpec["mode"]): string =>
    prettyService(wholeService(Service.create({ spec: ServiceSpec.create({ name: "web", mode }) })), NOW_MS);
  const job = service({
    $case: "replicatedJob",
    value: { maxConcurrent: 0, totalCompletions: 1, schedule: undefined },
  });
  assert.match(job, /^RestartPolicy:\n Condition: +on-failure$/m);
  assert.doesNotMatch(job, /UpdateConfig|RollbackConfig/);
  const global = service({ $case: "global", value: {} });
  assert.match(global, /^RestartPolicy:\n Condition: +any$/m);
  assert.match(global, /^UpdateConfig:\n[^]*^RollbackConfig:\n/m);
});
