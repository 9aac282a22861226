// `--plan` of `service create` and `service update`: what would be different and where tasks would go, printed instead of done.

import { type PlanServiceResponse, type PlannedTask, PlannedTask_Action } from "../../../proto/gen/control.ts";
import type { ServiceSpec } from "../../../proto/gen/specs.ts";
import { wholeNode } from "../../../proto/model/objects.ts";
import { type Context, print, warn } from "../context.ts";
import { table } from "../format/table.ts";

const ACTIONS: Readonly<Record<PlannedTask_Action, { readonly sign: string; readonly done: string }>> = {
  [PlannedTask_Action.KEEP]: { sign: "=", done: "kept" },
  [PlannedTask_Action.CREATE]: { sign: "+", done: "created" },
  [PlannedTask_Action.REPLACE]: { sign: "~", done: "replaced" },
  [PlannedTask_Action.REMOVE]: { sign: "-", done: "removed" },
};

export const PLAN_HELP = "Print what would be different and where tasks would go, and do nothing";

/** `id` is empty for a service that is to be created. */
export async function showPlan(
  context: Context,
  change: { readonly id: string; readonly spec: ServiceSpec },
): Promise<void> {
  const { signal } = context;
  const control = await context.control();
  const [plan, { nodes }] = await Promise.all([
    control.planService(change, { signal }),
    control.listNodes({ filters: [] }, { signal }),
  ]);
  const names = new Map(nodes.map(wholeNode).map(({ id, description }) => [id, description.hostname]));
  for (const warning of plan.warnings) warn(context, warning);
  print(
    context,
    planText(plan, (id) => names.get(id) ?? id),
  );
}

/** For people. */
export function planText({ differences, tasks }: PlanServiceResponse, nameOf: (nodeId: string) => string): string {
  const changes = differences.length === 0 ? ["Nothing would be different."] : differences;
  const counts = Object.values(PlannedTask_Action).flatMap((action) => {
    const count = tasks.filter((task) => task.action === action).length;
    return count === 0 ? [] : [`${count} ${ACTIONS[action].done}`];
  });
  const rows = tasks.map((task) => [
    ACTIONS[task.action].sign,
    task.name,
    placeText(task, nameOf),
    ...(task.error === "" ? [] : [task.error]),
  ]);
  const placed = rows.length === 0 ? "" : `\n${table([["", "TASK", "NODE", "WHY NOT"], ...rows])}`;
  const summary = counts.length === 0 ? "No tasks." : `Tasks: ${counts.join(", ")}.`;
  return `${changes.map((line) => `${line}\n`).join("")}${placed}\n${summary} Nothing was changed.\n`;
}

function placeText({ action, nodeId, newNodeId }: PlannedTask, nameOf: (nodeId: string) => string): string {
  const [before, after] = [nodeId, newNodeId].map((id) => (id === "" ? "nowhere" : nameOf(id)));
  if (action === PlannedTask_Action.CREATE) return after ?? "";
  if (action === PlannedTask_Action.REMOVE || before === after) return before ?? "";
  return `${before ?? ""} -> ${after ?? ""}`;
}
