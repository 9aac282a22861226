// When the wait for a service is over, and what it is told meanwhile.

import assert from "node:assert/strict";
import { test } from "node:test";
import { picture } from "../../../deploy/cli/service/convergence.ts";
import { Meta, Service, Task, TaskStatus, UpdateStatus, UpdateStatus_State } from "../../../proto/gen/objects.ts";
import { ServiceSpec } from "../../../proto/gen/specs.ts";
import { type WholeService, type WholeTask, wholeService, wholeTask } from "../../../proto/model/objects.ts";
import { TaskState } from "../../../proto/model/task-state.ts";

function service(replicas: number, update?: UpdateStatus): WholeService {
  const spec = ServiceSpec.create({ name: "web", mode: { $case: "replicated", value: { replicas } } });
  return wholeService(
    Service.create({ id: "s", spec, specVersion: 5, ...(update === undefined ? {} : { updateStatus: update }) }),
  );
}

function task(
  slot: number,
  state: TaskState,
  more: { error?: string; desired?: TaskState; specVersion?: number; madeAt?: number } = {},
): WholeTask {
  return wholeTask(
    Task.create({
      id: `${slot}-${more.madeAt ?? 0}`,
      serviceName: "web",
      slot,
      specVersion: more.specVersion ?? 5,
      meta: Meta.create({ createdAtMs: more.madeAt ?? 0 }),
      desiredState: more.desired ?? TaskState.RUNNING,
      status: TaskStatus.create({ state, error: more.error ?? "", atMs: 100 }),
    }),
  );
}

test("a service has converged when as many slots run as are wanted", () => {
  const tasks = [task(1, TaskState.RUNNING), task(2, TaskState.RUNNING)];
  assert.equal(picture(service(2), tasks, 0).outcome.kind, "converged");
  assert.equal(picture(service(3), tasks, 0).outcome.kind, "waiting");
});

test("tasks of an older spec do not count", () => {
  const view = picture(service(1), [task(1, TaskState.RUNNING, { specVersion: 4 })], 0);
  assert.deepEqual([view.running, view.outcome.kind], [0, "waiting"]);
});

test("an update under way is waited for although all run", () => {
  const updating = UpdateStatus.create({ state: UpdateStatus_State.UPDATING });
  const { outcome } = picture(service(1, updating), [task(1, TaskState.RUNNING)], 0);
  assert.deepEqual(outcome, { kind: "converged", isOver: false });
  const dead = task(1, TaskState.REJECTED, { error: "No such image: web:9", desired: TaskState.SHUTDOWN });
  assert.equal(picture(service(1, updating), [dead], 0).outcome.kind, "waiting", "what fails is the update's to judge");
});

test("a paused update ends the wait with its message, and one that waits behind its canary is as it was asked to be", () => {
  const paused = (state: UpdateStatus_State, canary = 0): unknown =>
    picture(service(1, UpdateStatus.create({ state, canary, message: "because" })), [], 0).outcome;
  assert.deepEqual(paused(UpdateStatus_State.PAUSED), { kind: "failed", reason: "service update paused: because" });
  assert.deepEqual(paused(UpdateStatus_State.ROLLBACK_PAUSED), {
    kind: "failed",
    reason: "service rollback paused: because",
  });
  assert.deepEqual(paused(UpdateStatus_State.PAUSED, 1), { kind: "held", message: "because" });
});

test("a slot shows why its last attempt ended while the next one waits", () => {
  const failed = task(1, TaskState.FAILED, { error: "task: non-zero exit (1)", desired: TaskState.SHUTDOWN });
  const next = task(1, TaskState.READY, { madeAt: 5 });
  assert.equal(picture(service(1), [failed, next], 0).slots[0]?.text, "task: non-zero exit (1)");
});

test("three failures of a slot, or one with nothing after it, end the wait with the reason", () => {
  const dead = (madeAt: number): WholeTask =>
    task(1, TaskState.REJECTED, { error: "No such image: web:9", desired: TaskState.SHUTDOWN, madeAt });
  const alive = task(1, TaskState.READY, { madeAt: 9 });
  assert.equal(picture(service(1), [dead(1), dead(2), alive], 0).outcome.kind, "waiting");
  const failed = { kind: "failed", reason: "task web.1: No such image: web:9" };
  assert.deepEqual(picture(service(1), [dead(1), dead(2), dead(3), alive], 0).outcome, failed);
  assert.deepEqual(picture(service(1), [dead(1)], 0).outcome, failed);
});

test("failures from before the wait began do not count", () => {
  const old = task(1, TaskState.FAILED, { error: "old", desired: TaskState.SHUTDOWN });
  assert.equal(picture(service(1), [old], 200).outcome.kind, "waiting");
});

test("slots are numbered from one, whatever slots there are, and show how far they are", () => {
  const tasks = [task(7, TaskState.RUNNING), task(2, TaskState.PREPARING)];
  const { slots, summary } = picture(service(2), tasks, 0);
  assert.deepEqual(
    slots.map(({ label, text }) => [label, text]),
    [
      ["1/2", "preparing"],
      ["2/2", "running"],
    ],
  );
  assert.equal(slots[1]?.done, 1);
  assert.deepEqual(summary, ["overall progress: 1 out of 2 tasks"]);
});
