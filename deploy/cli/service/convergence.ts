// What a service's tasks look like to someone who waits for it, and when the waiting is over. Pure; progress.ts feeds it
// with changes and draws it.

import type { WholeService, WholeTask } from "../../../proto/model/objects.ts";
import { replicasOf } from "../../../proto/model/service-mode.ts";
import { TaskState, taskStateName, wantsToRun } from "../../../proto/model/task-state.ts";
import { isPaused, isRollback, isUnderWay } from "../../../proto/model/update-plan.ts";

export interface Slot {
  readonly slot: number;
  /** "running", or why it is not. */
  readonly text: string;
  /** 0 to 1. */
  readonly done: number;
}

export type Outcome =
  | { readonly kind: "waiting" }
  /** All run; `isOver` says whether the update that brought them there has nothing left to do. */
  | { readonly kind: "converged"; readonly isOver: boolean }
  /** The update waits for a person, as it was asked to; the message says for what. */
  | { readonly kind: "held"; readonly message: string }
  /** It will not get there by itself soon; the reason is a sentence. */
  | { readonly kind: "failed"; readonly reason: string };

export interface Picture {
  readonly running: number;
  readonly wanted: number;
  readonly slots: readonly Slot[];
  /** It is on its way back to the spec before. */
  readonly isRollback: boolean;
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
  const isBack = isUnderWay(service.updateStatus) && isRollback(service.updateStatus);
  const outcome = outcomeOf({ service, bySlot, running, wanted, sinceMs });
  return { running, wanted, slots, isRollback: isBack, outcome };
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
  const { updateStatus: update } = service;
  if (isPaused(update)) {
    if (update.canary > 0) return { kind: "held", message: update.message };
    return {
      kind: "failed",
      reason: `service ${isRollback(update) ? "rollback" : "update"} paused: ${update.message}`,
    };
  }
  const isOver = !isUnderWay(update);
  if (running >= wanted) return { kind: "converged", isOver };
  // What is too much of a failure is the update's to say.
  if (!isOver) return { kind: "waiting" };
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
