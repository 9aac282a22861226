// As many slots as replicas were asked for: fills those that are missing, empties those that are too many, and all of a
// service that is being removed or is gone.

import type { UnixMs } from "../../proto/base/clock.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { replicasOf } from "../../proto/model/service-mode.ts";
import { TaskState, isEnded } from "../../proto/model/task-state.ts";
import { type NewId, type Pass, type StepResult, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import type { ReadTx, WriteTx } from "../store/tx.ts";
import { NO_RESTARTS, newTask, removeTask } from "./new-task.ts";
import { type Slot, isHeld, slotsOf } from "./slots.ts";

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
}

export class ReplicatedPass implements Pass {
  readonly name = "replicated";
  readonly #newId: NewId;
  /** Ids of services. */
  readonly #dirty = new Set<string>();

  constructor(newId: NewId) {
    this.#newId = newId;
  }

  observe(event: StoreEvent): void {
    if (event.kind === "service") this.#dirty.add(event.object.id);
    else if (event.kind === "task" && mayMatter(event)) this.#dirty.add(event.object.serviceId);
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    return visit(this.#dirty, (id) => this.#service(tx, id, { now, limit })) ? null : now;
  }

  #service(tx: WriteTx, id: string, run: Run): StepResult {
    const service = tx.services.get(id);
    if (service === undefined || service.pendingDelete) return removeAll(tx, tx.tasks.byService(id), run.limit);
    const replicas = replicasOf(service.spec);
    if (replicas === undefined) return 0;
    const slots = slotsOf(tx, id);
    const held = slots.filter((slot) => isHeld(slot, service));
    const missing = replicas - held.length;
    if (missing < 0) return removeAll(tx, surplus(tx, held, -missing), run.limit);
    return missing === 0 ? slots.length : this.#fill(tx, { service, held, missing }, run);
  }

  #fill(
    tx: WriteTx,
    gap: { readonly service: WholeService; readonly held: readonly Slot[]; readonly missing: number },
    { now, limit }: Run,
  ): StepResult {
    const taken = new Set(gap.held.map(({ slot }) => slot));
    let slot = 0;
    for (let made = 0; made < gap.missing; made += 1) {
      do slot += 1;
      while (taken.has(slot));
      const task = newTask(tx, gap.service, { id: this.#newId(), slot, now, delayMs: 0, restarts: NO_RESTARTS });
      if (!tx.fits(limit, [task])) return "full";
      tx.tasks.create(task);
    }
    return gap.held.length + gap.missing;
  }
}

/** Of the reports of a wanted task only its end changes how many slots are held. */
function mayMatter({ action, object, old }: Extract<StoreEvent, { readonly kind: "task" }>): boolean {
  return action !== "update" || old?.desiredState !== object.desiredState || isEnded(object.status.state);
}

function removeAll(tx: WriteTx, tasks: readonly WholeTask[], limit: number): StepResult {
  return tasks.every((task) => removeTask(tx, task, limit)) ? tasks.length : "full";
}

/**
 * Every task of the slots to give up: first those without a running task, then those on the nodes that have most of the service,
 * then the highest numbers (SwarmKit's order).
 */
function surplus(tx: ReadTx, held: readonly Slot[], count: number): readonly WholeTask[] {
  const ranked = held
    .map((slot) => ({ slot, running: slot.current.status.state === TaskState.RUNNING, crowd: 0 }))
    .sort((a, b) => Number(b.running) - Number(a.running) || a.slot.slot - b.slot.slot);
  const crowds = new Map<string, number>();
  for (const each of ranked) {
    const { nodeId } = each.slot.current;
    each.crowd = crowds.get(nodeId) ?? 0;
    crowds.set(nodeId, each.crowd + 1);
  }
  ranked.sort((a, b) => Number(b.running) - Number(a.running) || a.crowd - b.crowd || a.slot.slot - b.slot.slot);
  return ranked.slice(ranked.length - count).flatMap(({ slot: { current } }) => tx.tasks.bySlot(current));
}
