// What the worker needs of whoever runs tasks. The container executor is one; tests bring a scripted one.
// SwarmKit's agent/exec is the model: a Controller is asked to go one step at a time, and step.ts decides which.

import type { ContainerStatus, NodeDescription } from "../../proto/gen/objects.ts";
import type { PortConfig } from "../../proto/gen/specs.ts";
import type { StreamFrame, StreamOpen } from "../../proto/gen/streams.ts";
import type { WholeTask } from "../../proto/model/objects.ts";

export interface Executor {
  /** What this machine is and has. */
  describe(): Promise<NodeDescription>;
  /**
   * The controller of one task, bound to what already exists of it (container running, ended or half-made), so that the same
   * call serves a new task and one that is adopted after a restart. Never starts anything by itself.
   */
  controller(task: WholeTask, signal: AbortSignal): Promise<Controller>;
  /** Removes what is left on this machine of tasks that are not in `known`: containers, networks, folders. */
  sweep(known: ReadonlySet<string>, signal: AbortSignal): Promise<void>;
}

export interface Controller {
  /** Takes a newer task object (same id). Only `desired_state` may differ. */
  update(task: WholeTask): void;
  /** Makes the container. Rejects with SwarmError: "AlreadyExists" when it was made before, else the task is rejected. */
  prepare(signal: AbortSignal): Promise<void>;
  /** Runs it. Settles when it serves (with a health check: when it is healthy) or ended before. "AlreadyExists" when it serves. */
  start(signal: AbortSignal): Promise<void>;
  /** Settles when it has ended by itself or by shutdown. Rejects "Unavailable" when it was lost; when it became unhealthy, once stopped. */
  wait(signal: AbortSignal): Promise<void>;
  /** Stop signal, grace, kill. Settles when it has ended. */
  shutdown(signal: AbortSignal): Promise<void>;
  /** Takes away what prepare made. Idempotent; allowed on an ended or never started one. */
  remove(signal: AbortSignal): Promise<void>;
  /** Last known facts; exit code and signal once it has ended. */
  status(): { readonly container: ContainerStatus | undefined; readonly ports: readonly PortConfig[] };
  /** Serves one exec, logs or attach stream; frames in, frames out. The last frame is `exit` or `error`. */
  stream(open: StreamOpen, input: AsyncIterable<StreamFrame>, signal: AbortSignal): AsyncIterable<StreamFrame>;
  /** Lets go; what runs, runs on. */
  close(): void;
}
