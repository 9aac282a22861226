// Tasks as people ask for them: lists with Docker's filters, and the one task that a name means.

import { SwarmError } from "../../proto/base/errors.ts";
import type { ListRequest, ListTasksResponse, RefRequest } from "../../proto/gen/control.ts";
import type { Task } from "../../proto/gen/objects.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState, taskStateName, wantsToRun } from "../../proto/model/task-state.ts";
import type { ReadTx } from "../store/tx.ts";
import { type FilterTable, compileFilters, hasLabel } from "./filters.ts";
import { findNode } from "./nodes.ts";
import { resolve } from "./resolve.ts";
import { findService } from "./services.ts";
import { taskName } from "../../proto/model/task-name.ts";
import { compareText } from "./text.ts";

export function listTasks(view: ReadTx, { filters }: ListRequest): ListTasksResponse {
  const holds = compileFilters(filters, taskFilters(view));
  const tasks = [...view.tasks.all()].filter(holds);
  return { tasks: tasks.sort(byServiceSlotAge) };
}

export function getTask(view: ReadTx, { ref }: RefRequest): Task {
  return findTask(view, ref);
}

/**
 * The task that `ref` means: an id or the beginning of one, "web.1.<id>", or "web.1": of a slot's tasks the one that runs, else the
 * one that is to run, else the newest. Throws NotFound or InvalidArgument.
 */
export function findTask(view: ReadTx, ref: string): WholeTask {
  const inSlot = [...view.tasks.all()].filter((task) => taskName(task) === ref);
  const [chosen] = inSlot.sort((a, b) => liveliness(b) - liveliness(a) || b.meta.createdAtMs - a.meta.createdAtMs);
  if (chosen !== undefined) return chosen;
  return resolve(ref, {
    noun: "task",
    byId: (id) => view.tasks.get(id),
    all: () => view.tasks.all(),
    byName: (name) => view.tasks.all().filter((task) => `${taskName(task)}.${task.id}` === name),
  });
}

function liveliness(task: WholeTask): number {
  if (!wantsToRun(task.desiredState)) return task.status.state === TaskState.RUNNING ? 1 : 0;
  return task.status.state === TaskState.RUNNING ? 3 : 2;
}

function byServiceSlotAge(a: WholeTask, b: WholeTask): number {
  return (
    compareText(a.serviceName, b.serviceName) ||
    a.slot - b.slot ||
    (a.slot === 0 ? compareText(a.nodeId, b.nodeId) : 0) ||
    b.meta.createdAtMs - a.meta.createdAtMs ||
    compareText(a.id, b.id)
  );
}

const STATE_NAMES: ReadonlyMap<string, TaskState> = new Map(
  Object.values(TaskState).map((state) => [taskStateName(state), state]),
);

function taskFilters(view: ReadTx): FilterTable<WholeTask> {
  return {
    id: (value) => (task) => task.id.startsWith(value),
    name: (value) => (task) => `${taskName(task)}.${task.id}`.startsWith(value),
    label: (value) => (task) => hasLabel(task.spec.container.labels, value),
    service: (value) => {
      const { id } = findService(view, value);
      return (task) => task.serviceId === id;
    },
    node: (value) => {
      const { id } = findNode(view, value);
      return (task) => task.nodeId === id;
    },
    "desired-state": (value) => {
      const state = STATE_NAMES.get(value.toLowerCase());
      if (state === undefined)
        throw new SwarmError(
          "InvalidArgument",
          `invalid desired-state filter: '${value}': it is one of running, shutdown, accepted`,
        );
      return (task) => task.desiredState === state;
    },
  };
}
