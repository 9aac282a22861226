// What an update says of itself, in Docker's words, and what follows when too many of its slots fail: it goes on, waits for a person,
// or goes back to the spec before. A rollback never rolls back.

import type { UnixMs } from "../../proto/base/clock.ts";
import { never } from "../../proto/base/assert.ts";
import { UpdateStatus, UpdateStatus_State } from "../../proto/gen/objects.ts";
import { UpdateConfig_FailureAction } from "../../proto/gen/specs.ts";
import type { WholeService } from "../../proto/model/objects.ts";
import { isRollback, isUnderWay } from "../../proto/model/update-plan.ts";
import { type UpdateView, slotLabel } from "./update-view.ts";

export type Verdict =
  | { readonly kind: "goOn" | "stop"; readonly service: WholeService }
  /** To the spec before, which is the service's already. */
  | { readonly kind: "rollBack"; readonly service: WholeService };

/** What failed before is neither counted nor tried again. A canary was said with the spec. */
export function started(service: WholeService, now: UnixMs): WholeService {
  const { canary, failedSlots, forgivenSlots } = service.updateStatus ?? UpdateStatus.create();
  return withStatus(service, {
    ...UpdateStatus.create(),
    state: UpdateStatus_State.UPDATING,
    startedAtMs: now,
    message: "update in progress",
    forgivenSlots: [...forgivenSlots, ...failedSlots],
    canary,
  });
}

/** Counts the new failures and says what follows. */
export function afterFailures(service: WholeService, view: UpdateView, now: UnixMs): Verdict {
  const { updateStatus: status } = service;
  const [first] = view.failures;
  if (status === undefined || first === undefined) return { kind: "goOn", service };
  const failedSlots = [...status.failedSlots, ...view.failures.map(({ slot }) => slotLabel(slot))];
  const counted = withStatus(service, { ...status, failedSlots });
  const { failureAction, maxFailureRatio } = view.plan;
  // Slots that were scaled away after they failed are counted on both sides.
  if (failedSlots.length / Math.max(view.slotCount, failedSlots.length) <= maxFailureRatio)
    return { kind: "goOn", service: counted };
  switch (failureAction) {
    case UpdateConfig_FailureAction.CONTINUE:
      return { kind: "goOn", service: counted };
    case UpdateConfig_FailureAction.PAUSE:
      return { kind: "stop", service: paused(counted, first.reason) };
    case UpdateConfig_FailureAction.ROLLBACK:
      if (isRollback(status)) return { kind: "stop", service: paused(counted, first.reason) };
      if (service.previousSpec === undefined)
        return { kind: "stop", service: paused(counted, `${first.reason}; there is no previous spec to roll back to`) };
      return { kind: "rollBack", service: rolledBack(counted, { reason: first.reason, now }) };
    default:
      return never(failureAction);
  }
}

/** The service with its canary out: it waits for a person. */
export function held(service: WholeService): WholeService {
  const { canary = 0 } = service.updateStatus ?? {};
  const { name } = service.spec;
  const reason = `after its canary of ${canary} task${canary === 1 ? "" : "s"}: go on with "service promote ${name}", or back with "service rollback ${name}"`;
  return paused(service, reason);
}

export function completed(service: WholeService, now: UnixMs): WholeService {
  const { updateStatus: status } = service;
  if (!isUnderWay(status)) return service;
  const back = isRollback(status);
  return withStatus(service, {
    ...status,
    state: back ? UpdateStatus_State.ROLLBACK_COMPLETED : UpdateStatus_State.COMPLETED,
    completedAtMs: now,
    message: back ? "rollback completed" : "update completed",
    canary: 0,
  });
}

/** Says what the update waits for when a new task has trouble. A rollback goes on saying why it is one. */
export function progressing(service: WholeService, trouble: string): WholeService {
  const { updateStatus: status } = service;
  if (!isUnderWay(status) || isRollback(status)) return service;
  const message = trouble === "" ? "update in progress" : `update in progress: ${trouble}`;
  return message === status.message ? service : withStatus(service, { ...status, message });
}

function paused(service: WholeService, reason: string): WholeService {
  const status = service.updateStatus ?? UpdateStatus.create();
  const back = isRollback(status);
  const message = `${back ? "rollback" : "update"} paused ${reason}`;
  const state = back ? UpdateStatus_State.ROLLBACK_PAUSED : UpdateStatus_State.PAUSED;
  return withStatus(service, { ...status, state, message, reason: message });
}

/** There is no way back from here but to a revision that somebody names. */
function rolledBack(service: WholeService, facts: { readonly reason: string; readonly now: UnixMs }): WholeService {
  const message = `update rolled back ${facts.reason}`;
  return {
    ...service,
    spec: service.previousSpec ?? service.spec,
    previousSpec: undefined,
    specVersion: service.specVersion + 1,
    updateStatus: UpdateStatus.create({
      state: UpdateStatus_State.ROLLBACK_STARTED,
      startedAtMs: facts.now,
      message,
      reason: message,
    }),
  };
}

function withStatus(service: WholeService, updateStatus: UpdateStatus): WholeService {
  return { ...service, updateStatus };
}
