// The slots of a service and what their tasks say. A slot is the place of one replica, or of a service's task on one node; tasks
// come and go in it. Invariant of the whole orchestrator: at most one task of a slot is wanted, and beside it at most the one
// that it replaces, which runs on until its successor does.

import { NodeStatus_State } from "../../proto/gen/objects.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { restartPolicyOf } from "../../proto/model/service-mode.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { type SlotName, slotKey } from "../store/tables.ts";
import type { ReadTx } from "../store/tx.ts";
import { mayRestart } from "./restart-policy.ts";

export interface Slot {
  /** 0 where tasks belong to nodes. */
  readonly slot: number;
  /** Oldest first, never empty. */
  readonly tasks: readonly WholeTask[];
  /** The newest wanted one, else the newest. */
  readonly current: WholeTask;
  /** The wanted one that runs until `current` does. */
  readonly outgoing: WholeTask | undefined;
}

/** The slots of a service that have tasks, by number or node. Tasks on their way out for good (desired remove) are not in them. */
export function slotsOf(tx: ReadTx, serviceId: string): readonly Slot[] {
  const byKey = new Map<string, WholeTask[]>();
  for (const task of tx.tasks.byService(serviceId)) {
    const key = slotKey(task);
    const tasks = byKey.get(key);
    if (tasks === undefined) byKey.set(key, [task]);
    else tasks.push(task);
  }
  return [...byKey.values()].flatMap((tasks) => slotOfTasks(tasks) ?? []).sort(inOrder);
}

function inOrder(a: Slot, b: Slot): number {
  if (a.slot !== b.slot) return a.slot - b.slot;
  return a.current.nodeId < b.current.nodeId ? -1 : 1;
}

/** One slot; undefined when it has no tasks but such as are on their way out for good. */
export function slotOf(tx: ReadTx, slot: SlotName): Slot | undefined {
  return slotOfTasks(tx.tasks.bySlot(slot));
}

function slotOfTasks(all: readonly WholeTask[]): Slot | undefined {
  const tasks = all.filter((task) => task.desiredState < TaskState.REMOVE).sort((a, b) => a.generation - b.generation);
  const current = tasks.findLast((task) => wantsToRun(task.desiredState)) ?? tasks.at(-1);
  if (current === undefined) return undefined;
  const outgoing = tasks.find((task) => task.id === current.replaces && wantsToRun(task.desiredState));
  return { slot: current.slot, tasks, current, outgoing };
}

/** Ends of a task that nobody asked for. */
const BY_ITSELF: readonly TaskState[] = [TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED];

/**
 * Does the slot count as one of the replicas? It does with a wanted task, and also when its last task ended and the policy lets
 * it rest: it has had its run. The task of a node that was stopped there has not.
 */
export function isHeld({ current, slot }: Slot, service: WholeService): boolean {
  if (wantsToRun(current.desiredState)) return true;
  return slot === 0 ? hasHadItsRun(current, service) : hasEnded(current, service);
}

function hasEnded(task: WholeTask, service: WholeService): boolean {
  return isEnded(task.status.state) && !mayRestart(task, restartPolicyOf(service.spec));
}

/** Has the task ended by itself, so that no other is to follow it? */
export function hasHadItsRun(task: WholeTask, service: WholeService): boolean {
  return BY_ITSELF.includes(task.status.state) && hasEnded(task, service);
}

/** Has a node been told of the task? */
export function wasAssigned(task: WholeTask): boolean {
  return task.status.state >= TaskState.ASSIGNED;
}

/** Will no container of the task run any more, as far as anyone can still tell? */
export function isOver(tx: ReadTx, task: WholeTask): boolean {
  if (isEnded(task.status.state)) return true;
  if (!wasAssigned(task)) return !wantsToRun(task.desiredState);
  return tx.nodes.get(task.nodeId) === undefined;
}

/** Need nobody wait for the task to end? A node that is down says nothing until it is back. */
export function isOutOfTheWay(tx: ReadTx, task: WholeTask): boolean {
  return isOver(tx, task) || tx.nodes.get(task.nodeId)?.status.state === NodeStatus_State.DOWN;
}
