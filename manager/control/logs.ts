// Logs of a service or of single tasks: one stream per task from its node, merged as the lines come. A task whose node cannot
// answer costs a warning line, never the call. With `follow`, tasks that appear later are joined in.

import { childOf } from "../../proto/base/abort.ts";
import { SwarmError, errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { LogsMessage, LogsRequest } from "../../proto/gen/control.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import type { StreamFrame, StreamOpen } from "../../proto/gen/streams.ts";
import { type WholeTask, wholeTask } from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import { taskName } from "../../proto/model/task-name.ts";
import type { Store } from "../store/store.ts";
import { committedChanges } from "./changes.ts";
import type { TaskStreams } from "./exec.ts";
import { Merge } from "./merge.ts";
import { nodeName } from "./nodes.ts";
import { findService } from "./services.ts";
import { findTask } from "./tasks.ts";
import { checkList, refused } from "./validate.ts";

const TASK_REFS_MAX = 1_000;
/** Streams read at the same time when logs are not followed. */
const TOGETHER_MAX = 64;

interface LogsDeps {
  readonly store: Store;
  readonly streams: TaskStreams;
}

/** Ends when every log was read to its end; with `follow` for a service, when the service is gone. */
export async function* logs(
  deps: LogsDeps,
  request: LogsRequest,
  { signal }: CallContext,
): AsyncGenerator<LogsMessage, void, undefined> {
  const wanted = wantedTasks(deps.store, request);
  const stop = childOf(signal);
  const merge = new Merge<LogsMessage>();
  const reader = new TaskLogs({ ...deps, request, signal: stop.signal });
  try {
    if (request.follow) merge.add(reader.follow(wanted, merge));
    else for (const lane of reader.lanes(wanted.now(), TOGETHER_MAX)) merge.add(lane);
    merge.seal();
    yield* merge;
  } finally {
    stop.abort(new SwarmError("Cancelled", "nobody reads these logs any more"));
    stop.release();
  }
}

interface Wanted {
  readonly now: () => readonly WholeTask[];
  /** Of one task, should it have logs: is it among those asked for? */
  readonly includes: (task: WholeTask) => boolean;
  /** No task will be added. */
  readonly isOver: () => boolean;
}

function wantedTasks(store: Store, request: LogsRequest): Wanted {
  if (!request.stdout && !request.stderr) throw refused("stdout", "logs need stdout, stderr or both");
  if ((request.serviceRef === "") === (request.taskRefs.length === 0))
    throw refused("service_ref", "logs are of one service or of named tasks");
  const view = store.view();
  if (request.serviceRef !== "") {
    const { id } = findService(view, request.serviceRef);
    return {
      now: () => [...store.view().tasks.byService(id)].filter(hasLogs),
      includes: (task) => task.serviceId === id,
      isOver: () => store.view().services.get(id) === undefined,
    };
  }
  checkList({ path: "task_refs", value: request.taskRefs }, TASK_REFS_MAX, () => undefined);
  const ids = new Set(request.taskRefs.map((ref) => findTask(view, ref).id));
  const found = (): WholeTask[] => [...ids].flatMap((id) => store.view().tasks.get(id) ?? []);
  return {
    now: () => found().filter(hasLogs),
    includes: (task) => ids.has(task.id),
    isOver: () => found().every((task) => hasLogs(task)),
  };
}

/** It was started, so its node holds what it said. */
function hasLogs(task: WholeTask): boolean {
  const { state } = task.status;
  return task.nodeId !== "" && state >= TaskState.STARTING && state !== TaskState.REJECTED;
}

class TaskLogs {
  readonly #deps: LogsDeps;
  readonly #request: LogsRequest;
  readonly #signal: AbortSignal;
  /** Nodes that a warning has named as down. */
  readonly #down = new Set<string>();

  constructor(options: LogsDeps & { readonly request: LogsRequest; readonly signal: AbortSignal }) {
    this.#deps = options;
    this.#request = options.request;
    this.#signal = options.signal;
  }

  /** At most `count` streams that share the tasks out. */
  lanes(tasks: readonly WholeTask[], count: number): AsyncGenerator<LogsMessage, void, undefined>[] {
    const rest = tasks.values();
    const lane = async function* (this: TaskLogs): AsyncGenerator<LogsMessage, void, undefined> {
      for (const task of rest) yield* this.#read(task, this.#request.tail);
    };
    return Array.from({ length: Math.min(count, tasks.length) }, () => lane.call(this));
  }

  /** Adds each task's log to `merge` once it has one; says nothing itself. */
  async *follow(wanted: Wanted, merge: Merge<LogsMessage>): AsyncGenerator<LogsMessage, void, undefined> {
    const known = new Set<string>();
    const add = (task: WholeTask, tail: number | undefined): void => {
      if (known.has(task.id) || !hasLogs(task)) return;
      known.add(task.id);
      merge.add(this.#read(task, tail));
    };
    const changes = committedChanges(this.#deps.store, this.#signal);
    for (const task of wanted.now()) add(task, this.#request.tail);
    if (wanted.isOver()) return;
    for await (const batch of changes) {
      for (const { object } of batch.changes) {
        if (object?.$case !== "task") continue;
        const task = wholeTask(object.value);
        if (wanted.includes(task)) add(task, undefined);
      }
      if (wanted.isOver()) return;
    }
    yield* [];
  }

  async *#read(task: WholeTask, tail: number | undefined): AsyncGenerator<LogsMessage, void, undefined> {
    const node = this.#deps.store.view().nodes.get(task.nodeId);
    if (node === undefined) {
      yield warning(`task ${taskName(task)}: its node was removed from the cluster, and its logs with it`);
      return;
    }
    if (node.status.state === NodeStatus_State.DOWN) {
      const told = this.#down.has(node.id);
      this.#down.add(node.id);
      if (!told) yield warning(`node ${nodeName(node)} is down: the logs of its tasks are missing`);
      return;
    }
    const target = { nodeId: node.id, nodeName: nodeName(node) };
    const input = silence();
    try {
      const frames = this.#deps.streams.connect(target, { open: this.#open(task, tail), input }, this.#signal);
      for await (const frame of frames) {
        const message = messageOf(frame, { task, nodeName: target.nodeName });
        if (message !== undefined) yield message;
      }
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!isSwarmError(error)) throw error;
      yield warning(`logs of task ${taskName(task)} on node ${target.nodeName} are incomplete: ${errorText(error)}`);
    }
  }

  #open(task: WholeTask, tail: number | undefined): StreamOpen {
    const { follow, sinceMs, stdout, stderr } = this.#request;
    return { taskId: task.id, kind: { $case: "logs", value: { follow, tail, sinceMs, stdout, stderr } } };
  }
}

function messageOf(
  { frame }: StreamFrame,
  { task, nodeName }: { readonly task: WholeTask; readonly nodeName: string },
): LogsMessage | undefined {
  switch (frame?.$case) {
    case "logs":
      return {
        lines: frame.value.lines.map((line) => ({ taskId: task.id, nodeId: task.nodeId, line })),
        warning: "",
      };
    case "dropped":
      return warning(`${frame.value.lines} lines of task ${taskName(task)} on node ${nodeName} were dropped`);
    case "error":
      return warning(`logs of task ${taskName(task)} on node ${nodeName}: ${frame.value.message}`);
    default:
      return undefined;
  }
}

function warning(text: string): LogsMessage {
  return { lines: [], warning: text };
}

/** Readers of logs have nothing to say. */
async function* silence(): AsyncGenerator<StreamFrame, void, undefined> {
  await Promise.resolve();
  yield* [];
}
