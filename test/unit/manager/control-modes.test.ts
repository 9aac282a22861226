// Modes of services at the door: what is refused, and how tasks are counted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { serviceWithCounts } from "../../../manager/control/service-counts.ts";
import { validateServiceSpec } from "../../../manager/control/validate-service.ts";
import {
  ContainerSpec,
  CronSchedule,
  CronSchedule_Concurrency,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from "../../../proto/gen/specs.ts";
import { type WholeServiceSpec, wholeServiceSpec } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";
import { FakeCluster } from "../../support/fake-cluster.ts";

type Mode = WholeServiceSpec["mode"];

function withMode(mode: Mode, change: Partial<ServiceSpec> = {}): WholeServiceSpec {
  const task = TaskSpec.create({ container: ContainerSpec.create({ image: "web:1" }) });
  return wholeServiceSpec({ ...ServiceSpec.create({ name: "web", task }), mode, ...change });
}

const GLOBAL: Mode = { $case: "global", value: {} };

function job(change: { maxConcurrent?: number; totalCompletions?: number; schedule?: Partial<CronSchedule> }): Mode {
  const { maxConcurrent = 0, totalCompletions = 1 } = change;
  const schedule = change.schedule === undefined ? undefined : CronSchedule.create(change.schedule);
  return { $case: "replicatedJob", value: { maxConcurrent, totalCompletions, schedule } };
}

function globalJob(schedule?: Partial<CronSchedule>): Mode {
  return { $case: "globalJob", value: { schedule: schedule && CronSchedule.create(schedule) } };
}

test("every mode is let in, with what belongs to it", () => {
  const { FORBID, REPLACE, ALLOW } = CronSchedule_Concurrency;
  const modes: readonly Mode[] = [
    GLOBAL,
    job({ maxConcurrent: 2, totalCompletions: 5 }),
    job({ totalCompletions: 0 }),
    job({ schedule: { expression: "*/5 * * * *", timeZone: "Europe/Berlin", concurrency: FORBID } }),
    job({ maxConcurrent: 3, totalCompletions: 3, schedule: { expression: "@daily", concurrency: ALLOW } }),
    globalJob(),
    globalJob({ expression: "0 3 * * sun", concurrency: REPLACE }),
  ];
  for (const mode of modes) validateServiceSpec(withMode(mode));
});

test("what does not go with a mode is refused with the field and the reason", () => {
  const every = { expression: "* * * * *" };
  const placement = { ...wholeServiceSpec(undefined).task.placement, maxReplicasPerNode: 1 };
  const perNode = { task: TaskSpec.create({ container: ContainerSpec.create({ image: "a" }), placement }) };
  const update = UpdateConfig.create({ parallelism: 2 });
  const cases: readonly (readonly [WholeServiceSpec, string, string | RegExp])[] = [
    [
      withMode(job({ maxConcurrent: 100_001 })),
      "replicated_job.max_concurrent",
      "replicated_job.max_concurrent 100001 is not valid: it must be a whole number from 0 to 100000",
    ],
    [withMode(job({ totalCompletions: -1 })), "replicated_job.total_completions", /-1 is not valid/],
    [withMode(job({}), { update }), "update", "Jobs may not have an update config"],
    [withMode(globalJob(), { rollback: update }), "rollback", "Jobs may not have a rollback config"],
    [
      withMode(GLOBAL, perNode),
      "task.placement.max_replicas_per_node",
      "replicas-max-per-node can only be used with replicated or replicated-job mode",
    ],
    [
      withMode(job({ schedule: { expression: "61 * * * *" } })),
      "replicated_job.schedule.expression",
      /^invalid schedule "61 \* \* \* \*": "61" is no minute/,
    ],
    [
      withMode(job({ schedule: { expression: "0 0 31 2 *" } })),
      "replicated_job.schedule.expression",
      'invalid schedule "0 0 31 2 *": no day matches it, so it would never run',
    ],
    [
      withMode(globalJob({ ...every, timeZone: "Berlin" })),
      "global_job.schedule.time_zone",
      'invalid time zone "Berlin": it must be an IANA name, for example Europe/Berlin',
    ],
    [
      withMode(globalJob({ ...every, concurrency: CronSchedule_Concurrency.ALLOW })),
      "global_job.schedule.concurrency",
      /where a node has one task: use forbid or replace$/,
    ],
    [
      withMode(
        job({
          maxConcurrent: 1,
          totalCompletions: 2,
          schedule: { ...every, concurrency: CronSchedule_Concurrency.ALLOW },
        }),
      ),
      "replicated_job.max_concurrent",
      /^concurrency policy allow needs all 2 tasks of a run at once/,
    ],
  ];
  for (const [spec, field, message] of cases)
    assert.throws(
      () => validateServiceSpec(spec),
      (error: Error & { code?: string; details?: Readonly<Record<string, string>> }) => {
        assert.deepEqual([error.code, error.details?.["field"]], ["InvalidArgument", field]);
        if (typeof message === "string") assert.equal(error.message, message);
        else assert.match(error.message, message);
        return true;
      },
    );
});

test("tasks are counted as Docker counts them", () => {
  const counts = (mode: Mode, prepare: (fake: FakeCluster) => void = () => undefined): readonly number[] => {
    const fake = new FakeCluster();
    for (const id of ["n1", "n2", "n3"]) fake.addNode(id);
    fake.createService("s1", withMode(mode));
    prepare(fake);
    fake.settle();
    const { runningTasks, desiredTasks, completedTasks } = serviceWithCounts(fake.view, fake.service("s1"));
    return [runningTasks, desiredTasks, completedTasks];
  };
  assert.deepEqual(counts({ $case: "replicated", value: { replicas: 2 } }), [2, 2, 0]);
  assert.deepEqual(counts(GLOBAL), [3, 3, 0]);
  const first = (fake: FakeCluster): void => {
    fake.jobEnd = (task) => (task.slot < 3 && task.nodeId !== "n3" ? TaskState.COMPLETE : undefined);
  };
  assert.deepEqual(counts(job({ maxConcurrent: 2, totalCompletions: 2 })), [0, 2, 2]);
  assert.deepEqual(counts(globalJob(), first), [1, 1, 2]);
  assert.deepEqual(counts(globalJob()), [0, 0, 3]);
});
