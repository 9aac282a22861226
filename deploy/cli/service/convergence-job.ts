// What a job looks like to someone who waits for it: how much of its newest run is complete. A job with a schedule is not waited for.
// Pure.

import type { JobStatus } from "../../../proto/gen/objects.ts";
import type { WholeService, WholeTask } from "../../../proto/model/objects.ts";
import { completionsOf, isGlobal, maxConcurrentOf, scheduleOf } from "../../../proto/model/service-mode.ts";
import { TaskState, isEnded } from "../../../proto/model/task-state.ts";
import { isoTime } from "../../docker/spec.ts";
import { type Outcome, type Picture, failureOf, placesOf, slotViews } from "./picture.ts";

export function jobPicture(service: WholeService, tasks: readonly WholeTask[], sinceMs: number): Picture {
  const { jobStatus, spec } = service;
  if (jobStatus === undefined || jobStatus.specVersion !== service.specVersion) return unbegun({ kind: "waiting" });
  if (scheduleOf(spec) !== undefined) return unbegun({ kind: "complete", message: scheduleText(jobStatus) });
  const places = placesOf(tasks.filter((task) => task.jobIteration === jobStatus.iteration));
  // A global job is to end on every node that it has begun on: its tasks are made at once.
  if (isGlobal(spec) && places.size === 0) return unbegun({ kind: "waiting" });
  const total = completionsOf(spec) ?? places.size;
  const states = [...places.values()].map((there) => there.map(({ status }) => status.state));
  const complete = states.filter((there) => there.includes(TaskState.COMPLETE)).length;
  const active = states.filter((there) => there.some((state) => !isEnded(state))).length;
  const standing = `${String(complete).padStart(String(total).length)} out of ${total} complete`;
  const atOnce = Math.min(maxConcurrentOf(spec) ?? total, Math.max(0, total - complete));
  return {
    running: complete,
    wanted: total,
    standing: standing.trim(),
    summary: [
      `job progress: ${standing}`,
      ...(isGlobal(spec) ? [] : [`active tasks: ${active} out of ${atOnce} tasks`]),
    ],
    slots: slotViews(places, { service, wanted: total, last: TaskState.COMPLETE }),
    isPatient: states.flat().includes(TaskState.RUNNING),
    outcome:
      complete >= total ? { kind: "complete", message: "job complete" } : failureOrWait(failureOf(places, sinceMs)),
  };
}

function unbegun(outcome: Outcome): Picture {
  const standing = "waiting for tasks";
  const summary = outcome.kind === "waiting" ? [`job progress: ${standing}`] : [];
  return { running: 0, wanted: 0, standing, summary, slots: [], isPatient: false, outcome };
}

function failureOrWait(reason: string | undefined): Outcome {
  return reason === undefined ? { kind: "waiting" } : { kind: "failed", reason };
}

function scheduleText({ nextRunAtMs, message }: JobStatus): string {
  if (nextRunAtMs === 0) return `job schedule: no next run: ${message}`;
  return `job schedule: next run at ${isoTime(nextRunAtMs)}`;
}
