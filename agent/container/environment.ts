// What a task is told of itself in its environment, for logs and answers of the program in it:
// TSSWARM_TASK_ID, TSSWARM_TASK_NAME (web.1.<id>, web.<node id>.<id>), TSSWARM_SERVICE_NAME, TSSWARM_NODE_HOSTNAME; and in Docker's form the generic
// resources that it was given.

import { resourceVariables } from "../../proto/model/generic-resource.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { taskName } from "../../proto/model/task-name.ts";

/** `env` (KEY=VALUE each) with the task's variables added, save those that the user or the image has set. */
export function withTaskEnvironment(env: readonly string[], task: WholeTask, nodeHostname: string): string[] {
  const set = new Set(env.map((entry) => entry.split("=", 1)[0]));
  const own = {
    TSSWARM_TASK_ID: task.id,
    TSSWARM_TASK_NAME: `${taskName(task)}.${task.id}`,
    TSSWARM_SERVICE_NAME: task.serviceName,
    TSSWARM_NODE_HOSTNAME: nodeHostname,
    ...resourceVariables(task.generic),
  };
  const added = Object.entries(own).filter(([name]) => !set.has(name));
  return [...env, ...added.map(([name, value]) => `${name}=${value}`)];
}
