// A whole cluster without waiting: a store, the leader's passes, and nodes whose agents are a few lines. Time moves when told. Every
// run is followed by a check of what must always hold.

import assert from "node:assert/strict";
import { PassRunner, everything } from "../../manager/pass-runner.ts";
import { leaderPasses } from "../../manager/leader.ts";
import { Store } from "../../manager/store/store.ts";
import type { ReadTx, WriteTx } from "../../manager/store/tx.ts";
import { silentLogger } from "../../proto/base/log.ts";
import {
  Node,
  NodeDescription,
  NodeStatus,
  NodeStatus_State,
  Service,
  type TaskState as State,
  UpdateStatus,
} from "../../proto/gen/objects.ts";
import { NodeSpec, type NodeSpec_Availability, Resources } from "../../proto/gen/specs.ts";
import {
  type WholeNode,
  type WholeService,
  type WholeServiceSpec,
  type WholeTask,
  wholeNode,
  wholeService,
} from "../../proto/model/objects.ts";
import { replicasOf } from "../../proto/model/service-mode.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import { withStatus } from "../../proto/model/task-times.ts";
import { checkAlways } from "./cluster-invariants.ts";
import { FakeProposer } from "./fake-proposer.ts";

/** Runs and steps of agents until a cluster must have come to rest. */
const ROUNDS_MAX = 3_000;

export interface NodeSize {
  readonly nanoCpus?: number;
  readonly memoryBytes?: number;
}

export class FakeCluster {
  readonly proposer: FakeProposer = new FakeProposer();
  readonly store: Store;
  nowMs = 1_700_000_000_000;
  /** Tasks of these services stop only when `settle` is told so: "stuck". */
  readonly stubborn: Set<string> = new Set();
  /** What becomes of a task instead of its next step; undefined: nothing else. The state it is in: it stays in it. */
  fate: (task: WholeTask) => State | undefined = () => undefined;
  /** How a job's task ends; undefined: it runs on. */
  jobEnd: (task: WholeTask) => State | undefined = () => TaskState.COMPLETE;
  /** Called after each committed run of the passes. */
  afterRun: (view: ReadTx) => void = () => undefined;
  #runner: PassRunner;
  #ids = 0;
  #next: number | null = null;

  constructor() {
    this.store = new Store({ now: () => this.nowMs });
    this.store.attach(this.proposer);
    this.#runner = this.#makeRunner();
    this.store.subscribe((commit) => this.#runner.observe(commit.events));
  }

  get view(): ReadTx {
    return this.store.view();
  }

  /** A leader that saw nothing of what was before. */
  newLeader(): void {
    this.#runner = this.#makeRunner();
    this.#runner.observe(everything(this.view));
  }

  commit<T>(fn: (tx: WriteTx) => T): T {
    const outcome: { answer?: { readonly value: T }; error?: unknown } = {};
    const done = this.store.update((tx) => {
      try {
        outcome.answer = { value: fn(tx) };
      } catch (error) {
        outcome.error = error;
        throw error;
      }
    });
    if (outcome.answer !== undefined) {
      void done;
      return outcome.answer.value;
    }
    done.catch(() => undefined);
    throw outcome.error;
  }

  addNode(id: string, size: NodeSize = {}): void {
    const resources = Resources.create({ nanoCpus: 8e9, memoryBytes: 8e9, ...size });
    this.commit((tx) =>
      tx.nodes.create(
        wholeNode(
          Node.create({
            id,
            spec: NodeSpec.create(),
            description: { ...NodeDescription.create(), hostname: `host-${id}`, resources },
            status: NodeStatus.create({ state: NodeStatus_State.READY }),
          }),
        ),
      ),
    );
  }

  changeNode(id: string, change: (node: WholeNode) => WholeNode): void {
    this.commit((tx) => {
      const node = tx.nodes.get(id);
      if (node !== undefined) tx.nodes.update(change(node));
    });
  }

  setAvailability(id: string, availability: NodeSpec_Availability): void {
    this.changeNode(id, (node) => ({ ...node, spec: { ...node.spec, availability } }));
  }

  setState(id: string, state: NodeStatus_State): void {
    this.changeNode(id, (node) => ({ ...node, status: { ...node.status, state } }));
  }

  /** As the dispatcher does it: the node goes, and what was on it is orphaned. */
  removeNode(id: string): void {
    this.commit((tx) => tx.nodes.remove(id));
    for (const task of this.view.tasks.byNode(id)) this.report(task, TaskState.ORPHANED);
  }

  createService(id: string, spec: WholeServiceSpec): void {
    this.commit((tx) => tx.services.create(wholeService(Service.create({ id, spec, specVersion: 1 }))));
  }

  /** As `service update` does it. */
  updateService(id: string, change: (spec: WholeServiceSpec) => WholeServiceSpec, canary = 0): void {
    this.commit((tx) => {
      const service = tx.services.get(id);
      if (service === undefined) return;
      const spec = change(service.spec);
      const sameTask = JSON.stringify(spec.task) === JSON.stringify(service.spec.task);
      tx.services.update({
        ...service,
        spec: sameTask ? { ...spec, task: service.spec.task } : spec,
        previousSpec: sameTask ? service.previousSpec : service.spec,
        specVersion: service.specVersion + (sameTask ? 0 : 1),
        updateStatus: sameTask ? service.updateStatus : UpdateStatus.create({ canary }),
      });
    });
  }

  replicas(id: string): number {
    const service = this.view.services.get(id);
    return service === undefined ? 0 : (replicasOf(service.spec) ?? 0);
  }

  scale(id: string, replicas: number): void {
    this.updateService(id, (spec) => ({ ...spec, mode: { $case: "replicated", value: { replicas } } }));
  }

  removeService(id: string): void {
    this.commit((tx) => {
      const service = tx.services.get(id);
      if (service !== undefined) tx.services.update({ ...service, pendingDelete: true });
    });
  }

  /** What an agent says of a task; nothing when the task is past it. */
  report(task: WholeTask, state: State, error = ""): void {
    this.commit((tx) => {
      const found = tx.tasks.get(task.id);
      if (found === undefined || found.status.state >= state) return;
      tx.tasks.update(withStatus(found, { ...found.status, state, atMs: this.nowMs, message: "", error }, tx.atMs));
    });
  }

  service(id: string): WholeService {
    const service = this.view.services.get(id);
    assert.ok(service, `service ${id} is there`);
    return service;
  }

  tasksOf(serviceId: string): readonly WholeTask[] {
    return [...this.view.tasks.byService(serviceId)].sort((a, b) => a.slot - b.slot || a.generation - b.generation);
  }

  running(serviceId: string): readonly WholeTask[] {
    return this.tasksOf(serviceId).filter(
      (task) => task.status.state === TaskState.RUNNING && task.desiredState === TaskState.RUNNING,
    );
  }

  wanted(serviceId: string): readonly WholeTask[] {
    return this.tasksOf(serviceId).filter((task) => wantsToRun(task.desiredState));
  }

  /** One run of the passes. True when it changed something. */
  run(): boolean {
    const { changed, next } = this.commit((tx) => this.#runner.run(tx, this.nowMs));
    this.#next = next;
    checkAlways(this.view);
    this.afterRun(this.view);
    return changed;
  }

  /** Every agent takes each of its tasks one step on. True when one did. */
  step(): boolean {
    let moved = false;
    for (const task of this.view.tasks.all()) {
      const node = this.view.nodes.get(task.nodeId);
      if (node?.status.state !== NodeStatus_State.READY) continue;
      const state = this.fate(task) ?? this.#nextState(task);
      if (state === undefined || state === task.status.state) continue;
      this.report(task, state);
      moved = true;
    }
    return moved;
  }

  /** Until nothing changes and nobody waits for a time; moves time on where somebody does. */
  settle(): void {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      if (this.run() || this.step()) continue;
      if (this.#next === null) return;
      this.nowMs = Math.max(this.nowMs, this.#next);
    }
    assert.fail(`the cluster does not come to rest in ${ROUNDS_MAX} rounds`);
  }

  #makeRunner(): PassRunner {
    const passes = leaderPasses(() => `task${String((this.#ids += 1)).padStart(21, "0")}`);
    return new PassRunner({ passes, logger: silentLogger, strict: true });
  }

  #nextState(task: WholeTask): State | undefined {
    const { state } = task.status;
    if (isEnded(state) || state < TaskState.ASSIGNED) return undefined;
    if (!wantsToRun(task.desiredState)) return this.stubborn.has(task.serviceId) ? undefined : TaskState.SHUTDOWN;
    if (state === TaskState.RUNNING) return task.jobIteration > 0 ? this.jobEnd(task) : undefined;
    if (state === TaskState.READY && task.desiredState === TaskState.READY) return undefined;
    return STEPS[STEPS.indexOf(state) + 1];
  }
}

const STEPS: readonly State[] = [
  TaskState.ASSIGNED,
  TaskState.ACCEPTED,
  TaskState.PREPARING,
  TaskState.READY,
  TaskState.STARTING,
  TaskState.RUNNING,
];
