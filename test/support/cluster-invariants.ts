// What must hold in every committed state of a cluster, whatever happened before.

import assert from "node:assert/strict";
import { slotKey } from "../../manager/store/tables.ts";
import type { ReadTx } from "../../manager/store/tx.ts";
import { PortConfig_PublishMode } from "../../proto/gen/specs.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";

export function checkAlways(view: ReadTx): void {
  const tasks = view.tasks.all();
  const outgoing = new Set(tasks.filter((task) => wantsToRun(task.desiredState)).map((task) => task.replaces));
  const slots = new Set<string>();
  for (const task of tasks) {
    if (wantsToRun(task.desiredState) && !outgoing.has(task.id)) {
      const slot = slotKey(task);
      assert.ok(!slots.has(slot), `slot ${slot} has two wanted tasks`);
      slots.add(slot);
    }
    if (task.slot > 0)
      assert.equal(task.nodeId === "", neverAssigned(task), `task ${task.id} has a node exactly from ASSIGNED on`);
  }
  for (const node of view.nodes.all()) checkNode(view, node.id);
}

function checkGeneric(view: ReadTx, nodeId: string, tasks: readonly WholeTask[]): void {
  const held = tasks.filter((task) => !neverAssigned(task)).flatMap((task) => task.generic);
  for (const { kind, count, names } of view.nodes.get(nodeId)?.description.resources?.generic ?? []) {
    const given = held.filter((each) => each.kind === kind);
    const total = given.reduce((sum, each) => sum + each.count, 0);
    assert.ok(names.length > 0 || total <= count, `node ${nodeId} gives away no more ${kind} than it has`);
    const named = given.flatMap((each) => each.names);
    assert.equal(new Set(named).size, named.length, `no ${kind} of node ${nodeId} is given twice`);
  }
}

function neverAssigned(task: WholeTask): boolean {
  return task.status.state < TaskState.ASSIGNED;
}

function checkNode(view: ReadTx, nodeId: string): void {
  const tasks = view.tasks.byNode(nodeId).filter((task) => !neverAssigned(task) && !isEnded(task.status.state));
  const { nanoCpus = 0, memoryBytes = 0 } = view.nodes.get(nodeId)?.description.resources ?? {};
  const sum = (of: (task: WholeTask) => number): number => tasks.reduce((total, task) => total + of(task), 0);
  assert.ok(sum((task) => task.spec.reservations.nanoCpus) <= nanoCpus, `the CPUs of node ${nodeId} are not oversold`);
  assert.ok(
    sum((task) => task.spec.reservations.memoryBytes) <= memoryBytes,
    `the memory of node ${nodeId} is not oversold`,
  );
  checkGeneric(view, nodeId, tasks);
  const ports = tasks.flatMap((task) =>
    task.ports
      .filter((port) => port.publishMode === PortConfig_PublishMode.HOST && port.publishedPort !== 0)
      .map((port) => `${port.publishedPort}/${port.protocol}`),
  );
  assert.equal(new Set(ports).size, ports.length, `no port of node ${nodeId} is given away twice: ${ports.join(" ")}`);
  for (const serviceId of new Set(tasks.map((task) => task.serviceId))) {
    const most = view.services.get(serviceId)?.spec.task.placement.maxReplicasPerNode ?? 0;
    const count = tasks.filter((task) => task.serviceId === serviceId && wantsToRun(task.desiredState)).length;
    assert.ok(most === 0 || count <= most, `node ${nodeId} has ${count} tasks of ${serviceId}, at most ${most} may be`);
  }
}
