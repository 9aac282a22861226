// What someone who waits for a service is shown, and when the waiting is over: the words that services and jobs have in common. Pure.

import type { WholeService, WholeTask } from "../../../proto/model/objects.ts";
import { isGlobal } from "../../../proto/model/service-mode.ts";
import { taskName } from "../../../proto/model/task-name.ts";
import { TaskState, taskStateName, wantsToRun } from "../../../proto/model/task-state.ts";
import { SHORT_ID } from "./ls.ts";

export interface Slot {
  /** "1/3", or the node's id where tasks belong to nodes. */
  readonly label: string;
  /** "running", or why it is not. */
  readonly text: string;
  /** 0 to 1. */
  readonly done: number;
}

export type Outcome =
  | { readonly kind: "waiting" }
  /** All run; `isOver` says whether the update that brought them there has nothing left to do. */
  | { readonly kind: "converged"; readonly isOver: boolean }
  /** Of a job: there is nothing left to wait for, and nothing that could still fail. */
  | { readonly kind: "complete"; readonly message: string }
  /** The update waits for a person, as it was asked to; the message says for what. */
  | { readonly kind: "held"; readonly message: string }
  /** It will not get there by itself soon; the reason is a sentence. */
  | { readonly kind: "failed"; readonly reason: string };

export interface Picture {
  /** Tasks that are as they are to be, of a job those that are complete. */
  readonly running: number;
  readonly wanted: number;
  /** "1 out of 3 tasks". */
  readonly standing: string;
  /** The lines above the slots. */
  readonly summary: readonly string[];
  readonly slots: readonly Slot[];
  /** Is it no bad sign when nothing changes for long? */
  readonly isPatient: boolean;
  readonly outcome: Outcome;
}

/** The tasks of each slot or, where tasks belong to nodes, of each node, newest first. */
export type Places = ReadonlyMap<string, readonly WholeTask[]>;

/** Ended tasks of one slot, since the waiting began, that are reason enough to give up. */
const FAILURES_MAX = 3;

export function placesOf(tasks: readonly WholeTask[]): Places {
  const places = new Map<string, WholeTask[]>();
  const sorted = [...tasks].sort((a, b) => a.slot - b.slot || (a.nodeId < b.nodeId ? -1 : 1));
  for (const task of sorted) {
    const name = placeOf(task);
    const there = places.get(name);
    if (there === undefined) places.set(name, [task]);
    else there.push(task);
  }
  for (const there of places.values()) there.sort((a, b) => b.meta.createdAtMs - a.meta.createdAtMs);
  return places;
}

/** Slots have numbers, ids of nodes are longer than any of them. */
export function placeOf({ slot, nodeId }: Pick<WholeTask, "slot" | "nodeId">): string {
  return slot === 0 ? nodeId : String(slot);
}

/** One line for each place. `last` is the state that fills the bar. */
export function slotViews(
  places: Places,
  facts: { readonly service: WholeService; readonly wanted: number; readonly last: TaskState },
): readonly Slot[] {
  const { service, wanted, last } = facts;
  return [...places].map(([name, tasks], index) => ({
    label: isGlobal(service.spec) ? name.slice(0, SHORT_ID) : `${index + 1}/${wanted}`,
    ...slotView(tasks, last),
  }));
}

function slotView(tasks: readonly WholeTask[], last: TaskState): Pick<Slot, "text" | "done"> {
  const current = tasks.find((task) => wantsToRun(task.desiredState)) ?? tasks[0];
  const { state = TaskState.NEW, error = "" } = current?.status ?? {};
  const before = tasks.find((task) => task.status.error !== "");
  if (error !== "") return { text: error, done: 0 };
  // A new attempt waits: what ended the one before is what people want to read.
  if (state < TaskState.STARTING && before !== undefined) return { text: before.status.error, done: 0 };
  return { text: taskStateName(state), done: stepOf(state) / stepOf(last) };
}

const STATES: readonly TaskState[] = Object.values(TaskState).sort((a, b) => a - b);

function stepOf(state: TaskState): number {
  return STATES.indexOf(state) + 1;
}

/** The reason when a place has failed too often, or for good, since the waiting began. */
export function failureOf(places: Places, sinceMs: number): string | undefined {
  for (const tasks of places.values()) {
    const failed = tasks.filter((task) => task.status.state >= TaskState.FAILED && task.status.atMs >= sinceMs);
    const [last] = failed;
    const givenUp = !tasks.some((task) => wantsToRun(task.desiredState) || task.status.state === TaskState.COMPLETE);
    if (last !== undefined && (givenUp || failed.length >= FAILURES_MAX))
      return `task ${taskName(last)}: ${last.status.error}`;
  }
  return undefined;
}
