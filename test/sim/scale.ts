// How placing goes with many nodes and tasks, through the real store and passes: placements per second, what one costs with few nodes
// and with many, and how long the leader's loop is held by one run or one commit. The log is memory, but everything is encoded for it.

import assert from "node:assert/strict";
import { leaderPasses } from "../../manager/leader.ts";
import { PassRunner, everything } from "../../manager/pass-runner.ts";
import { Store } from "../../manager/store/store.ts";
import type { ReadTx, WriteTx } from "../../manager/store/tx.ts";
import { silentLogger } from "../../proto/base/log.ts";
import { StoreChanges } from "../../proto/gen/control.ts";
import { Node, NodeDescription, NodeStatus, NodeStatus_State, Service } from "../../proto/gen/objects.ts";
import { NodeSpec, NodeSpec_Availability, Resources, ServiceSpec } from "../../proto/gen/specs.ts";
import {
  type WholeServiceSpec,
  type WholeTask,
  wholeNode,
  wholeService,
  wholeServiceSpec,
} from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";

export interface ScaleShape {
  /** Replicas of each service. */
  readonly services: readonly number[];
  readonly change?: (spec: WholeServiceSpec) => WholeServiceSpec;
}

const BATCH = 100;
/** Status reports of one commit, as the dispatcher writes them. */
const REPORTS = 200;
/** As leader.ts has it. */
const SHOWN_AT_ONCE = 500;
const ROUNDS_MAX = 1_000;

export class ScaleCluster {
  readonly store: Store;
  #runner: PassRunner;
  #nowMs = 1_700_000_000_000;
  #index = 0;
  #ids = 0;
  #holds: number[] = [];

  constructor() {
    this.store = new Store({ now: () => this.#nowMs });
    this.store.attach({
      propose: (changes, onCommit) => {
        assert.ok(StoreChanges.encode(changes).finish().byteLength <= 1_572_864, "a transaction is within its bound");
        this.#index += 1;
        onCommit(this.#index);
        return Promise.resolve({ kind: "committed", index: this.#index });
      },
    });
    this.#runner = this.#makeRunner();
    this.store.subscribe(({ events }) => this.#runner.observe(events));
  }

  get view(): ReadTx {
    return this.store.view();
  }

  /** How long each turn of the loop took since the last call, in milliseconds. */
  takeHolds(): readonly number[] {
    const holds = this.#holds;
    this.#holds = [];
    return holds;
  }

  addNodes(count: number, zones: number): Promise<void> {
    return this.#inBatches(
      Array.from({ length: count }, (_, index) => index),
      (tx, index) =>
        tx.nodes.create(
          wholeNode(
            Node.create({
              id: `node${String(index).padStart(21, "0")}`,
              spec: { ...NodeSpec.create(), labels: { zone: `z${index % zones}` } },
              description: {
                ...NodeDescription.create(),
                hostname: `host-${index}`,
                platform: { os: "linux", architecture: "amd64" },
                resources: { ...Resources.create(), nanoCpus: 64e9, memoryBytes: 2 ** 38 },
              },
              status: NodeStatus.create({ state: NodeStatus_State.READY, addr: `10.0.${index >> 8}.${index & 255}` }),
            }),
          ),
        ),
    );
  }

  addServices({ services, change = (spec) => spec }: ScaleShape): Promise<void> {
    return this.#inBatches(services, (tx, replicas) => {
      const id = `service${String((this.#ids += 1)).padStart(18, "0")}`;
      const base = wholeServiceSpec(ServiceSpec.create({ name: id }));
      const reservations = { ...Resources.create(), nanoCpus: 1e8, memoryBytes: 2 ** 26 };
      const container = { ...base.task.container, image: "registry.example/team/web:1", env: ["A=1", "B=2"] };
      const spec = change({
        ...base,
        mode: { $case: "replicated", value: { replicas } },
        task: { ...base.task, container, reservations },
      });
      tx.services.create(wholeService(Service.create({ id, spec, specVersion: 1 })));
    });
  }

  /** Runs of the passes until nothing changes and nobody wants to go on at once. */
  async rest(): Promise<void> {
    for (;;) {
      const { changed, next } = await this.#update((tx) => this.#runner.run(tx, this.#nowMs));
      if (!changed && (next === null || next > this.#nowMs)) return;
    }
  }

  /** What agents report when all goes well: wanted tasks run, others stop. */
  async report(): Promise<number> {
    const due = this.view.tasks.all().filter(({ status, desiredState }) => {
      if (status.state < TaskState.ASSIGNED || isEnded(status.state)) return false;
      return wantsToRun(desiredState) ? status.state < TaskState.RUNNING : true;
    });
    for (let from = 0; from < due.length; from += REPORTS) {
      const part = due.slice(from, from + REPORTS);
      await this.#update((tx) => {
        for (const { id } of part) {
          const task = tx.tasks.get(id);
          if (task !== undefined) tx.tasks.update(this.#reported(task));
        }
      });
      await this.rest();
    }
    return due.length;
  }

  /** Until agents have nothing more to report and the passes nothing to do. */
  async settle(): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      await this.rest();
      if ((await this.report()) === 0) return;
    }
    assert.fail(`the cluster does not come to rest in ${ROUNDS_MAX} rounds`);
  }

  /** A leader that saw nothing of what was before; it is shown all in the pieces that leader.ts shows. */
  async newLeader(): Promise<void> {
    this.#runner = this.#makeRunner();
    const present = everything(this.view);
    for (let from = 0; from < present.length; from += SHOWN_AT_ONCE) {
      await this.#update((tx) => {
        this.#runner.observe(present.slice(from, from + SHOWN_AT_ONCE));
        return this.#runner.run(tx, this.#nowMs);
      });
    }
  }

  async drain(count: number): Promise<void> {
    const nodes = this.view.nodes.all().slice(0, count);
    await this.#inBatches(nodes, (tx, { id }) => {
      const node = tx.nodes.get(id);
      if (node === undefined) return;
      tx.nodes.update({ ...node, spec: { ...node.spec, availability: NodeSpec_Availability.DRAIN, drainForce: true } });
    });
  }

  changeServices(change: (spec: WholeServiceSpec) => WholeServiceSpec): Promise<void> {
    return this.#inBatches(this.view.services.all(), (tx, { id }) => {
      const service = tx.services.get(id);
      if (service !== undefined) tx.services.update({ ...service, spec: change(service.spec) });
    });
  }

  removeServices(): Promise<void> {
    return this.#inBatches(this.view.services.all(), (tx, { id }) => {
      const service = tx.services.get(id);
      if (service !== undefined) tx.services.update({ ...service, pendingDelete: true });
    });
  }

  #makeRunner(): PassRunner {
    const passes = leaderPasses(() => `task${String((this.#ids += 1)).padStart(21, "0")}`);
    return new PassRunner({ passes, logger: silentLogger, strict: true });
  }

  #reported(task: WholeTask): WholeTask {
    const state = wantsToRun(task.desiredState) ? TaskState.RUNNING : TaskState.SHUTDOWN;
    return { ...task, status: { ...task.status, state, atMs: this.#nowMs, message: "started" } };
  }

  async #inBatches<T>(items: readonly T[], write: (tx: WriteTx, item: T) => void): Promise<void> {
    for (let from = 0; from < items.length; from += BATCH) {
      await this.#update((tx) => {
        for (const item of items.slice(from, from + BATCH)) write(tx, item);
      });
    }
  }

  /** One turn of the loop: the function, the encoding, the commit, and what the passes are told of it. */
  async #update<T>(fn: (tx: WriteTx) => T): Promise<T> {
    const before = performance.now();
    const done = this.store.update(fn);
    this.#holds.push(performance.now() - before);
    return done;
  }
}
