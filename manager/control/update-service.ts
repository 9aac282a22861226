// Changing what a service is asked to be: by a new spec, or back to an earlier one. What the change means for an update that is
// under way is decided here, in the transaction that writes it; the tasks follow by the orchestrator's passes.

import { SwarmError } from "../../proto/base/errors.ts";
import type { UpdateServiceRequest, UpdateServiceResponse } from "../../proto/gen/control.ts";
import { UpdateStatus, UpdateStatus_State } from "../../proto/gen/objects.ts";
import { newId } from "../../proto/model/ids.ts";
import type { WholeService, WholeServiceSpec } from "../../proto/model/objects.ts";
import { isJob, modeOf } from "../../proto/model/service-mode.ts";
import { isPaused, isUnderWay } from "../../proto/model/update-plan.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import { addRevision, revisionsOf } from "../store/revisions.ts";
import type { ReadTx } from "../store/tx.ts";
import { authorOf } from "./author.ts";
import { equalValues } from "./equal.ts";
import { type ServiceDeps, checkedSpec, findService, warningsOf } from "./services.ts";
import { resumed } from "./steer-update.ts";
import { checkNumber, refused } from "./validate.ts";
import { checkVersion } from "./versions.ts";

const CANARY_MAX = 100_000;

/** The spec that is to be, and how the history calls the change. */
interface Change {
  readonly spec: WholeServiceSpec;
  readonly action: string;
  readonly isRollback: boolean;
}

/**
 * Throws OutOfSequence for a stale version; the name and the mode stay. The spec before is kept, and every change is a revision. A
 * spec that changes nothing changes nothing, but lets an update go on that was paused, as docker's does.
 */
export async function updateService(
  deps: ServiceDeps,
  request: UpdateServiceRequest,
  context: CallContext,
): Promise<UpdateServiceResponse> {
  const asked = request.rollbackTo === undefined ? checkedSpec(request) : undefined;
  checkCanary(request);
  const { id } = findService(deps.store.view(), request.id);
  const revisionId = newId(deps.random);
  await deps.store.update((tx) => {
    const service = findService(tx, id);
    checkVersion({ found: service.meta.version, asked: request.version });
    const change = asked === undefined ? wayBack(tx, service, request) : forward(asked);
    checkKept(service, change.spec, request);
    const changed = changedService(service, change, { canary: request.canary ?? 0, atMs: tx.atMs });
    if (changed === service) return;
    if (equalValues(changed.spec, service.spec)) tx.services.update(changed);
    else {
      const author = authorOf(tx, context, deps.members());
      tx.services.update(addRevision(tx, changed, { id: revisionId, author, action: change.action }));
    }
  });
  const service = findService(deps.store.view(), id);
  return { service, warnings: warningsOf(service.spec) };
}

/** The service as an update to this spec would make it. */
export function withSpec(service: WholeService, spec: WholeServiceSpec): WholeService {
  checkKept(service, spec, {});
  return changedService(service, forward(spec), { canary: 0, atMs: 0 });
}

function checkCanary({ canary, rollbackTo }: UpdateServiceRequest): void {
  if (canary === undefined) return;
  checkNumber({ path: "canary", value: canary }, { min: 1, max: CANARY_MAX });
  if (rollbackTo !== undefined)
    throw refused("canary", "a rollback goes back everywhere: leave --canary out, or leave --rollback out");
}

function checkKept(
  service: WholeService,
  spec: WholeServiceSpec,
  { canary }: Pick<UpdateServiceRequest, "canary">,
): void {
  const { name } = service.spec;
  if (spec.name !== name) throw refused("name", `renaming services is not supported: service ${name} keeps its name`);
  if (modeOf(spec) !== modeOf(service.spec))
    throw refused("mode", `service mode change is not allowed: service ${name} stays ${modeOf(service.spec)}`);
  if (canary !== undefined && isJob(spec))
    throw refused("canary", `service ${name} is a job: an update of it makes no canary, its next run has the new spec`);
}

function forward(spec: WholeServiceSpec): Change {
  return { spec, action: "update", isRollback: false };
}

/** Throws FailedPrecondition when there is nothing to go back to. */
function wayBack(tx: ReadTx, service: WholeService, { rollbackTo = 0 }: UpdateServiceRequest): Change {
  const { name } = service.spec;
  if (rollbackTo === 0) {
    if (service.previousSpec === undefined)
      throw new SwarmError("FailedPrecondition", `service ${name} does not have a previous spec`);
    return { spec: service.previousSpec, action: "rollback", isRollback: true };
  }
  const kept = revisionsOf(tx, service.id);
  const revision = kept.find(({ number }) => number === rollbackTo);
  if (revision === undefined)
    throw new SwarmError(
      "FailedPrecondition",
      `service ${name} has no revision ${rollbackTo}: there are ${kept.map(({ number }) => number).join(", ") || "none"}`,
    );
  if (rollbackTo === service.revision)
    throw new SwarmError("FailedPrecondition", `service ${name} is at revision ${rollbackTo} already`);
  return { spec: revision.spec, action: `rollback to ${rollbackTo}`, isRollback: true };
}

/** The service after the change; the very same where there is nothing to do. */
function changedService(
  service: WholeService,
  { spec, isRollback }: Change,
  facts: { readonly canary: number; readonly atMs: number },
): WholeService {
  const { task, endpoint } = service.spec;
  const { updateStatus: status } = service;
  if (!isRollback && equalValues(spec, service.spec))
    return isPaused(status) ? { ...service, updateStatus: resumed(status) } : service;
  const sameTasks = equalValues(task, spec.task) && equalValues(endpoint.ports, spec.endpoint.ports);
  return {
    ...service,
    // An unchanged template stays the same object: tasks made from it need no look.
    spec: sameTasks ? { ...spec, task, endpoint } : spec,
    previousSpec: sameTasks && !isRollback ? specBefore(service, spec) : service.spec,
    specVersion: sameTasks ? service.specVersion : service.specVersion + 1,
    updateStatus: isRollback ? rollbackStatus(spec, facts.atMs) : sameTasks ? status : canaryStatus(facts.canary),
  };
}

/**
 * What a rollback goes back to after a change that restarts nothing. In the middle of an update that is the tasks as they were before
 * it, with everything else as it is now: who scales meanwhile does not mean to have that undone with a bad image.
 */
function specBefore(service: WholeService, spec: WholeServiceSpec): WholeServiceSpec {
  const { previousSpec, updateStatus } = service;
  if (previousSpec === undefined || !(isUnderWay(updateStatus) || isPaused(updateStatus))) return service.spec;
  return { ...spec, task: previousSpec.task, endpoint: previousSpec.endpoint };
}

/** None of a job: its next run has the other spec, nothing is replaced step by step. */
function rollbackStatus(spec: WholeServiceSpec, atMs: number): UpdateStatus | undefined {
  if (isJob(spec)) return undefined;
  const state = UpdateStatus_State.ROLLBACK_STARTED;
  return UpdateStatus.create({ state, startedAtMs: atMs, message: "manually requested rollback" });
}

function canaryStatus(canary: number): UpdateStatus | undefined {
  return canary === 0 ? undefined : UpdateStatus.create({ canary });
}
