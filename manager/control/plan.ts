// `service create --plan` and `service update --plan`: what would be different, and where tasks would go. Nothing is written: the
// passes are played out on a copy by what is handed in.

import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import {
  type PlanServiceRequest,
  type PlanServiceResponse,
  type PlannedTask,
  PlannedTask_Action,
} from "../../proto/gen/control.ts";
import { Service } from "../../proto/gen/objects.ts";
import { newId } from "../../proto/model/ids.ts";
import { type WholeService, type WholeTask, wholeService } from "../../proto/model/objects.ts";
import { specDifferences } from "../../proto/model/spec-diff.ts";
import { taskName } from "../../proto/model/task-name.ts";
import { TaskState, wantsToRun } from "../../proto/model/task-state.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import type { Store } from "../store/store.ts";
import { slotKey } from "../store/tables.ts";
import { checkedSpec, findService, warningsOf } from "./services.ts";
import { compareText } from "./text.ts";
import { withSpec } from "./update-service.ts";

export interface PlanDeps {
  readonly store: Store;
  readonly random: Random;
  /** The service's wanted tasks as they would be after this change, when all goes well. Changes nothing. */
  readonly playOut: (service: WholeService, signal: AbortSignal) => Promise<readonly WholeTask[]>;
}

/** Throws what the create or the update would. */
export async function planService(
  deps: PlanDeps,
  request: PlanServiceRequest,
  { signal }: CallContext,
): Promise<PlanServiceResponse> {
  const view = deps.store.view();
  const spec = checkedSpec(request);
  const before = request.id === "" ? undefined : findService(view, request.id);
  if (before === undefined && view.services.byName(spec.name).some(({ pendingDelete }) => !pendingDelete))
    throw new SwarmError(
      "AlreadyExists",
      `name conflicts with an existing object: service ${spec.name} already exists`,
    );
  const after =
    before === undefined
      ? wholeService(Service.create({ id: newId(deps.random), spec, specVersion: 1 }))
      : withSpec(before, spec);
  const present = before === undefined ? [] : wanted(view.tasks.byService(before.id));
  const future = after === before ? present : await deps.playOut(after, signal);
  return {
    differences: [...specDifferences(before?.spec, spec)],
    tasks: differencesOf({ present, future }),
    warnings: warningsOf(spec),
  };
}

/** Slot by slot, in their order. */
function differencesOf(tasks: {
  readonly present: readonly WholeTask[];
  readonly future: readonly WholeTask[];
}): PlannedTask[] {
  const present = new Map(tasks.present.map((task) => [slotKey(task), task]));
  const future = new Map(tasks.future.map((task) => [slotKey(task), task]));
  const slots = [...new Map([...present, ...future]).entries()];
  slots.sort(([, a], [, b]) => a.slot - b.slot || compareText(a.nodeId, b.nodeId));
  return slots.map(([key, any]) => {
    const [before, after] = [present.get(key), future.get(key)];
    return {
      action: actionOf({ before, after }),
      name: taskName(any),
      nodeId: before === undefined || before.status.state < TaskState.ASSIGNED ? "" : before.nodeId,
      newNodeId: after === undefined || after.status.state < TaskState.ASSIGNED ? "" : after.nodeId,
      error: after === undefined || after.status.state >= TaskState.ASSIGNED ? "" : after.status.error,
    };
  });
}

function actionOf(pair: {
  readonly before: WholeTask | undefined;
  readonly after: WholeTask | undefined;
}): PlannedTask_Action {
  const { before, after } = pair;
  if (before === undefined) return PlannedTask_Action.CREATE;
  if (after === undefined) return PlannedTask_Action.REMOVE;
  return before.id === after.id ? PlannedTask_Action.KEEP : PlannedTask_Action.REPLACE;
}

/** The wanted task of each slot: the newer one, where one replaces another. */
function wanted(tasks: readonly WholeTask[]): readonly WholeTask[] {
  return tasks.filter(({ desiredState }) => wantsToRun(desiredState)).sort((a, b) => a.generation - b.generation);
}
