// A person's hand on an update: hold it where it is, let it go on, let it go beyond its canary.

import { SwarmError } from "../../proto/base/errors.ts";
import { type SteerUpdateRequest, SteerUpdateRequest_Action } from "../../proto/gen/control.ts";
import { type UpdateStatus, UpdateStatus_State } from "../../proto/gen/objects.ts";
import type { WholeService } from "../../proto/model/objects.ts";
import { isPaused, isRollback, isUnderWay } from "../../proto/model/update-plan.ts";
import { type ServiceDeps, findService } from "./services.ts";
import { invalid } from "./validate.ts";

/** Throws FailedPrecondition when the update is not one that this can be done to. */
export async function steerUpdate({ store }: ServiceDeps, request: SteerUpdateRequest): Promise<WholeService> {
  const { id } = findService(store.view(), request.ref);
  await store.update((tx) => {
    const service = findService(tx, id);
    tx.services.update({ ...service, updateStatus: steered(service, request.action) });
  });
  return findService(store.view(), id);
}

/** The status of a paused update that goes on. What failed so far neither counts again nor is tried again. */
export function resumed(status: UpdateStatus): UpdateStatus {
  const back = isRollback(status);
  return {
    ...status,
    state: back ? UpdateStatus_State.ROLLBACK_STARTED : UpdateStatus_State.UPDATING,
    message: back ? "rollback in progress" : "update in progress",
    failedSlots: [],
    reason: "",
    forgivenSlots: [...status.forgivenSlots, ...status.failedSlots],
  };
}

function steered(service: WholeService, action: SteerUpdateRequest_Action): UpdateStatus {
  const { updateStatus: status } = service;
  const { name } = service.spec;
  const no = (sentence: string): SwarmError => new SwarmError("FailedPrecondition", sentence);
  switch (action) {
    case SteerUpdateRequest_Action.PAUSE:
      if (isPaused(status)) throw no(`the update of service ${name} is paused already`);
      if (!isUnderWay(status)) throw no(`service ${name} is not being updated: there is nothing to pause`);
      return paused(status);
    case SteerUpdateRequest_Action.RESUME:
      if (!isPaused(status)) throw no(`the update of service ${name} is not paused: there is nothing to resume`);
      if (status.canary > 0)
        throw no(
          `the update of service ${name} waits behind its canary: let it go on with "service promote ${name}", or go back with "service rollback ${name}"`,
        );
      return resumed(status);
    case SteerUpdateRequest_Action.PROMOTE:
      if (status === undefined || status.canary === 0) throw no(`service ${name} has no canary to promote`);
      return { ...(isPaused(status) ? resumed(status) : status), canary: 0 };
    default:
      throw unknown(action);
  }
}

function paused(status: UpdateStatus): UpdateStatus {
  const back = isRollback(status);
  return {
    ...status,
    state: back ? UpdateStatus_State.ROLLBACK_PAUSED : UpdateStatus_State.PAUSED,
    message: `${back ? "rollback" : "update"} paused by hand`,
  };
}

function unknown(action: never): SwarmError {
  return invalid({ path: "action", value: action }, "it must be pause, resume or promote");
}
