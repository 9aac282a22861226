// What people call a task: "web.1", and "web.<node id>" where tasks belong to nodes.

import type { Task } from "../gen/objects.ts";

export function taskName(task: Pick<Task, "serviceName" | "slot" | "nodeId">): string {
  return `${task.serviceName}.${task.slot === 0 ? task.nodeId : task.slot}`;
}
