// What a service's tasks look like to someone who waits for it, and when the waiting is over. Pure; progress.ts feeds it
// with changes and draws it.

import { UpdateStatus_State } from "../../../proto/gen/objects.ts";
import type { WholeService, WholeTask } from "../../../proto/model/objects.ts";
import { replicasOf } from "../../../proto/model/service-mode.ts";
import { TaskState, taskStateName, wantsToRun } from "../../../proto/model/task-state.ts";

export interface Slot {
  readonly slot: number;
  /** "running", or why it is not. */
  readonly text: string;
  /** 0 to 1. */
  readonly done: number;
}

export type Outcome =
  | { readonly kind: "waiting" }
  | { readonly kind: "converged" }
  /** It will not get there by itself soon; the reason is a sentence. */
  | { readonly kind: "failed"; readonly reason: string };

export interface Picture {
  readonly running: number;
  readonly wanted: number;
  readonly slots: readonly Slot[];
  readonly outcome: Outcome;
}

const STEPS: readonly TaskState[] = [
  TaskState.NEW,
  TaskState.PENDING,
  TaskState.ASSIGNED,
  TaskState.ACCEPTED,
  TaskState.PREPARING,
  TaskState.READY,
  TaskState.STARTING,
  TaskState.RUNNING,
];

/** Ended tasks of one slot, since the waiting began, that are reason enough to give up. */
const FAILURES_MAX = 3;

/** The service and its tasks as they are, for someone who began to wait at `sinceMs`. */
export function picture(service: WholeService, tasks: readonly WholeTask[], sinceMs: number): Picture {
  const wanted = replicasOf(service.spec) ?? 0;
  const bySlot = new Map<number, WholeTask[]>();
  for (const task of tasks) {
    if (task.specVersion !== service.specVersion) continue;
    bySlot.set(task.slot, [...(bySlot.get(task.slot) ?? []), task]);
  }
  for (const slotTasks of bySlot.values()) slotTasks.sort((a, b) => b.meta.createdAtMs - a.meta.createdAtMs);
  const numbers = [...bySlot]
    .filter(([, slotTasks]) => slotTasks.some((task) => wantsToRun(task.desiredState)))
    .map(([slot]) => slot)
    .sort((a, b) => a - b);
  const slots = numbers.map((slot) => slotView(slot, bySlot.get(slot) ?? []));
  const running = [...bySlot.values()].filter((slotTasks) => slotTasks.some(isUp)).length;
  return { running, wanted, slots, outcome: outcomeOf({ service, bySlot, running, wanted, sinceMs }) };
}

function isUp(task: WholeTask): boolean {
  return task.desiredState === TaskState.RUNNING && task.status.state === TaskState.RUNNING;
}

function slotView(slot: number, tasks: readonly WholeTask[]): Slot {
  const current = tasks.find((task) => wantsToRun(task.desiredState));
  const { state = TaskState.NEW, error = "" } = current?.status ?? {};
  const before = tasks.find((task) => task.status.error !== "");
  if (error !== "") return { slot, text: error, done: 0 };
  // A new attempt waits: what ended the one before is what people want to read.
  if (state < TaskState.STARTING && before !== undefined) return { slot, text: before.status.error, done: 0 };
  return { slot, text: taskStateName(state), done: (STEPS.indexOf(state) + 1) / STEPS.length };
}

function outcomeOf(facts: {
  readonly service: WholeService;
  readonly bySlot: ReadonlyMap<number, readonly WholeTask[]>;
  readonly running: number;
  readonly wanted: number;
  readonly sinceMs: number;
}): Outcome {
  const { service, bySlot, running, wanted, sinceMs } = facts;
  const update = service.updateStatus;
  if (update?.state === UpdateStatus_State.PAUSED)
    return { kind: "failed", reason: `service update paused: ${update.message}` };
  if (running >= wanted && update?.state !== UpdateStatus_State.UPDATING) return { kind: "converged" };
  for (const [slot, tasks] of bySlot) {
    const failed = tasks.filter((task) => task.status.state >= TaskState.FAILED && task.status.atMs >= sinceMs);
    const last = failed[0];
    const givenUp = !tasks.some((task) => wantsToRun(task.desiredState));
    if (last !== undefined && (givenUp || failed.length >= FAILURES_MAX)) {
      return { kind: "failed", reason: `task ${service.spec.name}.${slot}: ${last.status.error}` };
    }
  }
  return { kind: "waiting" };
}
