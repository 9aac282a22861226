// The history of a service through the cluster's API: revisions and their authors, the way back, and a person's hand on an update.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterControl } from "../../../manager/control/cluster-control.ts";
import { createControl } from "../../../manager/control/create-control.ts";
import type { Store } from "../../../manager/store/store.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { SteerUpdateRequest_Action, UpdateServiceRequest } from "../../../proto/gen/control.ts";
import { UpdateStatus, UpdateStatus_State } from "../../../proto/gen/objects.ts";
import { UpdateConfig, UpdateConfig_FailureAction } from "../../../proto/gen/specs.ts";
import { DEFAULTS } from "../../../proto/model/defaults.ts";
import { type WholeService, wholeService } from "../../../proto/model/objects.ts";
import type { CallContext } from "../../../proto/rpc/caller.ts";
import { addNode, memoryStore, webSpec } from "../../support/cluster-state.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const LOCAL: CallContext = { caller: { kind: "local" }, signal: new AbortController().signal };
const { PAUSE, PROMOTE, RESUME } = SteerUpdateRequest_Action;
const { PAUSED, ROLLBACK_PAUSED, ROLLBACK_STARTED, UPDATING } = UpdateStatus_State;

interface Bench {
  readonly store: Store;
  readonly control: ClusterControl;
}

/** A manager m1 that leads, and a service web at web:1. */
async function bench(): Promise<Bench> {
  const clock = new ManualClock();
  const store = memoryStore(clock);
  for (const id of ["n1", "n2"]) await addNode(store, id);
  const leader = { nodeId: "n1", addr: "10.0.0.1:2377", isLeader: true, isReachable: true, isLearner: false };
  const control = createControl({
    store,
    clock,
    random: seededRandom(5),
    members: () => [leader],
    playOut: () => assert.fail("nothing is planned here"),
    rotateTokens: (rootCa) => rootCa,
    streams: { connect: () => assert.fail("no stream is wanted here") },
  });
  await control.createService({ spec: webSpec({ image: "web:1" }) }, LOCAL);
  return { store, control };
}

async function web({ control }: Bench): Promise<WholeService> {
  return wholeService(await control.getService({ ref: "web" }, LOCAL));
}

async function update(
  made: Bench,
  change: Partial<UpdateServiceRequest>,
  context: CallContext = LOCAL,
): Promise<WholeService> {
  const { meta } = await web(made);
  const request = { ...UpdateServiceRequest.create({ id: "web", version: meta.version }), ...change };
  const { service } = await made.control.updateService(request, context);
  assert.ok(service !== undefined);
  return wholeService(service);
}

async function setStatus(made: Bench, status: Partial<UpdateStatus>): Promise<void> {
  const { id } = await web(made);
  await made.store.update((tx) => {
    const service = tx.services.get(id);
    assert.ok(service !== undefined);
    tx.services.update({ ...service, updateStatus: { ...UpdateStatus.create(), ...status } });
  });
}

async function history({ control }: Bench): Promise<readonly (readonly [number, string, string, string])[]> {
  const { revisions } = await control.listRevisions({ ref: "web" }, LOCAL);
  return revisions.map(({ number, author, action, spec }) => [
    number,
    author,
    action,
    spec?.task?.container?.image ?? "",
  ]);
}

function refusal(code: Parameters<typeof isSwarmError>[1], message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isSwarmError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  };
}

test("every change is a revision with who made it, wherever the call came in", async () => {
  const made = await bench();
  const { store } = made;
  const hostname = store.view().nodes.get("n2")?.description.hostname ?? "";
  await update(made, { spec: webSpec({ image: "web:2" }) }, { ...LOCAL, forwardedBy: "n2" });
  const node = { kind: "node", nodeId: "n2", role: "manager", clusterId: "c1", addr: "10.0.0.2:9" } as const;
  await update(made, { rollbackTo: 0 }, { ...LOCAL, caller: node });
  await update(made, { rollbackTo: 2 });
  const first = store.view().nodes.get("n1")?.description.hostname ?? "";
  assert.deepEqual(await history(made), [
    [4, `root on ${first}`, "rollback to 2", "web:2"],
    [3, `node ${hostname} (n2)`, "rollback", "web:1"],
    [2, `root on ${hostname}`, "update", "web:2"],
    [1, `root on ${first}`, "create", "web:1"],
  ]);
});

test("the newest revisions are kept, and an update that changes nothing is none", async () => {
  const made = await bench();
  for (let image = 2; image <= DEFAULTS.revisionsMax + 3; image += 1) {
    await update(made, { spec: webSpec({ image: `web:${image}` }) });
    const { meta } = await web(made);
    const same = await update(made, { spec: webSpec({ image: `web:${image}` }) });
    assert.equal(same.meta.version, meta.version);
  }
  const numbers = (await history(made)).map(([number]) => number);
  assert.deepEqual(
    numbers,
    Array.from({ length: DEFAULTS.revisionsMax }, (_, index) => DEFAULTS.revisionsMax + 3 - index),
  );
  await assert.rejects(
    update(made, { rollbackTo: 1 }),
    refusal("FailedPrecondition", /^service web has no revision 1: there are 13, 12, /),
  );
  await assert.rejects(
    update(made, { rollbackTo: 13 }),
    refusal("FailedPrecondition", /^service web is at revision 13 already$/),
  );
});

test("a rollback asked for by a person says so, and its own way back is the spec that it left", async () => {
  const made = await bench();
  await assert.rejects(
    update(made, { rollbackTo: 0 }),
    refusal("FailedPrecondition", /^service web does not have a previous spec$/),
  );
  await update(made, { spec: webSpec({ image: "web:2" }) });
  const back = await update(made, { rollbackTo: 0 });
  assert.equal(back.spec.task.container.image, "web:1");
  assert.equal(back.previousSpec?.task.container.image, "web:2");
  assert.equal(back.specVersion, 3);
  assert.deepEqual(
    [back.updateStatus?.state, back.updateStatus?.message],
    [ROLLBACK_STARTED, "manually requested rollback"],
  );
});

test("what comes in between and restarts nothing is not undone with the update that is under way", async () => {
  const made = await bench();
  await update(made, { spec: webSpec({ image: "web:2" }) });
  await setStatus(made, { state: UPDATING });
  const mode = { $case: "replicated", value: { replicas: 9 } } as const;
  const scaled = await update(made, { spec: { ...webSpec({ image: "web:2" }), mode } });
  assert.equal(scaled.updateStatus?.state, UPDATING);
  assert.equal(scaled.previousSpec?.task.container.image, "web:1");
  assert.deepEqual(scaled.previousSpec.mode, mode);
});

test("a canary is for a change of the tasks by a new spec, and the name and the mode stay", async () => {
  const made = await bench();
  const fresh = await update(made, { spec: webSpec({ image: "web:2" }), canary: 2 });
  assert.deepEqual([fresh.updateStatus?.state, fresh.updateStatus?.canary], [UpdateStatus_State.UNKNOWN, 2]);
  await assert.rejects(
    update(made, { spec: webSpec(), canary: 0 }),
    refusal("InvalidArgument", /^canary 0 is not valid: it must be a whole number from 1 to 100000$/),
  );
  await assert.rejects(update(made, { rollbackTo: 1, canary: 1 }), refusal("InvalidArgument", /goes back everywhere/));
});

test("an update is paused, resumed and promoted where there is something to pause, to resume, to promote", async () => {
  const made = await bench();
  const steer = async (action: SteerUpdateRequest_Action): Promise<UpdateStatus | undefined> =>
    (await made.control.steerUpdate({ ref: "web", action }, LOCAL)).updateStatus;
  const no = (words: RegExp): ((error: unknown) => boolean) => refusal("FailedPrecondition", words);
  await assert.rejects(steer(PAUSE), no(/^service web is not being updated: there is nothing to pause$/));
  await assert.rejects(steer(RESUME), no(/^the update of service web is not paused/));
  await assert.rejects(steer(PROMOTE), no(/^service web has no canary to promote$/));

  await setStatus(made, { state: UPDATING, failedSlots: ["1"], forgivenSlots: ["3"] });
  assert.deepEqual([(await steer(PAUSE))?.state, (await steer(RESUME))?.state], [PAUSED, UPDATING]);
  const { updateStatus } = await web(made);
  assert.deepEqual([updateStatus?.failedSlots, updateStatus?.forgivenSlots], [[], ["3", "1"]]);

  await setStatus(made, { state: ROLLBACK_STARTED });
  assert.deepEqual([(await steer(PAUSE))?.state, (await steer(RESUME))?.state], [ROLLBACK_PAUSED, ROLLBACK_STARTED]);

  await setStatus(made, { state: PAUSED, canary: 1 });
  await assert.rejects(steer(RESUME), no(/waits behind its canary: let it go on with "service promote web"/));
  const promoted = await steer(PROMOTE);
  assert.deepEqual([promoted?.state, promoted?.canary], [UPDATING, 0]);
});

test("an update without a change lets a paused one go on, as docker's does", async () => {
  const made = await bench();
  await setStatus(made, { state: PAUSED, message: "update paused by hand" });
  const { updateStatus } = await update(made, { spec: webSpec({ image: "web:1" }) });
  assert.deepEqual([updateStatus?.state, updateStatus?.message], [UPDATING, "update in progress"]);
});

test("an update config that cannot be is refused with its path, its value and what would be valid", async () => {
  const made = await bench();
  const refused = (part: "update" | "rollback", config: Partial<UpdateConfig>, words: RegExp): Promise<void> =>
    assert.rejects(
      update(made, { spec: { ...webSpec(), [part]: { ...UpdateConfig.create(), ...config } } }),
      refusal("InvalidArgument", words),
    );
  await refused("update", { delayMs: -1 }, /^update\.delay_ms -1 is not valid: it must be a whole number from 0 /);
  await refused("update", { maxFailureRatio: 1.5 }, /^update\.max_failure_ratio 1\.5 is not valid: .* from 0 to 1$/);
  await refused("update", { maxFailureRatio: Number.NaN }, /^update\.max_failure_ratio /);
  await refused("update", { monitorMs: 1e12 }, /^update\.monitor_ms /);
  await refused("update", { progressDeadlineMs: 0.5 }, /^update\.progress_deadline_ms 0\.5 /);
  const { ROLLBACK } = UpdateConfig_FailureAction;
  await refused(
    "rollback",
    { failureAction: ROLLBACK },
    /^rollback\.failure_action "rollback" is not valid: a rollback is never rolled back: it must be pause or continue$/,
  );
});
