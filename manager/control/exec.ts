// Exec and attach: from a person's first frame to the task's node. Checks the request, finds the task, says in a sentence why
// it cannot be reached, and leaves the joining to the streams handed in.

import { SwarmError } from "../../proto/base/errors.ts";
import { abortable } from "../../proto/base/abort.ts";
import type { ExecOpen, StreamFrame, StreamOpen, TerminalSize } from "../../proto/gen/streams.ts";
import { NodeStatus_State } from "../../proto/gen/objects.ts";
import { TaskState, taskStateName } from "../../proto/model/task-state.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import { taskName } from "../../proto/model/task-name.ts";
import type { Store } from "../store/store.ts";
import { nodeName } from "./nodes.ts";
import { findTask } from "./tasks.ts";
import { checkArguments, checkDirectory, checkEnv, checkUser } from "./validate-container.ts";
import { checkList, checkNumber, refused } from "./validate.ts";

/** Where streams to agents come from; the dispatcher's broker is one. */
export interface TaskStreams {
  connect(
    target: { readonly nodeId: string; readonly nodeName: string },
    request: { readonly open: StreamOpen; readonly input: AsyncIterable<StreamFrame> },
    signal: AbortSignal,
  ): AsyncIterable<StreamFrame>;
}

const ENV_MAX = 1_024;
const FRAME_BYTES_MAX = 65_536;

/** The first frame opens; then frames go both ways until the agent's last one (exit or error). */
export async function* exec(
  deps: { readonly store: Store; readonly streams: TaskStreams },
  requests: AsyncIterable<StreamFrame>,
  { signal }: CallContext,
): AsyncGenerator<StreamFrame, void, undefined> {
  const frames = requests[Symbol.asyncIterator]();
  const first = await abortable(frames.next(), signal);
  if (first.done === true || first.value.frame?.$case !== "open")
    throw refused("open", "the first frame of exec must open a task");
  const open = checkOpen(first.value.frame.value);
  const task = findTask(deps.store.view(), open.taskId);
  const name = taskName(task);
  if (task.status.state !== TaskState.RUNNING)
    throw new SwarmError(
      "FailedPrecondition",
      `task ${name} is not running (state: ${taskStateName(task.status.state)})`,
    );
  const node = deps.store.view().nodes.get(task.nodeId);
  if (node === undefined) throw new SwarmError("Unavailable", `the node of task ${name} was removed from the cluster`);
  if (node.status.state === NodeStatus_State.DOWN)
    throw new SwarmError("Unavailable", `node ${nodeName(node)}, which runs task ${name}, is down`);
  yield* deps.streams.connect(
    { nodeId: node.id, nodeName: nodeName(node) },
    { open: { ...open, taskId: task.id }, input: checkedInput(frames) },
    signal,
  );
}

function checkOpen(open: StreamOpen): StreamOpen {
  switch (open.kind?.$case) {
    case "exec":
      checkExec(open.kind.value);
      return open;
    case "attach":
      return open;
    case "logs":
      throw refused("open.logs", "logs are read with the Logs call");
    case undefined:
      throw refused("open", "the first frame says neither exec nor attach");
  }
}

function checkExec(open: ExecOpen): void {
  if (open.args.length === 0) throw refused("exec.args", "exec needs a command");
  checkArguments({ path: "exec.args", value: open.args });
  checkList({ path: "exec.env", value: open.env }, ENV_MAX, checkEnv);
  checkDirectory({ path: "exec.dir", value: open.dir });
  checkUser({ path: "exec.user", value: open.user });
  if (open.size !== undefined) checkSize(open.size);
}

function checkSize({ columns, rows }: TerminalSize): void {
  checkNumber({ path: "size.columns", value: columns }, { min: 0, max: 65_535 });
  checkNumber({ path: "size.rows", value: rows }, { min: 0, max: 65_535 });
}

/** What a client may say after the opening: input, its end, a new size of the terminal. */
async function* checkedInput(frames: AsyncIterator<StreamFrame>): AsyncGenerator<StreamFrame, void, undefined> {
  for (let next = await frames.next(); next.done !== true; next = await frames.next()) {
    const { frame } = next.value;
    switch (frame?.$case) {
      case "stdin":
        if (frame.value.byteLength > FRAME_BYTES_MAX)
          throw refused(
            "stdin",
            `a frame of input has ${frame.value.byteLength} bytes; ${FRAME_BYTES_MAX} are allowed`,
          );
        break;
      case "resize":
        checkSize(frame.value);
        break;
      case "stdinClosed":
        break;
      default:
        throw refused("frame", `a client may not send a frame of kind ${frame?.$case ?? "none"} here`);
    }
    yield next.value;
  }
}
