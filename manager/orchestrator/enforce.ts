// Tasks that are where they may not be: on a node that is drained, down or gone, or that no longer meets the constraints. They are
// stopped and replaced without a restart's delay and whatever the restart policy says: a move is no restart. What belongs to a node
// is not moved: the global pass stops it.

import type { UnixMs } from "../../proto/base/clock.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { meetsConstraints, parseConstraint } from "../../proto/model/constraint.ts";
import type { WholeNode, WholeService, WholeTask } from "../../proto/model/objects.ts";
import { isGlobal } from "../../proto/model/service-mode.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { type NewId, type Pass, type StepResult, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import type { ReadTx, WriteTx } from "../store/tx.ts";
import { replaceTask } from "./new-task.ts";
import { wasAssigned } from "./slots.ts";

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
}

export class EnforcePass implements Pass {
  readonly name = "enforce";
  readonly #newId: NewId;
  readonly #dirtyNodes = new Set<string>();
  readonly #dirtyServices = new Set<string>();
  readonly #dirtyTasks = new Set<string>();

  constructor(newId: NewId) {
    this.#newId = newId;
  }

  observe(event: StoreEvent): void {
    if (event.kind === "node") this.#dirtyNodes.add(event.object.id);
    else if (event.kind === "service") this.#dirtyServices.add(event.object.id);
    else if (event.kind === "task" && wasAssigned(event.object)) this.#dirtyTasks.add(event.object.id);
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    const nodesSeen = visit(this.#dirtyNodes, (id) => this.#mark(tx.tasks.byNode(id)));
    const servicesSeen = visit(this.#dirtyServices, (id) => this.#mark(tx.tasks.byService(id)));
    const tasksSeen = visit(this.#dirtyTasks, (id) => this.#task(tx, id, { now, limit }));
    return nodesSeen && servicesSeen && tasksSeen ? null : now;
  }

  #mark(tasks: readonly WholeTask[]): number {
    for (const task of tasks) if (wasAssigned(task)) this.#dirtyTasks.add(task.id);
    return tasks.length;
  }

  #task(tx: WriteTx, id: string, run: Run): StepResult {
    const old = tx.tasks.get(id);
    if (old === undefined || !wasAssigned(old) || !wantsToRun(old.desiredState)) return 1;
    const service = tx.services.get(old.serviceId);
    if (service === undefined || service.pendingDelete || isGlobal(service.spec) || mayStay(tx, old, service)) return 1;
    const { restarts, restartedAtMs } = old;
    const options = { ...run, id: this.#newId(), delayMs: 0, restarts: { restarts, restartedAtMs } };
    return replaceTask(tx, { old, service }, options) ? 1 : "full";
  }
}

function mayStay(tx: ReadTx, task: WholeTask, service: WholeService): boolean {
  if (task.status.state === TaskState.ORPHANED) return false;
  // One that ended by itself is the restart pass's.
  if (isEnded(task.status.state)) return true;
  const node = tx.nodes.get(task.nodeId);
  return node !== undefined && isFit(node, service);
}

function isFit(node: WholeNode, service: WholeService): boolean {
  if (node.status.state === NodeStatus_State.DOWN) return false;
  if (node.spec.availability === NodeSpec_Availability.DRAIN) return false;
  return meetsConstraints(node, service.spec.task.placement.constraints.map(parseConstraint));
}
