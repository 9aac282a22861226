// `tsswarm node ps`.

import type { Context } from "../context.ts";
import { filtersOf } from "../options.ts";
import { type TaskListOptions, printTasks } from "../service/tasks.ts";
import { nodeRef } from "./node.ts";

export async function listNodeTasks(
  context: Context,
  options: TaskListOptions & { readonly refs: readonly string[] },
): Promise<void> {
  const { signal } = context;
  const control = await context.control();
  const nodes = await Promise.all(
    options.refs.map(async (ref) => control.getNode({ ref: await nodeRef(context, ref) }, { signal })),
  );
  const filters = [...filtersOf(options.filter), { key: "node", values: nodes.map((node) => node.id) }];
  const { tasks } = await control.listTasks({ filters }, { signal });
  await printTasks(context, tasks, options);
}
