// What an agent may say, checked before it is believed: its machine's description and its own tasks' statuses. Every text
// and list is bounded; a task's state only rises.

import { SwarmError } from "../../proto/base/errors.ts";
import type { TaskStatusUpdate } from "../../proto/gen/dispatcher.ts";
import { NodeDescription, TaskStatus } from "../../proto/gen/objects.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";

const UPDATES_MAX = 10_000;
const TEXT_LENGTH_MAX = 4_096;
const PORTS_MAX = 256;
const ADDRESSES_MAX = 32;
const DESCRIPTION_BYTES_MAX = 65_536;

/** Throws InvalidArgument for a description that cannot be a machine's. */
export function checkDescription(description: NodeDescription | undefined): NodeDescription {
  if (description === undefined) throw new SwarmError("InvalidArgument", "a node describes itself when it registers");
  if (!/^[\x21-\x7e]{1,253}$/.test(description.hostname))
    throw new SwarmError(
      "InvalidArgument",
      `host name ${JSON.stringify(description.hostname.slice(0, 80))} is not valid`,
    );
  if (NodeDescription.encode(description).finish().byteLength > DESCRIPTION_BYTES_MAX)
    throw new SwarmError("InvalidArgument", `the node's description takes more than ${DESCRIPTION_BYTES_MAX} bytes`);
  const { nanoCpus, memoryBytes, pids } = description.resources ?? { nanoCpus: 0, memoryBytes: 0, pids: 0 };
  if (nanoCpus < 0 || memoryBytes < 0 || pids < 0)
    throw new SwarmError("InvalidArgument", "a node's resources cannot be below zero");
  return description;
}

export interface CheckedUpdate {
  readonly taskId: string;
  readonly status: TaskStatus;
}

/** Throws PermissionDenied for a task of another node, InvalidArgument for what no agent reports. Unknown tasks are left out. */
export function checkUpdates(
  updates: readonly TaskStatusUpdate[],
  from: { readonly nodeId: string; readonly find: (id: string) => WholeTask | undefined },
): CheckedUpdate[] {
  if (updates.length > UPDATES_MAX)
    throw new SwarmError("InvalidArgument", `${updates.length} statuses in one report; ${UPDATES_MAX} are allowed`);
  return updates.flatMap(({ taskId, status }) => {
    if (status === undefined) throw new SwarmError("InvalidArgument", "a report has no status");
    const task = from.find(taskId);
    if (task === undefined) return [];
    if (task.nodeId !== from.nodeId)
      throw new SwarmError("PermissionDenied", `task ${taskId} is not assigned to node ${from.nodeId}`);
    const checked = checkStatus(status);
    return supersedes(checked, task.status) ? [{ taskId, status: checked }] : [];
  });
}

/** Is it news? A lower state never is. */
export function supersedes(status: TaskStatus, before: TaskStatus): boolean {
  if (status.state !== before.state) return status.state > before.state;
  return Buffer.compare(TaskStatus.encode(status).finish(), TaskStatus.encode(before).finish()) !== 0;
}

function checkStatus(status: TaskStatus): TaskStatus {
  const known = Object.values(TaskState).includes(status.state);
  if (!known || status.state < TaskState.ASSIGNED || status.state > TaskState.REJECTED)
    throw new SwarmError("InvalidArgument", `an agent does not report state ${status.state}`);
  if (status.ports.length > PORTS_MAX || (status.container?.addresses.length ?? 0) > ADDRESSES_MAX)
    throw new SwarmError("InvalidArgument", "a status has too many ports or addresses");
  const texts = [status.container?.containerId ?? "", ...(status.container?.addresses ?? [])];
  if (texts.some((text) => text.length > 128) || status.ports.some((port) => port.name.length > 64))
    throw new SwarmError("InvalidArgument", "a status has an id, an address or a port's name that is too long");
  return {
    ...status,
    message: status.message.slice(0, TEXT_LENGTH_MAX),
    error: status.error.slice(0, TEXT_LENGTH_MAX),
  };
}
