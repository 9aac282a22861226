// A task with a status that somebody reported, and when the managers came to know of it: agents' clocks differ, the managers' own
// times are what waits are measured by.

import type { UnixMs } from "../base/clock.ts";
import type { TaskStatus } from "../gen/objects.ts";
import type { WholeTask } from "./objects.ts";
import { TaskState, isEnded } from "./task-state.ts";

export function withStatus(task: WholeTask, status: TaskStatus, now: UnixMs): WholeTask {
  const runs = status.state === TaskState.RUNNING && task.runningAtMs === 0;
  const ends = isEnded(status.state) && task.endedAtMs === 0;
  return {
    ...task,
    status,
    runningAtMs: runs ? now : task.runningAtMs,
    endedAtMs: ends ? now : task.endedAtMs,
  };
}
