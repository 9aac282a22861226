// What one agent holds: the tasks of its node as they were last sent, and what must be said to bring it up to date. Pure.
// A task is in the set from ASSIGNED on until it leaves the store: the agent keeps an ended task's logs for that long, and
// takes everything away when the task leaves the set.

import {
  AssignmentChange_Action,
  AssignmentsMessage_Type,
  AssignmentChange,
  type AssignmentsMessage,
} from "../../proto/gen/dispatcher.ts";
import { Task } from "../../proto/gen/objects.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";

/** Of one message; a task may have 128 KiB. */
const CHANGES_MAX = 10_000;
const BYTES_MAX = 1_048_576;

export class AssignmentSet {
  readonly #nodeId: string;
  /** What the agent has been told, by id. */
  readonly #sent = new Map<string, WholeTask>();
  #sequence = 0;

  constructor(nodeId: string) {
    this.#nodeId = nodeId;
  }

  /** The first message: everything. */
  complete(tasks: Iterable<WholeTask>): AssignmentsMessage {
    const changes: AssignmentChange[] = [];
    for (const task of tasks) if (this.#belongs(task)) changes.push(this.#update(task));
    return this.#message(AssignmentsMessage_Type.COMPLETE, changes);
  }

  /** Is the task, as it is now (undefined: gone), not what the agent was told? */
  #differs(id: string, task: WholeTask | undefined): boolean {
    const before = this.#sent.get(id);
    if (task === undefined || !this.#belongs(task)) return before !== undefined;
    return before === undefined || !sameForAgent(before, task);
  }

  /** Takes those out of `dirty` about which the agent knows all. */
  drop(dirty: Set<string>, find: (id: string) => WholeTask | undefined): void {
    for (const id of dirty) if (!this.#differs(id, find(id))) dirty.delete(id);
  }

  /**
   * What changed among the `dirty` tasks, taking them out of it; `find` gives a task as it is now. Null when the agent knows all of
   * it. A message that grows too large leaves the rest in `dirty` for the next one.
   */
  difference(dirty: Set<string>, find: (id: string) => WholeTask | undefined): AssignmentsMessage | null {
    const changes: AssignmentChange[] = [];
    let bytes = 0;
    for (const id of dirty) {
      if (changes.length >= CHANGES_MAX || bytes >= BYTES_MAX) break;
      dirty.delete(id);
      const task = find(id);
      if (!this.#differs(id, task)) continue;
      const change = task !== undefined && this.#belongs(task) ? this.#update(task) : this.#remove(id);
      bytes += AssignmentChange.encode(change).finish().byteLength;
      changes.push(change);
    }
    return changes.length === 0 ? null : this.#message(AssignmentsMessage_Type.INCREMENTAL, changes);
  }

  #belongs(task: WholeTask): boolean {
    return task.nodeId === this.#nodeId && task.status.state >= TaskState.ASSIGNED;
  }

  #update(task: WholeTask): AssignmentChange {
    this.#sent.set(task.id, task);
    return { action: AssignmentChange_Action.UPDATE, item: { $case: "task", value: task } };
  }

  #remove(id: string): AssignmentChange {
    this.#sent.delete(id);
    return { action: AssignmentChange_Action.REMOVE, item: { $case: "task", value: Task.create({ id }) } };
  }

  #message(type: AssignmentsMessage_Type, changes: readonly AssignmentChange[]): AssignmentsMessage {
    const appliesTo = String(this.#sequence);
    this.#sequence += 1;
    return { type, appliesTo, resultsIn: String(this.#sequence), changes };
  }
}

/** True when all that managers decide is equal. Status and meta are left out: the status came from the agent. */
function sameForAgent(a: WholeTask, b: WholeTask): boolean {
  if (a === b) return true;
  if (a.desiredState !== b.desiredState || a.notBeforeMs !== b.notBeforeMs) return false;
  if (a.spec === b.spec && a.ports === b.ports) return true;
  return Buffer.compare(decided(a), decided(b)) === 0;
}

function decided(task: WholeTask): Uint8Array {
  return Task.encode({ ...task, meta: undefined, status: undefined }).finish();
}
