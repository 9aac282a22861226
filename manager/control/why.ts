// `tsswarm why`: what holds up a task or a service. Placement is judged by the scheduler's own filters over what is committed; large
// clusters are looked at piece by piece, so that the manager goes on meanwhile.

import type { Clock } from "../../proto/base/clock.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import type { RefRequest, WhyResponse, WhyTask } from "../../proto/gen/control.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { TaskState, wantsToRun } from "../../proto/model/task-state.ts";
import { isPaused } from "../../proto/model/update-plan.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import { LoadBook } from "../placement/load-book.ts";
import { verdictsOf } from "../placement/verdicts.ts";
import type { Store } from "../store/store.ts";
import { slotKey } from "../store/tables.ts";
import type { ReadTx } from "../store/tx.ts";
import { nodeName } from "./nodes.ts";
import { notFound } from "./resolve.ts";
import { findService } from "./services.ts";
import { findTask } from "./tasks.ts";
import { compareText } from "./text.ts";
import { reasonFor } from "./why-reason.ts";

export interface WhyDeps {
  readonly store: Store;
  readonly clock: Clock;
}

const TASKS_MAX = 100;
const HISTORY_MAX = 5;
/** Nodes in one answer, whatever the number of its tasks. */
const VERDICTS_MAX = 1_000;

/** Throws NotFound for what is neither a service nor a task. */
export async function why(deps: WhyDeps, { ref }: RefRequest, { signal }: CallContext): Promise<WhyResponse> {
  const { store, clock } = deps;
  const found = find(store.view(), ref);
  const book = LoadBook.unread(store.view());
  while (!book.sync(store.view())) await clock.sleep(0, signal);
  const view = store.view();
  const now = clock.now();
  // Like tasks get the same answer from every node: it is given once.
  const told = new Set<string>();
  let room = VERDICTS_MAX;
  const tasks = found.tasks.map((task): WhyTask => {
    const node = view.nodes.get(task.nodeId);
    const answer = {
      task,
      reason: reasonFor(view, task, now),
      hostname: node === undefined ? "" : nodeName(node),
      history: [...failuresBefore(view, task)],
    };
    const kind = `${task.specVersion}/${task.slot === 0 ? task.nodeId : ""}`;
    if (!waitsForPlace(task) || told.has(kind)) return { ...answer, verdicts: [], remedies: [] };
    told.add(kind);
    const placement = view.services.get(task.serviceId)?.spec.task.placement ?? task.spec.placement;
    const { verdicts, remedies } = verdictsOf(book, { task, placement }, room);
    room -= verdicts.length;
    return { ...answer, verdicts: [...verdicts], remedies: [...remedies] };
  });
  return { tasks, reason: found.service === undefined ? "" : reasonOf(found.service) };
}

interface Found {
  readonly service: WholeService | undefined;
  readonly tasks: readonly WholeTask[];
}

function find(view: ReadTx, ref: string): Found {
  try {
    const service = findService(view, ref);
    return { service, tasks: currentTasks(view, service) };
  } catch (error) {
    if (!isSwarmError(error, "NotFound")) throw error;
  }
  try {
    return { service: undefined, tasks: [findTask(view, ref)] };
  } catch (error) {
    if (isSwarmError(error, "NotFound")) throw notFound("service or task", ref);
    throw error;
  }
}

/** The newest wanted task of each slot, or else its newest; those that do not run first. */
function currentTasks(view: ReadTx, { id }: WholeService): readonly WholeTask[] {
  const slots = new Map<string, WholeTask>();
  for (const task of view.tasks.byService(id)) {
    const known = slots.get(slotKey(task));
    if (known === undefined || rank(task) > rank(known)) slots.set(slotKey(task), task);
  }
  const trouble = (task: WholeTask): number =>
    waitsForPlace(task) ? 2 : task.status.state === TaskState.RUNNING ? 0 : 1;
  return [...slots.values()]
    .sort((a, b) => trouble(b) - trouble(a) || a.slot - b.slot || compareText(a.nodeId, b.nodeId))
    .slice(0, TASKS_MAX);
}

function rank(task: WholeTask): number {
  return task.generation + (wantsToRun(task.desiredState) ? Number.MAX_SAFE_INTEGER / 2 : 0);
}

function waitsForPlace(task: WholeTask): boolean {
  return task.status.state < TaskState.ASSIGNED && wantsToRun(task.desiredState);
}

function failuresBefore(view: ReadTx, task: WholeTask): readonly WholeTask[] {
  return [...view.tasks.bySlot(task)]
    .filter(({ generation, status }) => generation <= task.generation && isFailure(status.state))
    .sort((a, b) => b.generation - a.generation)
    .slice(0, HISTORY_MAX);
}

function isFailure(state: TaskState): boolean {
  return state === TaskState.FAILED || state === TaskState.REJECTED || state === TaskState.ORPHANED;
}

function reasonOf({ updateStatus }: WholeService): string {
  return isPaused(updateStatus) ? `the update is paused: ${updateStatus.message}` : "";
}
