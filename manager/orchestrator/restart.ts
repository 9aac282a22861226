// What follows when a task ended by itself: another in its slot as the restart policy says. And the start of tasks that are
// wanted READY: when their delay is over and the one before them has stopped.

import type { UnixMs } from "../../proto/base/clock.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { restartPolicyOf } from "../../proto/model/service-mode.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { type NewId, type Pass, type StepResult, earlier, visit } from "../pass.ts";
import type { StoreEvent } from "../store/events.ts";
import { slotKey, slotNamed } from "../store/tables.ts";
import type { ReadTx, WriteTx } from "../store/tx.ts";
import { NO_RESTARTS, replaceTask } from "./new-task.ts";
import { isOutdated } from "./outdated.ts";
import { afterRestart, mayRestart, restartDelayMaxMs, restartDelayMs } from "./restart-policy.ts";
import { isOutOfTheWay, slotOf } from "./slots.ts";

/** A task that does not stop holds the next one back for its grace period and this long, at least a minute in all. */
const STOP_MARGIN_MS = 10_000;
const STOP_WAIT_MIN_MS = 60_000;

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
}

export class RestartPass implements Pass {
  readonly name = "restart";
  readonly #newId: NewId;
  readonly #draw: () => number;
  /** Keys of slots. */
  readonly #dirty = new Set<string>();
  /** Nodes whose tasks somebody may wait for. */
  readonly #dirtyNodes = new Set<string>();
  /** When to look again at a slot whose task waits, by its key. */
  readonly #wakes = new Map<string, UnixMs>();

  /** `draw` gives numbers from [0, 1), for the jitter of delays. */
  constructor(newId: NewId, draw: () => number) {
    this.#newId = newId;
    this.#draw = draw;
  }

  observe(event: StoreEvent): void {
    if (event.kind === "task") this.#mark(event.object);
    else if (event.kind === "node") this.#dirtyNodes.add(event.object.id);
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    const nodesSeen = visit(this.#dirtyNodes, (id) => {
      const tasks = tx.tasks.byNode(id);
      for (const task of tasks) this.#mark(task);
      return tasks.length;
    });
    for (const [key, at] of this.#wakes) if (at <= now) this.#dirty.add(key);
    const slotsSeen = visit(this.#dirty, (key) => this.#slot(tx, key, { now, limit }));
    return nodesSeen && slotsSeen ? earlier([...this.#wakes.values()]) : now;
  }

  #mark(task: WholeTask): void {
    this.#dirty.add(slotKey(task));
  }

  #slot(tx: WriteTx, key: string, run: Run): StepResult {
    const slot = slotOf(tx, slotNamed(key));
    const service = slot === undefined ? undefined : tx.services.get(slot.current.serviceId);
    this.#wakes.delete(key);
    if (slot === undefined || service === undefined || service.pendingDelete) return 1;
    const { current } = slot;
    if (!wantsToRun(current.desiredState)) return 1;
    // A task that was lost with its node did not end by itself: the enforce pass replaces it whatever the policy.
    if (isEnded(current.status.state) && current.status.state !== TaskState.ORPHANED) {
      // One that failed while it was prepared ahead of its time has had its attempt: the next is not due before that time.
      const due = delayedUntil(current, run.now);
      if (due > run.now) {
        this.#wakes.set(key, due);
        return 1;
      }
      return this.#ended(tx, { task: current, service }, run) ? 1 : "full";
    }
    if (current.desiredState !== TaskState.READY) return 1;
    const at = startsAt(tx, current, run.now);
    if (at > run.now) {
      this.#wakes.set(key, at);
      return 1;
    }
    const raised = { ...current, desiredState: TaskState.RUNNING };
    if (!tx.fits(run.limit, [raised])) return "full";
    tx.tasks.update(raised);
    return 1;
  }

  #ended(tx: WriteTx, pair: { readonly task: WholeTask; readonly service: WholeService }, run: Run): boolean {
    const { task, service } = pair;
    const policy = restartPolicyOf(service.spec);
    if (!mayRestart(task, policy)) {
      const stopped = { ...task, desiredState: TaskState.SHUTDOWN };
      if (!tx.fits(run.limit, [stopped])) return false;
      tx.tasks.update(stopped);
      return true;
    }
    const restarts = isOutdated(task, service) ? NO_RESTARTS : afterRestart(task, { policy, now: run.now });
    const { quickFailures = 0 } = restarts;
    const delayMs = restartDelayMs(policy, { quickFailures, draw: this.#draw() });
    const options = { ...run, id: this.#newId(), delayMs, restarts };
    return replaceTask(tx, { old: task, service }, options);
  }
}

/** The end of the task's restart delay. A delay longer than the policy's is one that a clock set back has made: it is over. */
function delayedUntil(task: WholeTask, now: UnixMs): UnixMs {
  return task.notBeforeMs - now > restartDelayMaxMs(task.spec.restart) ? now : task.notBeforeMs;
}

/** When the slot's waiting task may start; at the latest, for it may be sooner that the one before it stops. */
function startsAt(tx: ReadTx, current: WholeTask, now: UnixMs): UnixMs {
  const before = tx.tasks
    .bySlot(current)
    .filter((task) => task.id !== current.id && task.id !== current.replaces && !isOutOfTheWay(tx, task));
  const stopped = before.map((task) => {
    const graceMs = task.spec.container.stopGraceMs ?? DEFAULTS.stopGraceMs;
    const waitMs = Math.max(STOP_WAIT_MIN_MS, graceMs + STOP_MARGIN_MS);
    return Math.min(current.meta.createdAtMs, now) + waitMs;
  });
  return Math.max(delayedUntil(current, now), ...stopped);
}
