// The tasks of this node: takes sets of assignments, keeps one task manager per task, and has every status journaled and
// reported. It goes on without any manager. It does not know sessions, and of containers only the Executor.

import { assert } from "../proto/base/assert.ts";
import type { Clock } from "../proto/base/clock.ts";
import { aborted } from "../proto/base/abort.ts";
import { SwarmError, errorText } from "../proto/base/errors.ts";
import { Group } from "../proto/base/group.ts";
import type { Logger } from "../proto/base/log.ts";
import { Notice } from "../proto/base/notice.ts";
import type { Random } from "../proto/base/random.ts";
import type { StreamFrame, StreamOpen } from "../proto/gen/streams.ts";
import type { WholeTask } from "../proto/model/objects.ts";
import { TaskState, isEnded } from "../proto/model/task-state.ts";
import type { Executor } from "./exec/executor.ts";
import type { Journal } from "./journal.ts";
import type { Reporter } from "./reporter.ts";
import { TaskManager } from "./task.ts";

/** Files of new tasks written at the same time. */
const WRITES_MAX = 16;

export interface WorkerOptions {
  readonly executor: Executor;
  readonly journal: Journal;
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface Assignment {
  /** True: tasks that are not in `updated` are no longer this node's. */
  readonly complete: boolean;
  readonly updated: readonly WholeTask[];
  /** Ids. */
  readonly removed: readonly string[];
}

export interface WorkerCounts {
  readonly tasks: number;
  readonly running: number;
  /** Statuses that no manager has taken yet. */
  readonly unreported: number;
}

interface Entry {
  readonly manager: TaskManager;
  /** The same task came back while it was being removed: it begins anew after that. */
  again: WholeTask | undefined;
}

export class Worker {
  readonly #options: WorkerOptions;
  readonly #entries = new Map<string, Entry>();
  /** Raised when a task was removed. */
  readonly #gone = new Notice();
  #group: Group | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** Takes up the tasks of the journal where they stand and clears away what belongs to none of them. */
  async start(signal: AbortSignal): Promise<void> {
    assert(this.#group === undefined, "a worker starts once");
    const tasks = await this.#options.journal.load();
    this.#group = new Group(signal);
    // Lives as long as the worker, which may have no tasks for a while.
    this.#group.spawn((stop) => aborted(stop));
    const known = new Set(tasks.map((task) => task.id));
    try {
      await this.#options.executor.sweep(known, signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#options.logger.error("cannot clear away what earlier tasks left", { error: errorText(error) });
    }
    for (const task of tasks) {
      this.#options.reporter.report(task.id, task.status);
      this.#run(task);
    }
  }

  /** Settles after the signal of `start` aborted and every task was let go (containers run on); rejects on failed assertions. */
  async join(): Promise<void> {
    await this.#group?.join();
    await this.#options.journal.flush();
  }

  /** Stops and removes every task; settles when nothing is left. For a node that leaves its cluster. */
  async removeAll(signal: AbortSignal): Promise<void> {
    for (const id of this.#entries.keys()) this.#remove(id);
    while (this.#entries.size > 0) await this.#gone.wait(signal);
  }

  /** Takes one set of assignments. Settles when every new task is in the journal; their steps go on by themselves. */
  async assign(assignment: Assignment): Promise<void> {
    const updated = new Set(assignment.updated.map((task) => task.id));
    if (assignment.complete) {
      for (const id of this.#entries.keys()) if (!updated.has(id)) this.#remove(id);
    }
    for (const id of assignment.removed) this.#remove(id);
    const fresh: WholeTask[] = [];
    for (const task of assignment.updated) {
      const entry = this.#entries.get(task.id);
      if (entry === undefined) fresh.push(task);
      else if (entry.manager.removed) entry.again = task;
      else if (entry.manager.update(task)) this.#options.journal.note(entry.manager.task);
    }
    for (let from = 0; from < fresh.length; from += WRITES_MAX) {
      await Promise.all(fresh.slice(from, from + WRITES_MAX).map((task) => this.#add(task)));
    }
  }

  /** Serves a stream of one of the tasks here. Throws "NotFound" for any other. */
  stream(open: StreamOpen, input: AsyncIterable<StreamFrame>, signal: AbortSignal): AsyncIterable<StreamFrame> {
    const entry = this.#entries.get(open.taskId);
    if (entry === undefined) throw new SwarmError("NotFound", `task ${open.taskId} is not on this node`);
    return entry.manager.stream(open, input, signal);
  }

  tasks(): WholeTask[] {
    return [...this.#entries.values()].map((entry) => entry.manager.task);
  }

  counts(): WorkerCounts {
    const running = this.tasks().filter((task) => task.status.state === TaskState.RUNNING).length;
    return { tasks: this.#entries.size, running, unreported: this.#options.reporter.pending };
  }

  #remove(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.again = undefined;
    entry.manager.remove();
  }

  /** A task is journaled before its first step, so that nothing of it can be made that a restarted agent would not know. */
  async #add(task: WholeTask): Promise<void> {
    let rejected: WholeTask | undefined;
    try {
      await this.#options.journal.put(task);
    } catch (error) {
      const message = `this node cannot write its journal: ${errorText(error)}`;
      this.#options.logger.error("a task is rejected", { task: task.id, error: message });
      const status = { ...task.status, state: TaskState.REJECTED, atMs: this.#options.clock.now(), error: message };
      if (!isEnded(task.status.state)) rejected = { ...task, status };
    }
    if (rejected !== undefined) this.#options.reporter.report(task.id, rejected.status);
    this.#run(rejected ?? task);
  }

  #run(task: WholeTask): void {
    assert(this.#group !== undefined, "a worker was started");
    const { journal, reporter } = this.#options;
    const manager = new TaskManager({
      task,
      executor: this.#options.executor,
      clock: this.#options.clock,
      random: this.#options.random,
      logger: this.#options.logger,
      onStatus: (newer) => {
        journal.note(newer);
        reporter.report(newer.id, newer.status);
      },
    });
    const entry: Entry = { manager, again: undefined };
    this.#entries.set(task.id, entry);
    this.#group.spawn(async (signal) => {
      await manager.run(signal);
      await this.#forget(task.id, entry);
    });
  }

  async #forget(id: string, entry: Entry): Promise<void> {
    try {
      await this.#options.journal.forget(id);
    } catch (error) {
      // A restart would find the task, and the next complete set would remove it again.
      this.#options.logger.warn("cannot take a removed task out of the journal", { task: id, error: errorText(error) });
    }
    this.#options.reporter.forget(id);
    this.#entries.delete(id);
    this.#gone.raise();
    if (entry.again !== undefined) await this.#add(entry.again);
  }
}
