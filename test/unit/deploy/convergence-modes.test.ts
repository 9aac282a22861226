// When the wait for a global service or a job is over, and what it is told meanwhile.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { picture } from "../../../deploy/cli/service/convergence.ts";
import type { Outcome } from "../../../deploy/cli/service/picture.ts";
import { JobStatus, Meta, Service, Task, TaskStatus } from "../../../proto/gen/objects.ts";
import { CronSchedule, ServiceSpec } from "../../../proto/gen/specs.ts";
import { type WholeService, type WholeTask, wholeService, wholeTask } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";

const NODES = ["aaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbb"] as const;

function withMode(mode: ServiceSpec["mode"], jobStatus?: Partial<JobStatus>): WholeService {
  const spec = ServiceSpec.create({ name: "work", mode });
  const status = jobStatus === undefined ? {} : { jobStatus: JobStatus.create(jobStatus) };
  return wholeService(Service.create({ id: "s", spec, specVersion: 5, ...status }));
}

function job(totalCompletions: number, maxConcurrent = 0, schedule?: CronSchedule): ServiceSpec["mode"] {
  return { $case: "replicatedJob", value: { totalCompletions, maxConcurrent, schedule } };
}

const GLOBAL: ServiceSpec["mode"] = { $case: "global", value: {} };
const GLOBAL_JOB: ServiceSpec["mode"] = { $case: "globalJob", value: { schedule: undefined } };
const BEGUN: Partial<JobStatus> = { iteration: 2, specVersion: 5 };

let made = 0;

function task(state: TaskState, more: Partial<Task> & { readonly error?: string } = {}): WholeTask {
  const { error = "", ...fields } = more;
  made += 1;
  return wholeTask(
    Task.create({
      id: `t${made}`,
      serviceName: "work",
      specVersion: 5,
      jobIteration: 2,
      meta: Meta.create({ createdAtMs: made }),
      desiredState: TaskState.RUNNING,
      status: TaskStatus.create({ state, error, atMs: 100 }),
      ...fields,
    }),
  );
}

function outcome(service: WholeService, tasks: readonly WholeTask[]): Outcome {
  return picture(service, tasks, 0).outcome;
}

test("a global service has converged when each node that has a task runs one of the newest spec", () => {
  const [a, b] = NODES;
  const up = task(TaskState.RUNNING, { nodeId: a });
  const view = picture(withMode(GLOBAL), [up, task(TaskState.PREPARING, { nodeId: b })], 0);
  assert.deepEqual([view.outcome.kind, view.summary], ["waiting", ["overall progress: 1 out of 2 tasks"]]);
  assert.deepEqual(
    view.slots.map(({ label, text }) => `${label}: ${text}`),
    ["aaaaaaaaaaaa: running", "bbbbbbbbbbbb: preparing"],
  );
  const old = task(TaskState.RUNNING, { nodeId: b, specVersion: 4 });
  assert.equal(outcome(withMode(GLOBAL), [up, old]).kind, "waiting");
  const other = task(TaskState.RUNNING, { nodeId: b });
  assert.deepEqual(outcome(withMode(GLOBAL), [up, other]), { kind: "converged", isOver: true });
});

test("a global service that has no task yet is waited for", () => {
  const view = picture(withMode(GLOBAL), [], 0);
  assert.deepEqual([view.outcome.kind, view.summary], ["waiting", ["overall progress: waiting for new tasks"]]);
});

test("a node that lost its task is not waited for", () => {
  const [a, b] = NODES;
  const gone = task(TaskState.SHUTDOWN, { nodeId: b, desiredState: TaskState.SHUTDOWN });
  assert.equal(outcome(withMode(GLOBAL), [task(TaskState.RUNNING, { nodeId: a }), gone]).kind, "converged");
});

test("a job is complete when as many slots as it asks for have ended well", () => {
  const done = [1, 2].map((slot) => task(TaskState.COMPLETE, { slot }));
  const view = picture(withMode(job(10, 3), BEGUN), [...done, task(TaskState.RUNNING, { slot: 3 })], 0);
  assert.deepEqual(view.summary, ["job progress:  2 out of 10 complete", "active tasks: 1 out of 3 tasks"]);
  assert.deepEqual(
    view.slots.map(({ label, text }) => `${label}: ${text}`),
    ["1/10: complete", "2/10: complete", "3/10: running"],
  );
  assert.deepEqual([view.outcome.kind, view.isPatient], ["waiting", true]);
  assert.deepEqual(outcome(withMode(job(2), BEGUN), done), { kind: "complete", message: "job complete" });
});

test("tasks of an earlier run, and a run of an earlier spec, do not count", () => {
  const old = [1, 2].map((slot) => task(TaskState.COMPLETE, { slot, jobIteration: 1 }));
  assert.equal(outcome(withMode(job(2), BEGUN), old).kind, "waiting");
  const done = [1, 2].map((slot) => task(TaskState.COMPLETE, { slot }));
  assert.equal(outcome(withMode(job(2), { iteration: 2, specVersion: 4 }), done).kind, "waiting");
  assert.equal(outcome(withMode(job(0)), []).kind, "waiting", "it has not begun");
  assert.equal(outcome(withMode(job(0), BEGUN), []).kind, "complete", "nothing was asked for");
});

test("a global job is complete when it has ended well on each node that it began on", () => {
  const [a, b] = NODES;
  const service = withMode(GLOBAL_JOB, BEGUN);
  assert.equal(outcome(service, []).kind, "waiting");
  const done = task(TaskState.COMPLETE, { nodeId: a });
  const view = picture(service, [done, task(TaskState.STARTING, { nodeId: b })], 0);
  assert.deepEqual([view.outcome.kind, view.summary], ["waiting", ["job progress: 1 out of 2 complete"]]);
  assert.equal(outcome(service, [done, task(TaskState.COMPLETE, { nodeId: b })]).kind, "complete");
});

test("a job that failed and may not try again, or failed three times in a place, ends the wait with the reason", () => {
  const failed = (): WholeTask =>
    task(TaskState.FAILED, { slot: 1, error: "task: non-zero exit (1)", desiredState: TaskState.SHUTDOWN });
  const reason = { kind: "failed", reason: "task work.1: task: non-zero exit (1)" };
  const service = withMode(job(1), BEGUN);
  assert.deepEqual(outcome(service, [failed()]), reason);
  const next = task(TaskState.READY, { slot: 1 });
  assert.equal(outcome(service, [failed(), next]).kind, "waiting");
  assert.deepEqual(outcome(service, [failed(), failed(), failed(), next]), reason);
  const onNode = { ...failed(), slot: 0, nodeId: NODES[0] };
  assert.deepEqual(outcome(withMode(GLOBAL_JOB, BEGUN), [onNode]), {
    kind: "failed",
    reason: `task work.${NODES[0]}: task: non-zero exit (1)`,
  });
});

test("a job that was tried again and ended well has not failed", () => {
  const failed = task(TaskState.FAILED, { slot: 1, desiredState: TaskState.SHUTDOWN });
  const done = task(TaskState.COMPLETE, { slot: 1, desiredState: TaskState.SHUTDOWN });
  const service = withMode(job(2), BEGUN);
  assert.equal(outcome(service, [failed, done]).kind, "waiting");
  assert.equal(outcome(service, [failed, done, task(TaskState.COMPLETE, { slot: 2 })]).kind, "complete");
});

test("a job with a schedule is not waited for: its next run is told", () => {
  const scheduled = job(1, 0, CronSchedule.create({ expression: "@daily" }));
  const at = Date.UTC(2030, 0, 1);
  assert.deepEqual(outcome(withMode(scheduled, { specVersion: 5, nextRunAtMs: at }), []), {
    kind: "complete",
    message: "job schedule: next run at 2030-01-01T00:00:00.000Z",
  });
  assert.deepEqual(outcome(withMode(scheduled, { specVersion: 5, message: "no such zone" }), []), {
    kind: "complete",
    message: "job schedule: no next run: no such zone",
  });
  assert.equal(outcome(withMode(scheduled), []).kind, "waiting", "no manager has read the schedule yet");
});

test("a job is told to be complete exactly when enough slots have a task of the run that ended well", () => {
  const { COMPLETE, FAILED, RUNNING, STARTING } = TaskState;
  const states = fc.constantFrom<TaskState>(COMPLETE, FAILED, RUNNING, STARTING);
  const tasksOf = fc.array(
    fc.record({ slot: fc.integer({ min: 1, max: 4 }), state: states, run: fc.integer({ min: 1, max: 2 }) }),
  );
  fc.assert(
    fc.property(tasksOf, fc.integer({ min: 0, max: 5 }), (facts, total) => {
      const tasks = facts.map(({ slot, state, run }) => task(state, { slot, jobIteration: run }));
      const done = new Set(facts.filter(({ state, run }) => run === 2 && state === COMPLETE).map(({ slot }) => slot));
      const view = picture(withMode(job(total), BEGUN), tasks, 0);
      assert.equal(view.outcome.kind === "complete", done.size >= total);
      assert.equal(view.running, done.size);
    }),
  );
});
