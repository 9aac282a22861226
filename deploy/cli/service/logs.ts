// `tsswarm service logs`: the lines of all tasks, each with its task and node before it.

import { parseDuration } from "../../../proto/base/units.ts";
import { SwarmError, isSwarmError } from "../../../proto/base/errors.ts";
import type { TaskLogLine } from "../../../proto/gen/control.ts";
import { wholeNode } from "../../../proto/model/objects.ts";
import { taskName } from "../../../proto/model/task-name.ts";
import { type Context, warn } from "../context.ts";
import { wholeNumber } from "../options.ts";
import { SHORT_ID } from "./ls.ts";

export interface LogsFlags {
  readonly follow?: boolean;
  readonly tail: string;
  readonly since?: string;
  readonly timestamps?: boolean;
  readonly raw?: boolean;
  readonly taskIds: boolean;
  readonly trunc: boolean;
  readonly resolve: boolean;
}

const TAIL_MAX = 1_000_000;

/** Unix milliseconds of a time stamp, of seconds since 1970, or of a duration before now. Throws InvalidArgument. */
export function parseSince(text: string, nowMs: number): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const stamp = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(stamp)) return stamp;
  try {
    return nowMs - parseDuration(text);
  } catch (error) {
    throw new SwarmError(
      "InvalidArgument",
      `invalid value for "since": ${text}: it must be a time stamp (2026-01-02T13:23:37Z) or a duration (42m)`,
      { cause: error },
    );
  }
}

export async function showLogs(context: Context, ref: string, flags: LogsFlags): Promise<void> {
  const { signal } = context;
  const control = await context.control();
  const labels = await labeller(context, flags);
  const target = await targetOf(context, ref);
  const messages = control.logs(
    {
      ...target,
      follow: flags.follow === true,
      tail: flags.tail === "all" ? undefined : wholeNumber(flags.tail, { flag: "--tail", min: 0, max: TAIL_MAX }),
      sinceMs: flags.since === undefined ? 0 : parseSince(flags.since, context.now()),
      stdout: true,
      stderr: true,
    },
    { signal },
  );
  for await (const message of messages) {
    if (message.warning !== "") warn(context, `warning: ${message.warning}`);
    for (const line of message.lines) await write(context, { line, flags, label: await labels(line) });
  }
}

/** A service where there is one of that name, else a task. */
async function targetOf(context: Context, ref: string): Promise<{ serviceRef: string; taskRefs: readonly string[] }> {
  const { signal } = context;
  const control = await context.control();
  try {
    const service = await control.getService({ ref }, { signal });
    return { serviceRef: service.id, taskRefs: [] };
  } catch (error) {
    if (!isSwarmError(error, "NotFound")) throw error;
  }
  try {
    const task = await control.getTask({ ref }, { signal });
    return { serviceRef: "", taskRefs: [task.id] };
  } catch (error) {
    if (!isSwarmError(error, "NotFound")) throw error;
    throw new SwarmError("NotFound", `no such task or service: ${ref}`, { cause: error });
  }
}

/** What stands before each line: "web.1.abcdefghijkl@m1    |". Tasks that came later than the last look are looked up. */
async function labeller(context: Context, flags: LogsFlags): Promise<(line: TaskLogLine) => Promise<string>> {
  if (flags.raw === true) return () => Promise.resolve("");
  const { signal } = context;
  const control = await context.control();
  const taskNames = new Map<string, string>();
  const hostnames = new Map<string, string>();
  const look = async (): Promise<void> => {
    const { tasks } = await control.listTasks({ filters: [] }, { signal });
    const { nodes } = await control.listNodes({ filters: [] }, { signal });
    for (const task of tasks) taskNames.set(task.id, taskName(task));
    for (const node of nodes.map(wholeNode)) hostnames.set(node.id, node.description.hostname);
  };
  let width = 0;
  return async ({ taskId, nodeId }) => {
    if (flags.resolve && !taskNames.has(taskId)) {
      await look();
      // A task that has gone already keeps its id for a name.
      if (!taskNames.has(taskId)) taskNames.set(taskId, taskId);
    }
    const id = flags.trunc ? taskId.slice(0, SHORT_ID) : taskId;
    const found = flags.resolve ? taskNames.get(taskId) : undefined;
    const name = found === undefined || found === taskId ? id : found;
    const task = flags.taskIds && name !== id ? `${name}.${id}` : name;
    const label = `${task}@${flags.resolve ? (hostnames.get(nodeId) ?? nodeId) : nodeId}`;
    width = Math.max(width, label.length);
    return `${label.padEnd(width)}    | `;
  };
}

async function write(
  context: Context,
  entry: { readonly line: TaskLogLine; readonly flags: LogsFlags; readonly label: string },
): Promise<void> {
  const { line } = entry.line;
  if (line === undefined) return;
  const stamp = entry.flags.timestamps === true ? `${timestamp(line.atUs)} ` : "";
  const target = line.stderr ? context.stderr : context.stdout;
  const written = target.write(
    Buffer.concat([Buffer.from(entry.label + stamp), line.data, Buffer.from(line.partial ? "" : "\n")]),
  );
  if (!written) await new Promise((resolve) => target.once("drain", resolve));
}

function timestamp(atUs: number): string {
  const seconds = new Date(Math.floor(atUs / 1000)).toISOString().slice(0, 19);
  return `${seconds}.${String(atUs % 1_000_000).padStart(6, "0")}000Z`;
}
