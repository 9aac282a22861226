// What the dispatcher writes about nodes and their tasks. Each is a Write: it looks at the transaction anew and may find that
// there is nothing left to do.

import type { UnixMs } from "../../proto/base/clock.ts";
import { Node, NodeDescription, NodeStatus_State, Task } from "../../proto/gen/objects.ts";
import type { WholeNode } from "../../proto/model/objects.ts";
import { TaskState, isEnded } from "../../proto/model/task-state.ts";
import { withStatus } from "../../proto/model/task-times.ts";
import type { WriteTx } from "../store/tx.ts";
import type { Write } from "./batch-writer.ts";
import { type CheckedUpdate, supersedes } from "./reports.ts";

/** The node is here, as it describes itself, at this address. */
export function nodeReady(
  nodeId: string,
  seen: { readonly description: NodeDescription; readonly addr: string },
): Write {
  return onNode(nodeId, (node) => {
    const description = equalDescriptions(node.description, seen.description) ? node.description : seen.description;
    const status = { state: NodeStatus_State.READY, message: "", addr: seen.addr };
    const same =
      description === node.description &&
      node.status.state === status.state &&
      node.status.message === "" &&
      node.status.addr === seen.addr;
    return same ? node : { ...node, description, status };
  });
}

/** The node is in another state, unless `stale` says at that moment that it is not so any more. */
export function nodeState(
  nodeId: string,
  change: { readonly state: NodeStatus_State; readonly message: string; readonly stale: () => boolean },
): Write {
  return onNode(nodeId, (node) => {
    if (change.stale() || node.status.state === change.state) return node;
    return { ...node, status: { ...node.status, state: change.state, message: change.message } };
  });
}

export function taskStatus(nodeId: string, { taskId, status }: CheckedUpdate): Write {
  return (tx) => {
    const task = tx.tasks.get(taskId);
    if (task?.nodeId !== nodeId || !supersedes(status, task.status)) return 0;
    const changed = withStatus(task, status, tx.atMs);
    tx.tasks.update(changed);
    return Task.encode(changed).finish().byteLength;
  };
}

/** Nobody will ever report on the task again. */
export function taskOrphaned(taskId: string, change: { readonly nowMs: UnixMs; readonly message: string }): Write {
  return (tx) => {
    const task = tx.tasks.get(taskId);
    if (task === undefined || task.status.state < TaskState.ASSIGNED || isEnded(task.status.state)) return 0;
    const status = { ...task.status, state: TaskState.ORPHANED, atMs: change.nowMs, message: change.message };
    const changed = { ...task, status };
    tx.tasks.update(changed);
    return Task.encode(changed).finish().byteLength;
  };
}

function onNode(nodeId: string, change: (node: WholeNode) => WholeNode): Write {
  return (tx: WriteTx) => {
    const node = tx.nodes.get(nodeId);
    if (node === undefined) return 0;
    const changed = change(node);
    if (changed === node) return 0;
    tx.nodes.update(changed);
    return Node.encode(changed).finish().byteLength;
  };
}

function equalDescriptions(a: NodeDescription, b: NodeDescription): boolean {
  return Buffer.compare(NodeDescription.encode(a).finish(), NodeDescription.encode(b).finish()) === 0;
}
