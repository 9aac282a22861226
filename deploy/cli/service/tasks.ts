// The table of `service ps` and `node ps`: the tasks of each slot, newest first, older ones marked as history.

import { humanDuration } from "../../../proto/base/units.ts";
import type { Task } from "../../../proto/gen/objects.ts";
import { type WholeTask, wholeNode, wholeTask } from "../../../proto/model/objects.ts";
import { taskName } from "../../../proto/model/task-name.ts";
import { taskStateName } from "../../../proto/model/task-state.ts";
import type { Context } from "../context.ts";
import { type Columns, type Row, formatList } from "../format/list.ts";
import { SHORT_ID, portText } from "./ls.ts";

export interface TaskListOptions {
  readonly filter?: readonly string[];
  readonly format?: string;
  /** False with --no-trunc. */
  readonly trunc?: boolean;
  readonly quiet?: boolean;
}

const COLUMNS: Columns = [
  ["ID", "ID"],
  ["NAME", "Name"],
  ["IMAGE", "Image"],
  ["NODE", "Node"],
  ["DESIRED STATE", "DesiredState"],
  ["CURRENT STATE", "CurrentState"],
  ["ERROR", "Error"],
  ["PORTS", "Ports"],
];

const ERROR_LENGTH_MAX = 30;

export async function printTasks(context: Context, tasks: readonly Task[], options: TaskListOptions): Promise<void> {
  const control = await context.control();
  const { nodes } = await control.listNodes({ filters: [] }, { signal: context.signal });
  const hostnames = new Map(nodes.map(wholeNode).map((node) => [node.id, node.description.hostname]));
  const sorted = tasks.map(wholeTask).sort(inOrder);
  const rows = sorted.map((task, index) =>
    taskRow(task, {
      hostname: hostnames.get(task.nodeId) ?? task.nodeId,
      truncate: options.trunc !== false,
      isHistory: sameSlot(sorted[index - 1], task),
      now: context.now(),
    }),
  );
  context.stdout.write(formatList({ rows, columns: COLUMNS, id: "ID" }, options));
}

function inOrder(a: WholeTask, b: WholeTask): number {
  if (a.serviceName !== b.serviceName) return a.serviceName < b.serviceName ? -1 : 1;
  if (a.slot !== b.slot) return a.slot - b.slot;
  if (a.slot === 0 && a.nodeId !== b.nodeId) return a.nodeId < b.nodeId ? -1 : 1;
  return b.meta.createdAtMs - a.meta.createdAtMs || b.meta.version - a.meta.version;
}

function sameSlot(previous: WholeTask | undefined, task: WholeTask): boolean {
  return previous?.serviceId === task.serviceId && taskName(previous) === taskName(task);
}

function taskRow(
  task: WholeTask,
  view: { readonly hostname: string; readonly truncate: boolean; readonly isHistory: boolean; readonly now: number },
): Row {
  const name = taskName(task);
  const error = task.status.error;
  const long = view.truncate && error.length > ERROR_LENGTH_MAX;
  return {
    ID: view.truncate ? task.id.slice(0, SHORT_ID) : task.id,
    Name: view.isHistory ? ` \\_ ${name}` : name,
    Image: task.spec.container.image,
    Node: view.hostname,
    DesiredState: capital(taskStateName(task.desiredState)),
    CurrentState: `${capital(taskStateName(task.status.state))} ${humanDuration(Math.max(0, view.now - task.status.atMs)).toLowerCase()} ago`,
    Error: error === "" ? "" : `"${long ? `${error.slice(0, ERROR_LENGTH_MAX - 1)}…` : error}"`,
    Ports: task.status.ports.map(portText).join(","),
  };
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
