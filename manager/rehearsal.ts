// What a changed service would come to, played out on a copy: the leader's own passes over tables that are thrown away, with agents
// that do all they are told at once. It proposes nothing, and gives others the loop between its pieces.

import type { Clock, UnixMs } from "../proto/base/clock.ts";
import type { Logger } from "../proto/base/log.ts";
import type { Random } from "../proto/base/random.ts";
import { UpdateConfig_FailureAction, type UpdateConfig } from "../proto/gen/specs.ts";
import { newId } from "../proto/model/ids.ts";
import type { WholeService, WholeTask } from "../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../proto/model/task-state.ts";
import { withStatus } from "../proto/model/task-times.ts";
import { isUnderWay } from "../proto/model/update-plan.ts";
import { leaderPasses } from "./leader.ts";
import { PassRunner } from "./pass-runner.ts";
import type { StoreEvent } from "./store/events.ts";
import { Tables } from "./store/tables.ts";
import { Transaction } from "./store/transaction.ts";
import type { ReadTx, WriteTx } from "./store/tx.ts";

export interface RehearsalOptions {
  readonly view: ReadTx;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Objects that are copied, or shown to the passes, before others get the loop. */
const AT_ONCE = 2_000;
/** Runs and steps until a service must have come to rest; one that has not is shown as far as it is. */
const ROUNDS_MAX = 2_000;

/** The wanted tasks of `service` after it has taken the place of what is stored under its id, all updates at once. */
export async function rehearse(
  options: RehearsalOptions,
  service: WholeService,
  signal: AbortSignal,
): Promise<readonly WholeTask[]> {
  const stage = new Stage(options);
  await stage.fill(options.view, service, signal);
  await stage.play(service.id, signal);
  return stage.wanted(service.id);
}

class Stage {
  readonly #options: RehearsalOptions;
  readonly #tables = new Tables();
  readonly #passes: ReturnType<typeof leaderPasses>;
  readonly #runner: PassRunner;
  #now: UnixMs;

  constructor(options: RehearsalOptions) {
    const { clock, random, logger } = options;
    this.#options = options;
    this.#now = clock.now();
    this.#passes = leaderPasses(() => newId(random));
    this.#runner = new PassRunner({ passes: this.#passes, logger, strict: true });
  }

  wanted(serviceId: string): readonly WholeTask[] {
    return this.#tasksOf(serviceId)
      .filter(({ desiredState }) => wantsToRun(desiredState))
      .sort((a, b) => a.generation - b.generation);
  }

  /** Everything that decides where tasks may go. What others ended is left out. */
  async fill(view: ReadTx, service: WholeService, signal: AbortSignal): Promise<void> {
    const { rows } = this.#tables;
    for (const cluster of view.clusters.all()) rows.cluster.put(cluster.id, cluster);
    for (const other of view.services.all()) rows.service.put(other.id, other);
    const tasks = view.tasks.all();
    const nodes = view.nodes.all();
    await this.#inPieces(tasks, signal, (task) => {
      if (!isEnded(task.status.state) || task.serviceId === service.id) rows.task.put(task.id, task);
    });
    await this.#inPieces(nodes, signal, (node) => {
      rows.node.put(node.id, node);
      // Only placing looks at all nodes; what is on them already is no matter of this service.
      const event: StoreEvent = { kind: "node", action: "create", object: node, old: undefined };
      for (const pass of this.#passes) if (pass.name === "schedule") pass.observe(event);
    });
    const before = rows.service.get(service.id);
    const prepared = atOnce(service);
    rows.service.put(service.id, prepared);
    this.#runner.observe([
      before === undefined
        ? { kind: "service", action: "create", object: prepared, old: undefined }
        : { kind: "service", action: "update", object: prepared, old: before },
      ...this.#tasksOf(service.id).map((object): StoreEvent => ({
        kind: "task",
        action: "create",
        object,
        old: undefined,
      })),
    ]);
  }

  async play(serviceId: string, signal: AbortSignal): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const { changed, next } = this.#transact((tx) => this.#runner.run(tx, this.#now));
      const stepped = this.#transact((tx) => this.#step(tx, serviceId));
      if (!changed && !stepped && (next === null || next > this.#now)) {
        if (next === null || !this.#isUnderWay(serviceId)) return;
        this.#now = next;
      }
      await this.#options.clock.sleep(0, signal);
    }
  }

  /** Does somebody wait for a time to come? */
  #isUnderWay(serviceId: string): boolean {
    if (isUnderWay(this.#tables.rows.service.get(serviceId)?.updateStatus)) return true;
    return this.wanted(serviceId).some(({ desiredState }) => desiredState === TaskState.READY);
  }

  /** Agents come to the end of what their tasks are wanted to be. True when one did. */
  #step(tx: WriteTx, serviceId: string): boolean {
    let moved = false;
    for (const task of this.#tasksOf(serviceId)) {
      const state = reached(task);
      if (state === undefined || !tx.fits(AT_ONCE, [task])) continue;
      const status = { ...task.status, state, atMs: this.#now, message: "", error: "" };
      tx.tasks.update(withStatus(task, status, this.#now));
      moved = true;
    }
    return moved;
  }

  #tasksOf(serviceId: string): WholeTask[] {
    return [...this.#tables.tasksByService.get(serviceId)];
  }

  #transact<T>(action: (tx: WriteTx) => T): T {
    const tx = new Transaction(this.#tables, { version: 0, atMs: this.#now });
    const answer = action(tx);
    this.#runner.observe(tx.close());
    return answer;
  }

  async #inPieces<T>(items: readonly T[], signal: AbortSignal, each: (item: T) => void): Promise<void> {
    for (const [index, item] of items.entries()) {
      if (index > 0 && index % AT_ONCE === 0) await this.#options.clock.sleep(0, signal);
      each(item);
    }
  }
}

function reached(task: WholeTask): TaskState | undefined {
  const { state } = task.status;
  if (isEnded(state) || state < TaskState.ASSIGNED) return undefined;
  if (!wantsToRun(task.desiredState)) return TaskState.SHUTDOWN;
  const wanted = task.desiredState === TaskState.READY ? TaskState.READY : TaskState.RUNNING;
  return state < wanted ? wanted : undefined;
}

/** The service with updates that wait for nothing: where its tasks end is asked, not when. */
function atOnce(service: WholeService): WholeService {
  const { update, rollback } = service.spec;
  return { ...service, spec: { ...service.spec, update: hasty(update), rollback: hasty(rollback) } };
}

function hasty(config: UpdateConfig): UpdateConfig {
  return {
    ...config,
    parallelism: 0,
    delayMs: 0,
    monitorMs: 0,
    progressDeadlineMs: 0,
    failureAction: UpdateConfig_FailureAction.CONTINUE,
  };
}
