// What a manager's watch stream says, kept as tables: tests wait on them instead of asking again and again.

import { StoreChange_Action, type ControlService, type StoreChange } from "../../../proto/gen/control.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import {
  type WholeNode,
  type WholeService,
  type WholeTask,
  wholeNode,
  wholeService,
  wholeTask,
} from "../../../proto/model/objects.ts";
import { taskStateName, wantsToRun } from "../../../proto/model/task-state.ts";
import type { Client } from "../../../proto/rpc/methods.ts";
import { BOUND_MS, bound } from "./bound.ts";

const RECONNECT_MS = 50;

export class ClusterView {
  readonly #nodes = new Map<string, WholeNode>();
  readonly #services = new Map<string, WholeService>();
  readonly #tasks = new Map<string, WholeTask>();

  /** Of a service, in the order in which they were made. */
  tasks(service: string): readonly WholeTask[] {
    return [...this.#tasks.values()]
      .filter((task) => task.serviceName === service)
      .sort((a, b) => a.slot - b.slot || a.generation - b.generation);
  }

  /** Those that are to run. */
  wanted(service: string): readonly WholeTask[] {
    return this.tasks(service).filter((task) => wantsToRun(task.desiredState));
  }

  task(id: string): WholeTask | undefined {
    return this.#tasks.get(id);
  }

  service(name: string): WholeService | undefined {
    return [...this.#services.values()].find((service) => service.spec.name === name);
  }

  /** By host name; the newest where a machine joined twice. */
  node(hostname: string): WholeNode | undefined {
    return this.nodes()
      .filter((node) => node.description.hostname === hostname)
      .sort((a, b) => b.meta.createdAtMs - a.meta.createdAtMs)[0];
  }

  nodes(): readonly WholeNode[] {
    return [...this.#nodes.values()];
  }

  apply({ action, object }: StoreChange): void {
    const gone = action === StoreChange_Action.REMOVE;
    const put = <T extends { readonly id: string }>(table: Map<string, T>, value: T): void => {
      if (gone) table.delete(value.id);
      else table.set(value.id, value);
    };
    if (object?.$case === "node") put(this.#nodes, wholeNode(object.value));
    else if (object?.$case === "service") put(this.#services, wholeService(object.value));
    else if (object?.$case === "task") put(this.#tasks, wholeTask(object.value));
  }

  /** One line for each object, for messages of failures. */
  describe(): string {
    const nodes = this.nodes().map(
      (node) => `node ${node.description.hostname}: state ${node.status.state} ${node.status.message}`,
    );
    const tasks = [...this.#tasks.values()].map((task) => {
      const { state, error, message } = task.status;
      const node = this.#nodes.get(task.nodeId)?.description.hostname ?? "-";
      return `task ${task.serviceName}.${task.slot} (${task.generation}) on ${node}: ${taskStateName(state)}, wanted ${taskStateName(task.desiredState)}; ${error === "" ? message : error}`;
    });
    return [...nodes, ...tasks].join("\n");
  }
}

/** Follows the cluster until `pick` answers. A manager that goes away meanwhile is dialled again. */
export async function untilView<T>(
  control: Client<typeof ControlService>,
  pick: (view: ClusterView) => T | undefined,
): Promise<T> {
  const signal = bound();
  let view = new ClusterView();
  for (;;) {
    try {
      view = new ClusterView();
      let complete = false;
      const request = { kinds: [], serviceId: "", includePresent: true };
      for await (const { changes } of control.watch(request, { signal })) {
        for (const change of changes) view.apply(change);
        // The present objects end with an empty message.
        complete ||= changes.length === 0;
        const picked = complete ? pick(view) : undefined;
        if (picked !== undefined) return picked;
      }
    } catch (error) {
      if (signal.aborted)
        throw new Error(`not reached in ${BOUND_MS / 1000} s: ${String(pick)}\n${view.describe()}`, { cause: error });
      if (!isSwarmError(error, "Unavailable", "FailedPrecondition")) throw error;
    }
    await systemClock.sleep(RECONNECT_MS, signal);
  }
}
