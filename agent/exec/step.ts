// What the next step of a task is, and doing it: SwarmKit's exec.Do. `decide` is a pure function of the task; `step` asks the
// controller for that one step and says which status came of it. Neither knows containers, journals or managers.

import { AssertionError, never } from "../../proto/base/assert.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { TaskStatus } from "../../proto/gen/objects.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import type { Controller } from "./executor.ts";
import { exitError } from "./exit-error.ts";

/** Longest error text in a status: it travels to the managers and lives in their store. */
const ERROR_LENGTH_MAX = 1024;

export type Decision =
  /** Nothing but the state changes. */
  | { readonly kind: "move"; readonly state: TaskState; readonly message: string }
  | { readonly kind: "prepare" | "start" | "wait" | "shutdown" }
  /** Nothing to do until the task is updated or, when `ms` is given, that long from now. */
  | { readonly kind: "pause"; readonly ms: number | undefined };

export type Outcome =
  | { readonly kind: "status"; readonly status: TaskStatus }
  | { readonly kind: "pause"; readonly ms: number | undefined }
  /** Trouble that may pass: the same step is worth another try. */
  | { readonly kind: "retry"; readonly error: string }
  /** The signal aborted; the task is as it was. */
  | { readonly kind: "interrupted" };

/** The next step of a task. `holdMs`: how much longer it must not start (restart delay), 0 for not at all. */
export function decide(task: WholeTask, holdMs: number): Decision {
  const { state } = task.status;
  if (isEnded(state)) return { kind: "pause", ms: undefined };
  if (!wantsToRun(task.desiredState)) return { kind: "shutdown" };
  // These have begun and go on to their end whatever is desired.
  if (state === TaskState.PREPARING) return { kind: "prepare" };
  if (state === TaskState.STARTING) return { kind: "start" };
  if (state === TaskState.RUNNING) return { kind: "wait" };
  if (state >= task.desiredState) return { kind: "pause", ms: undefined };
  if (state <= TaskState.ASSIGNED) return { kind: "move", state: TaskState.ACCEPTED, message: "accepted" };
  if (state === TaskState.ACCEPTED) return { kind: "move", state: TaskState.PREPARING, message: "preparing" };
  if (holdMs > 0) return { kind: "pause", ms: holdMs };
  return { kind: "move", state: TaskState.STARTING, message: "starting" };
}

export interface StepOptions {
  readonly task: WholeTask;
  readonly holdMs: number;
  readonly controller: Controller;
  readonly clock: Clock;
  /** False once temporary trouble has been tried often enough: it then counts as final. */
  readonly mayRetry: boolean;
  readonly signal: AbortSignal;
}

/** Takes one step. Rejects only for failed assertions. */
export async function step(options: StepOptions): Promise<Outcome> {
  const decision = decide(options.task, options.holdMs);
  switch (decision.kind) {
    case "pause":
      return decision;
    case "move":
      return reached(options, decision);
    case "prepare":
      return attempt(options, options.controller.prepare(options.signal), {
        state: TaskState.READY,
        message: "prepared",
      });
    case "start":
      return started(options);
    case "wait":
      return attempt(options, options.controller.wait(options.signal), undefined);
    case "shutdown":
      return attempt(options, options.controller.shutdown(options.signal), {
        state: TaskState.SHUTDOWN,
        message: "shutdown",
      });
    default:
      return never(decision);
  }
}

interface Target {
  readonly state: TaskState;
  readonly message: string;
}

async function attempt(options: StepOptions, work: Promise<void>, target: Target | undefined): Promise<Outcome> {
  try {
    await work;
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    const done = isSwarmError(error, "AlreadyExists") && target !== undefined;
    if (!done) return options.signal.aborted ? { kind: "interrupted" } : failed(options, error);
  }
  return target === undefined ? ended(options) : reached(options, target);
}

/** It serves; or it ended before it did. */
async function started(options: StepOptions): Promise<Outcome> {
  const target = { state: TaskState.RUNNING, message: "started" };
  const outcome = await attempt(options, options.controller.start(options.signal), target);
  const over = outcome.kind === "status" && outcome.status.state === TaskState.RUNNING;
  return over && outcome.status.container?.exitCode !== undefined ? ended(options) : outcome;
}

/** The container has ended by itself: its exit code decides. */
function ended(options: StepOptions): Outcome {
  const { container } = options.controller.status();
  const error = exitError(container, options.task.spec.limits);
  if (error === "") return reached(options, { state: TaskState.COMPLETE, message: "finished" });
  return withStatus(options, { state: TaskState.FAILED, message: options.task.status.message, error });
}

function reached(options: StepOptions, target: Target): Outcome {
  return withStatus(options, { ...target, error: "" });
}

function failed(options: StepOptions, error: unknown): Outcome {
  const { status, desiredState } = options.task;
  const text = errorText(error).slice(0, ERROR_LENGTH_MAX);
  // What should stop and does not, may still run: it is never said to have ended before it has.
  if (!wantsToRun(desiredState)) return { kind: "retry", error: text };
  const temporary = status.state < TaskState.STARTING && isSwarmError(error, "Unavailable", "DeadlineExceeded");
  if (temporary && options.mayRetry) return { kind: "retry", error: text };
  const state = status.state < TaskState.STARTING ? TaskState.REJECTED : TaskState.FAILED;
  return withStatus(options, { state, message: status.message, error: text });
}

function withStatus(options: StepOptions, change: Target & { readonly error: string }): Outcome {
  const facts = options.controller.status();
  return {
    kind: "status",
    status: { ...change, atMs: options.clock.now(), container: facts.container, ports: facts.ports },
  };
}
