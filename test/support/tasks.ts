// Tasks for tests, whole and with what a test cares for set.

import { Task, type TaskState, TaskStatus } from "../../proto/gen/objects.ts";
import { type WholeTask, wholeTask } from "../../proto/model/objects.ts";
import { TaskState as States } from "../../proto/model/task-state.ts";

/** "t1" -> an id of the right form that ends with it. */
export function taskId(name: string): string {
  return name.padStart(25, "0");
}

export function makeTask(
  name: string,
  fields: {
    readonly state?: TaskState;
    readonly desired?: TaskState;
    readonly image?: string;
    readonly notBeforeMs?: number;
  } = {},
): WholeTask {
  const task = wholeTask(
    Task.create({
      id: taskId(name),
      serviceId: taskId("web"),
      serviceName: "web",
      slot: 1,
      nodeId: taskId("node"),
      desiredState: fields.desired ?? States.RUNNING,
      notBeforeMs: fields.notBeforeMs ?? 0,
      status: TaskStatus.create({ state: fields.state ?? States.ASSIGNED }),
    }),
  );
  const container = { ...task.spec.container, image: fields.image ?? "web:1" };
  return { ...task, spec: { ...task.spec, container } };
}
