// One task on each node for services whose tasks belong to nodes: global services, and the run of a global job. The task has slot 0 and
// its node from the beginning. It is made where the node may have it, left alone where the node is only away or paused, and stopped
// where the node is drained or no longer meets what the placement asks.

import type { UnixMs } from "../../proto/base/clock.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { meetsConstraints, parseConstraint } from "../../proto/model/constraint.ts";
import type { WholeNode, WholeService, WholeTask } from "../../proto/model/objects.ts";
import { isGlobal, isJob, scheduleOf } from "../../proto/model/service-mode.ts";
import { TaskState, wantsToRun } from "../../proto/model/task-state.ts";
import { type NewId, type Pass, type StepResult, visit } from "../pass.ts";
import { meetsPlatforms } from "../placement/filters.ts";
import type { StoreEvent } from "../store/events.ts";
import { type SlotName, slotKey, slotNamed } from "../store/tables.ts";
import type { WriteTx } from "../store/tx.ts";
import { RUN_LATE_MAX_MS } from "./job-schedule.ts";
import { NO_RESTARTS, newTask, removeTask, stopTask } from "./new-task.ts";
import { hasHadItsRun } from "./slots.ts";

interface Run {
  readonly now: UnixMs;
  readonly limit: number;
}

/** The place of a service's task on a node. */
interface Place {
  readonly service: WholeService;
  readonly node: WholeNode;
  readonly name: SlotName;
}

export class GlobalPass implements Pass {
  readonly name = "global";
  readonly #newId: NewId;
  /** Ids of services whose tasks belong to nodes. */
  readonly #services = new Set<string>();
  readonly #dirtyServices = new Set<string>();
  readonly #dirtyNodes = new Set<string>();
  /** Keys of slots. */
  readonly #dirty = new Set<string>();

  constructor(newId: NewId) {
    this.#newId = newId;
  }

  observe(event: StoreEvent): void {
    if (event.kind === "node") this.#dirtyNodes.add(event.object.id);
    else if (event.kind === "task") {
      if (event.object.slot === 0) this.#mark(event.object);
    } else if (event.kind === "service" && isGlobal(event.object.spec)) {
      if (event.action === "remove") this.#services.delete(event.object.id);
      else {
        this.#services.add(event.object.id);
        this.#dirtyServices.add(event.object.id);
      }
    }
  }

  run(tx: WriteTx, now: UnixMs, limit: number): UnixMs | null {
    const seen = [
      visit(this.#dirtyServices, (serviceId) => {
        const nodes = tx.nodes.all();
        for (const { id } of nodes) this.#mark({ serviceId, slot: 0, nodeId: id });
        return nodes.length;
      }),
      visit(this.#dirtyNodes, (nodeId) => {
        for (const serviceId of this.#services) this.#mark({ serviceId, slot: 0, nodeId });
        return this.#services.size;
      }),
      visit(this.#dirty, (key) => this.#slot(tx, key, { now, limit })),
    ];
    return seen.every(Boolean) ? null : now;
  }

  #mark(name: SlotName): void {
    this.#dirty.add(slotKey(name));
  }

  #slot(tx: WriteTx, key: string, run: Run): StepResult {
    const name = slotNamed(key);
    const service = tx.services.get(name.serviceId);
    if (service === undefined || service.pendingDelete) return 1;
    return this.#place(tx, { service, name }, run) ? 1 : "full";
  }

  /** False when the transaction has no room. */
  #place(tx: WriteTx, at: Pick<Place, "service" | "name">, run: Run): boolean {
    const node = tx.nodes.get(at.name.nodeId);
    if (node === undefined) return tx.tasks.bySlot(at.name).every((task) => removeTask(tx, task, run.limit));
    const place = { ...at, node };
    const wanted = tx.tasks.bySlot(at.name).filter((task) => wantsToRun(task.desiredState));
    // What was lost with its node does not come back; another takes its place when the node does.
    const unwanted = wanted.filter((task) => task.status.state === TaskState.ORPHANED || !mayStay(place));
    if (!unwanted.every((task) => stopTask(tx, task, run.limit))) return false;
    return unwanted.length < wanted.length || !mayStart(place) || isServed(tx, place) || isLate(place, run.now)
      ? true
      : this.#start(tx, place, run);
  }

  #start(tx: WriteTx, { service, name }: Place, { now, limit }: Run): boolean {
    const { slot, nodeId } = name;
    const task = newTask(tx, service, { id: this.#newId(), slot, nodeId, now, delayMs: 0, restarts: NO_RESTARTS });
    if (!tx.fits(limit, [task])) return false;
    tx.tasks.create(task);
    return true;
  }
}

function mayStay({ node, service }: Place): boolean {
  if (node.spec.availability === NodeSpec_Availability.DRAIN) return false;
  const { constraints, platforms } = service.spec.task.placement;
  return meetsConstraints(node, constraints.map(parseConstraint)) && meetsPlatforms(node, platforms);
}

function mayStart(place: Place): boolean {
  const { spec, status } = place.node;
  return (
    status.state === NodeStatus_State.READY && spec.availability === NodeSpec_Availability.ACTIVE && mayStay(place)
  );
}

/** Has the node had what it is to have: of a job its task of the newest run? */
function isServed(tx: WriteTx, { service, name }: Place): boolean {
  const iteration = service.jobStatus?.iteration ?? 0;
  if (isJob(service.spec) && iteration === 0) return true;
  const ofRun = tx.tasks.bySlot(name).filter((task) => task.jobIteration === iteration);
  const newest = ofRun.reduce<WholeTask | undefined>(
    (last, task) => (last === undefined || task.generation > last.generation ? task : last),
    undefined,
  );
  return newest !== undefined && newest.desiredState < TaskState.REMOVE && hasHadItsRun(newest, service);
}

/** A node that comes when the run of a schedule has long begun waits for the next one. */
function isLate({ service }: Place, now: UnixMs): boolean {
  return scheduleOf(service.spec) !== undefined && now - (service.jobStatus?.startedAtMs ?? 0) > RUN_LATE_MAX_MS;
}
