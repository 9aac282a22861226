// Is a task still what its service asks for? Where a task may run is not part of it: the enforce pass moves those that may not
// stay, and nothing is restarted for the others.

import type { PortConfig } from "../../proto/gen/specs.ts";
import { PortConfig_PublishMode } from "../../proto/gen/specs.ts";
import type { WholeService, WholeTask, WholeTaskSpec } from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";

/** True when the task has to be replaced for the service to be as it is specified. */
export function isOutdated(task: WholeTask, service: WholeService): boolean {
  if (!samePorts(task, service)) return true;
  return task.specVersion !== service.specVersion && !sameButPlacement(task.spec, service.spec.task);
}

/** Ports reach a task when it is allocated; only those that its own node publishes are of its making. */
function samePorts(task: WholeTask, service: WholeService): boolean {
  if (task.status.state === TaskState.NEW) return true;
  return equal(task.ports.filter(isHostPort), service.spec.endpoint.ports.filter(isHostPort));
}

function isHostPort(port: PortConfig): boolean {
  return port.publishMode === PortConfig_PublishMode.HOST;
}

function sameButPlacement(a: WholeTaskSpec, b: WholeTaskSpec): boolean {
  return a === b || equal({ ...a, placement: undefined }, { ...b, placement: undefined });
}

/** Of plain values: what they hold counts, the order of keys does not, and an absent field is one that is undefined. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const left = said(a);
  const right = new Map(said(b));
  return left.length === right.size && left.every(([key, value]) => right.has(key) && equal(value, right.get(key)));
}

function said(value: object): [string, unknown][] {
  return Object.entries(value).filter(([, inner]) => inner !== undefined);
}
