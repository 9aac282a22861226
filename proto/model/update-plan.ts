// What an update of a service goes by: its state in words, and the rules in force with every default filled in. Pure; the
// orchestrator steers by it, the command shows it.

import { type UpdateStatus, UpdateStatus_State } from "../gen/objects.ts";
import { type UpdateConfig, UpdateConfig_FailureAction, UpdateConfig_Order } from "../gen/specs.ts";
import { DEFAULTS } from "./defaults.ts";
import type { WholeService } from "./objects.ts";

/** Docker's words. */
const STATES: Readonly<Record<UpdateStatus_State, string>> = {
  [UpdateStatus_State.UNKNOWN]: "",
  [UpdateStatus_State.UPDATING]: "updating",
  [UpdateStatus_State.PAUSED]: "paused",
  [UpdateStatus_State.COMPLETED]: "completed",
  [UpdateStatus_State.ROLLBACK_STARTED]: "rollback_started",
  [UpdateStatus_State.ROLLBACK_PAUSED]: "rollback_paused",
  [UpdateStatus_State.ROLLBACK_COMPLETED]: "rollback_completed",
};

/** Task.cause of the tasks that an update made. */
export const UPDATE_CAUSE = "update";

type Status = UpdateStatus | undefined;
type In<State extends UpdateStatus_State> = UpdateStatus & { readonly state: State };

export function updateStateName(state: UpdateStatus_State): string {
  return STATES[state];
}

/** Are slots being brought to the newest spec? */
export function isUnderWay(
  status: Status,
): status is In<UpdateStatus_State.UPDATING | UpdateStatus_State.ROLLBACK_STARTED> {
  return status?.state === UpdateStatus_State.UPDATING || status?.state === UpdateStatus_State.ROLLBACK_STARTED;
}

/** Does the update wait for a person? */
export function isPaused(status: Status): status is In<UpdateStatus_State.PAUSED | UpdateStatus_State.ROLLBACK_PAUSED> {
  return status?.state === UpdateStatus_State.PAUSED || status?.state === UpdateStatus_State.ROLLBACK_PAUSED;
}

/** Is it the way back to an earlier spec? */
export function isRollback(status: Status): boolean {
  return (
    status?.state === UpdateStatus_State.ROLLBACK_STARTED ||
    status?.state === UpdateStatus_State.ROLLBACK_PAUSED ||
    status?.state === UpdateStatus_State.ROLLBACK_COMPLETED
  );
}

const ACTIONS: Readonly<Record<UpdateConfig_FailureAction, string>> = {
  [UpdateConfig_FailureAction.PAUSE]: "pause",
  [UpdateConfig_FailureAction.CONTINUE]: "continue",
  [UpdateConfig_FailureAction.ROLLBACK]: "rollback",
};

export function failureActionName(action: UpdateConfig_FailureAction): string {
  return ACTIONS[action];
}

/** "start-first" or "stop-first". */
export function orderWord({ startFirst }: Pick<UpdatePlan, "startFirst">): string {
  return startFirst ? "start-first" : "stop-first";
}

/** An UpdateConfig with nothing left open. */
export interface UpdatePlan {
  /** Slots at once; Infinity: all. */
  readonly parallelism: number;
  readonly delayMs: number;
  readonly monitorMs: number;
  readonly failureAction: UpdateConfig_FailureAction;
  readonly maxFailureRatio: number;
  readonly startFirst: boolean;
  /** Infinity: none. */
  readonly progressDeadlineMs: number;
}

export function planOf(config: UpdateConfig): UpdatePlan {
  const parallelism = config.parallelism ?? DEFAULTS.updateParallelism;
  const deadlineMs = config.progressDeadlineMs ?? DEFAULTS.progressDeadlineMs;
  return {
    parallelism: parallelism === 0 ? Infinity : parallelism,
    delayMs: config.delayMs,
    monitorMs: config.monitorMs ?? DEFAULTS.updateMonitorMs,
    failureAction: config.failureAction,
    maxFailureRatio: config.maxFailureRatio,
    startFirst: config.order === UpdateConfig_Order.START_FIRST,
    progressDeadlineMs: deadlineMs === 0 ? Infinity : deadlineMs,
  };
}

/** The rules of what the service is at: those of its rollback while it goes back, else those of its update. */
export function currentPlan({ spec, updateStatus }: WholeService): UpdatePlan {
  return planOf(isRollback(updateStatus) ? spec.rollback : spec.update);
}
