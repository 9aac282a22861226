// The life of one task on this node (SwarmKit's taskManager): takes step after step, says each new status, turns round at once
// when the task is to stop, tries temporary trouble again with a bound, and takes everything away when the task is removed.
// It knows neither managers nor journals: both hear of changes through `onStatus`.

import { assert } from "../proto/base/assert.ts";
import { type ChildAbort, childOf } from "../proto/base/abort.ts";
import { Backoff } from "../proto/base/backoff.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError, errorText } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import { Notice } from "../proto/base/notice.ts";
import type { Random } from "../proto/base/random.ts";
import type { TaskStatus } from "../proto/gen/objects.ts";
import type { StreamFrame, StreamOpen } from "../proto/gen/streams.ts";
import { DEFAULTS } from "../proto/model/defaults.ts";
import type { WholeTask } from "../proto/model/objects.ts";
import { isEnded, taskStateName, wantsToRun } from "../proto/model/task-state.ts";
import type { Controller, Executor } from "./exec/executor.ts";
import { step } from "./exec/step.ts";

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 8_000;
/** Tries of one step before temporary trouble counts as final: about half a minute. */
const TRIES_MAX = 8;

export interface TaskManagerOptions {
  readonly task: WholeTask;
  readonly executor: Executor;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Each new status, in order; states only rise. */
  readonly onStatus: (task: WholeTask) => void;
}

export class TaskManager {
  readonly #options: TaskManagerOptions;
  readonly #changed = new Notice();
  readonly #backoff: Backoff;
  #task: WholeTask;
  #controller: Controller | undefined;
  #removed = false;
  /** Of the step under way. */
  #step: ChildAbort | undefined;
  /** Monotonic. Invariant: set once, so that a manager's clock that is ahead cannot hold a task for ever. */
  #holdUntilMs: number | undefined;

  constructor(options: TaskManagerOptions) {
    this.#options = options;
    this.#task = options.task;
    this.#backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random: options.random });
  }

  /** The task with its newest status. */
  get task(): WholeTask {
    return this.#task;
  }

  get removed(): boolean {
    return this.#removed;
  }

  /** Takes a newer object of the same task. Desired state only rises: an older one is ignored. Answers whether it changed. */
  update(task: WholeTask): boolean {
    assert(task.id === this.#task.id, "an update is for the same task");
    if (task.desiredState <= this.#task.desiredState) return false;
    const turns = wantsToRun(this.#task.desiredState) && !wantsToRun(task.desiredState);
    this.#task = { ...task, status: this.#task.status };
    this.#controller?.update(this.#task);
    if (turns) this.#turn();
    this.#changed.raise();
    return true;
  }

  /** The task is no longer this node's: stop it if it lives, take everything away, and let `run` settle. */
  remove(): void {
    this.#removed = true;
    // A stop that is under way goes on: begun anew it would grant the grace period twice.
    if (wantsToRun(this.#task.desiredState)) this.#turn();
    this.#changed.raise();
  }

  /** Settles when the task was removed and nothing of it is left; rejects when `signal` aborts (what runs, runs on). */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#open(signal);
      while (!this.#removed) await this.#next(signal);
      await this.#takeAway(signal);
    } finally {
      this.#controller?.close();
    }
  }

  /** Serves one exec, logs or attach stream of this task. */
  stream(open: StreamOpen, input: AsyncIterable<StreamFrame>, signal: AbortSignal): AsyncIterable<StreamFrame> {
    if (this.#controller === undefined) {
      throw new SwarmError("Unavailable", `task ${this.#task.id} is being set up on this node; try again`);
    }
    return this.#controller.stream(open, input, signal);
  }

  /** Breaks off what the task was doing on its way up. */
  #turn(): void {
    this.#backoff.reset();
    this.#step?.abort(new SwarmError("Cancelled", "the task is to stop"));
  }

  async #open(signal: AbortSignal): Promise<void> {
    while (this.#controller === undefined) {
      try {
        this.#controller = await this.#options.executor.controller(this.#task, signal);
      } catch (error) {
        signal.throwIfAborted();
        this.#options.logger.warn("cannot look at what exists of a task", {
          task: this.#task.id,
          error: errorText(error),
        });
        await this.#pause(this.#backoff.nextMs(), signal);
      }
    }
    this.#backoff.reset();
  }

  async #next(signal: AbortSignal): Promise<void> {
    assert(this.#controller !== undefined, "a task has a controller before its first step");
    const abort = childOf(signal);
    const wanted = wantsToRun(this.#task.desiredState);
    this.#step = abort;
    const outcome = await step({
      task: this.#task,
      holdMs: this.#holdMs(),
      controller: this.#controller,
      clock: this.#options.clock,
      mayRetry: this.#backoff.tries < TRIES_MAX,
      signal: abort.signal,
    }).finally(() => {
      this.#step = undefined;
      abort.release();
    });
    switch (outcome.kind) {
      case "status":
        this.#backoff.reset();
        this.#advance(outcome.status);
        break;
      case "retry":
        this.#options.logger.warn("a step of a task failed and is tried again", {
          task: this.#task.id,
          state: taskStateName(this.#task.status.state),
          error: outcome.error,
        });
        this.#advance({ ...this.#task.status, error: outcome.error });
        // An update that came with the failure is not made to wait for the delay.
        if (wanted === wantsToRun(this.#task.desiredState)) await this.#pause(this.#backoff.nextMs(), signal);
        break;
      case "pause":
        await this.#pause(outcome.ms, signal);
        break;
      case "interrupted":
        signal.throwIfAborted();
    }
  }

  #holdMs(): number {
    if (this.#task.notBeforeMs === 0) return 0;
    const { clock } = this.#options;
    const delayMs = this.#task.spec.restart.delayMs ?? DEFAULTS.restartDelayMs;
    this.#holdUntilMs ??= clock.monotonicMs() + Math.min(this.#task.notBeforeMs - clock.now(), delayMs);
    return Math.max(0, this.#holdUntilMs - clock.monotonicMs());
  }

  #advance(status: TaskStatus): void {
    const { task } = this;
    assert(status.state >= task.status.state, `the state of task ${task.id} only rises`);
    if (status.state === task.status.state && status.error === task.status.error) return;
    this.#task = { ...task, status };
    this.#options.onStatus(this.#task);
  }

  /** Until something changed or, when given, `ms` have passed. */
  async #pause(ms: number | undefined, signal: AbortSignal): Promise<void> {
    const cancel = ms === undefined ? undefined : this.#options.clock.after(ms, () => this.#changed.raise());
    try {
      await this.#changed.wait(signal);
    } finally {
      cancel?.();
    }
  }

  async #takeAway(signal: AbortSignal): Promise<void> {
    assert(this.#controller !== undefined, "a task has a controller before it is removed");
    for (;;) {
      try {
        if (!isEnded(this.#task.status.state)) await this.#controller.shutdown(signal);
        await this.#controller.remove(signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        this.#options.logger.warn("cannot remove what is left of a task; trying again", {
          task: this.#task.id,
          error: errorText(error),
        });
        await this.#options.clock.sleep(this.#backoff.nextMs(), signal);
      }
    }
  }
}
