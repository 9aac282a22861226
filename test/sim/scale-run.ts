// `npm run sim -- --scale`: 5,000 nodes and 100,000 tasks, and the figures that must hold. Each part is run several times and the
// least of each figure counts: what the machine did for others is no matter of ours. It runs in a thread of its own, with the young
// generation of the daemon, so that collections are as long as there.

import { performance } from "node:perf_hooks";
import { type Placement, Placement_Strategy } from "../../proto/gen/specs.ts";
import type { WholeServiceSpec } from "../../proto/model/objects.ts";
import { TaskState } from "../../proto/model/task-state.ts";
import { ScaleCluster } from "./scale.ts";

const NODES = 5_000;
const NODES_FEW = 100;
const TASKS_PER_NODE = 20;
const REPLICAS = 100;
const ZONES = 5;
const PLACEMENTS_PER_SECOND_MIN = 20_000;
const COST_RATIO_MAX = 2;
const HOLD_MAX_MS = 20;
const REPEATS = 3;

/** One part of a scenario: its work, the processor time of its thread, and each turn of the loop. */
interface Part {
  readonly name: string;
  readonly count: number;
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly holdsMs: readonly number[];
}

interface Figures {
  readonly name: string;
  readonly count: number;
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly holdMaxMs: number;
}

async function measured(name: string, cluster: ScaleCluster, work: () => Promise<number>): Promise<Part> {
  cluster.takeHolds();
  const cpu = process.threadCpuUsage();
  const wall = performance.now();
  const count = await work();
  const wallMs = performance.now() - wall;
  const { user, system } = process.threadCpuUsage(cpu);
  return { name, count, cpuMs: (user + system) / 1_000, wallMs, holdsMs: cluster.takeHolds() };
}

function placed(cluster: ScaleCluster): number {
  return cluster.view.tasks.all().filter(({ status }) => status.state >= TaskState.ASSIGNED).length;
}

function placing(change: Partial<Placement>): (spec: WholeServiceSpec) => WholeServiceSpec {
  return ({ task, ...spec }) => ({ ...spec, task: { ...task, placement: { ...task.placement, ...change } } });
}

/** Besides reservations, which all services have. */
const WIDER: readonly { readonly name: string; readonly change: (spec: WholeServiceSpec) => WholeServiceSpec }[] = [
  { name: "constrained", change: placing({ constraints: ["node.labels.zone!=z0", "node.platform.os==linux"] }) },
  { name: "one per node", change: placing({ maxReplicasPerNode: 1 }) },
  { name: "by zones", change: placing({ preferences: [{ spread: "node.labels.zone" }] }) },
  { name: "binpack", change: placing({ strategy: Placement_Strategy.BINPACK }) },
];

function services(nodes: number): readonly number[] {
  return Array.from({ length: (nodes * TASKS_PER_NODE) / REPLICAS }, () => REPLICAS);
}

/** Tasks that wait for nodes, and then the nodes come: what follows is placing alone, with its commits. */
async function backlog(nodes: number, change?: (spec: WholeServiceSpec) => WholeServiceSpec): Promise<Part> {
  const cluster = new ScaleCluster();
  await cluster.addServices({ services: services(nodes), ...(change === undefined ? {} : { change }) });
  await cluster.rest();
  await cluster.addNodes(nodes, ZONES);
  return measured(`place, ${nodes} nodes`, cluster, async () => {
    await cluster.rest();
    return placed(cluster);
  });
}

/** A cluster's life, part by part: the loop must not be held by any. */
async function life(): Promise<readonly Part[]> {
  const cluster = new ScaleCluster();
  const parts: Part[] = [];
  const part = async (name: string, work: () => Promise<number>): Promise<void> => {
    parts.push(await measured(name, cluster, work));
  };
  await part("nodes register", async () => {
    await cluster.addNodes(NODES, ZONES);
    await cluster.rest();
    return NODES;
  });
  await part("services made, tasks made and placed", async () => {
    await cluster.addServices({ services: services(NODES) });
    await cluster.rest();
    return placed(cluster);
  });
  await part("tasks report that they run", () => cluster.report());
  await part("a new leader learns what there is", async () => {
    await cluster.newLeader();
    await cluster.rest();
    return cluster.view.tasks.all().length;
  });
  await part("50 nodes are drained", async () => {
    await cluster.drain(50);
    await cluster.settle();
    return 50 * TASKS_PER_NODE;
  });
  await part("services shrink by half", async () => {
    await cluster.changeServices((spec) => ({
      ...spec,
      mode: { $case: "replicated", value: { replicas: REPLICAS / 2 } },
    }));
    await cluster.settle();
    return (NODES * TASKS_PER_NODE) / 2;
  });
  await part("services are removed", async () => {
    const count = cluster.view.tasks.all().length;
    await cluster.removeServices();
    await cluster.settle();
    return count;
  });
  return parts;
}

/** The same parts again and again: of each turn of the loop, and of each sum, the least. */
function least(runs: readonly (readonly Part[])[]): readonly Figures[] {
  const [first = []] = runs;
  return first.map((part, index) => {
    const same = runs.flatMap((run) => run[index] ?? []);
    const turns = Math.min(...same.map(({ holdsMs }) => holdsMs.length));
    let holdMaxMs = 0;
    for (let turn = 0; turn < turns; turn += 1)
      holdMaxMs = Math.max(holdMaxMs, Math.min(...same.map(({ holdsMs }) => holdsMs[turn] ?? 0)));
    return {
      name: part.name,
      count: part.count,
      cpuMs: Math.min(...same.map(({ cpuMs }) => cpuMs)),
      wallMs: Math.min(...same.map(({ wallMs }) => wallMs)),
      holdMaxMs,
    };
  });
}

async function repeated(run: () => Promise<readonly Part[]>): Promise<readonly Figures[]> {
  const runs: (readonly Part[])[] = [];
  for (let repeat = 0; repeat < REPEATS; repeat += 1) runs.push(await run());
  return least(runs);
}

function shown({ name, count, cpuMs, wallMs, holdMaxMs }: Figures): string {
  const rate = Math.round((count / cpuMs) * 1_000);
  const each = ((cpuMs / count) * 1_000).toFixed(1);
  return (
    `${name.padEnd(38)} ${String(count).padStart(7)} ${String(rate).padStart(8)}/s ${each.padStart(8)} us each` +
    ` ${(wallMs / 1_000).toFixed(1).padStart(6)} s   longest hold ${holdMaxMs.toFixed(1).padStart(5)} ms`
  );
}

/** Prints the figures. True when all that must hold does. */
export async function runScale(): Promise<boolean> {
  console.log(`${NODES} nodes, ${NODES * TASKS_PER_NODE} tasks; rates by processor time, the least of ${REPEATS} runs`);
  const show = (figures: readonly Figures[]): Figures => {
    for (const each of figures) console.log(shown(each));
    return figures.reduce((worst, each) => (each.holdMaxMs > worst.holdMaxMs ? each : worst));
  };
  await backlog(NODES_FEW);
  const few = await repeated(async () => [
    await backlog(NODES_FEW),
    await backlog(NODES_FEW),
    await backlog(NODES_FEW),
  ]);
  const [small] = [...few].sort((a, b) => a.cpuMs - b.cpuMs);
  const many = await repeated(async () => [await backlog(NODES)]);
  const [large] = many;
  if (small === undefined || large === undefined) return false;
  const worst = [show([small]), show(many)];
  for (const { name, change } of WIDER) {
    const figures = await repeated(async () => [await backlog(NODES, change)]);
    worst.push(show(figures.map((each) => ({ ...each, name: `${each.name}, ${name}` }))));
  }
  worst.push(show(await repeated(life)));
  const rate = (large.count / large.cpuMs) * 1_000;
  const ratio = large.cpuMs / large.count / (small.cpuMs / small.count);
  const hold = worst.reduce((most, each) => (each.holdMaxMs > most.holdMaxMs ? each : most));
  return [
    met(
      rate >= PLACEMENTS_PER_SECOND_MIN,
      `${Math.round(rate)} placements a second; at least ${PLACEMENTS_PER_SECOND_MIN}`,
    ),
    met(
      ratio <= COST_RATIO_MAX,
      `a placement among ${NODES} nodes costs ${ratio.toFixed(2)} of one among ${NODES_FEW}; at most ${COST_RATIO_MAX}`,
    ),
    met(
      hold.holdMaxMs <= HOLD_MAX_MS,
      `the loop is held for ${hold.holdMaxMs.toFixed(1)} ms at most (${hold.name}); at most ${HOLD_MAX_MS}`,
    ),
  ].every(Boolean);
}

function met(holds: boolean, sentence: string): boolean {
  console.log(`${holds ? "met   " : "MISSED"}  ${sentence}`);
  return holds;
}
