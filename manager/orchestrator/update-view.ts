// What an update finds in the store, slot by slot: which are still to be replaced, which are in work, which have failed, and when that
// will be otherwise. Reads only, so that a leader who saw nothing comes to the same answer.

import type { UnixMs } from "../../proto/base/clock.ts";
import { NodeStatus_State, UpdateStatus } from "../../proto/gen/objects.ts";
import type { WholeService, WholeTask } from "../../proto/model/objects.ts";
import { taskName } from "../../proto/model/task-name.ts";
import { wantsToRun } from "../../proto/model/task-state.ts";
import { type UpdatePlan, currentPlan } from "../../proto/model/update-plan.ts";
import { earlier } from "../pass.ts";
import type { ReadTx } from "../store/tx.ts";
import { isReturning, isServing } from "./new-task.ts";
import { isOutdated } from "./outdated.ts";
import type { Slot } from "./slots.ts";
import { type Failure, failureOf, isMade } from "./update-failure.ts";

/** A wait that would take this much longer than it should is one that a clock set back has made: it is over. */
const CLOCK_SLACK_MS = 60_000;

export interface UpdateView {
  readonly plan: UpdatePlan;
  /** Of the service, whatever is to be done to them. */
  readonly slotCount: number;
  /** Still to be replaced, in the order in which they are. */
  readonly outdated: readonly Slot[];
  /** As they should be, or on the way there. */
  readonly fresh: readonly Slot[];
  /** Their successor is unwanted, the task before it is what is wanted and runs. */
  readonly returning: readonly Slot[];
  /** Failures that the status does not have yet. */
  readonly failures: readonly Failure[];
  /** Slots that take part of the parallelism. */
  readonly busy: number;
  /** Every new task has run for the monitoring time, or failed. */
  readonly isSettled: boolean;
  /** When something of this will be otherwise though nothing happens; null: never. */
  readonly wake: UnixMs | null;
  /** Why a new task does not run yet; empty: nothing is wrong. */
  readonly trouble: string;
}

/** As it stands in `failed_slots`. */
export function slotLabel({ slot, current }: Slot): string {
  return slot === 0 ? current.nodeId : String(slot);
}

export function lookAt(
  tx: ReadTx,
  found: { readonly service: WholeService; readonly slots: readonly Slot[] },
  now: UnixMs,
): UpdateView {
  const { service, slots } = found;
  const plan = currentPlan(service);
  const { failedSlots, forgivenSlots } = service.updateStatus ?? UpdateStatus.create();
  const known = new Set([...failedSlots, ...forgivenSlots]);
  const view = { outdated: [] as Slot[], fresh: [] as Slot[], returning: [] as Slot[], failures: [] as Failure[] };
  const waits: (UnixMs | null)[] = [];
  let busy = 0;
  let isSettled = true;
  let trouble = "";
  for (const slot of slots) {
    const failure = failureOf(slot, { service, plan, now });
    const isKnown = known.has(slotLabel(slot));
    if (failure !== undefined && !isKnown) view.failures.push(failure);
    if (isOutdated(slot.current, service)) {
      if (isReturning(slot, service)) view.returning.push(slot);
      else if (!isKnown && failure === undefined && isReachable(tx, slot.current)) view.outdated.push(slot);
      continue;
    }
    view.fresh.push(slot);
    const stage = stageOf(slot, { service, plan, now, failure });
    if (stage.isBusy) busy += 1;
    if (stage.isWatched) isSettled = false;
    waits.push(stage.until);
    if (stage.isBusy && trouble === "") trouble = troubleOf(slot.current);
  }
  // A slot that serves nobody is lost nothing by.
  view.outdated.sort((a, b) => Number(isServing(a.current)) - Number(isServing(b.current)));
  return { ...view, plan, slotCount: slots.length, busy, isSettled, trouble, wake: earlier(waits) };
}

interface Stage {
  readonly isBusy: boolean;
  readonly isWatched: boolean;
  readonly until: UnixMs | null;
}

function stageOf(
  { current }: Slot,
  facts: {
    readonly service: WholeService;
    readonly plan: UpdatePlan;
    readonly now: UnixMs;
    readonly failure: Failure | undefined;
  },
): Stage {
  const { service, plan, now, failure } = facts;
  const made = isMade(current, service);
  const over = (from: UnixMs, waitMs: number): UnixMs | null => {
    const leftMs = from + waitMs - now;
    return leftMs > 0 && leftMs <= waitMs + CLOCK_SLACK_MS ? now + leftMs : null;
  };
  if (failure !== undefined) {
    const until = over(failure.atMs, plan.delayMs);
    return { isBusy: until !== null, isWatched: false, until };
  }
  if (isServing(current)) {
    if (!made) return { isBusy: false, isWatched: false, until: null };
    const since = current.runningAtMs;
    const delayed = over(since, plan.delayMs);
    const watched = over(since, plan.monitorMs);
    return { isBusy: delayed !== null, isWatched: watched !== null, until: earlier([delayed, watched]) };
  }
  // What comes up for another reason is waited for as well, but not for ever, nor again and again.
  const isComingUp = wantsToRun(current.desiredState) && current.restarts === 0;
  if (!isComingUp) return { isBusy: false, isWatched: false, until: null };
  if (plan.progressDeadlineMs === Infinity) return { isBusy: true, isWatched: made, until: null };
  const until = over(current.meta.createdAtMs, plan.progressDeadlineMs);
  return { isBusy: until !== null, isWatched: made && until !== null, until };
}

/** What is on a node that is down is another pass's: it is replaced there, or waited for until the node is back. */
function isReachable(tx: ReadTx, task: WholeTask): boolean {
  return tx.nodes.get(task.nodeId)?.status.state !== NodeStatus_State.DOWN;
}

function troubleOf(task: WholeTask): string {
  return task.status.error === "" ? "" : `${taskName(task)} does not run yet: ${task.status.error}`;
}
