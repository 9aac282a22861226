// What a lab is: a name, its nodes, and where each keeps its things. One JSON file per lab is the record of it, written
// before anything is made, so that `lab down` finds all of it even when `lab up` was killed half way.

import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SwarmError } from "../../proto/base/errors.ts";
import { parseNodeResources } from "../../proto/model/generic-resource.ts";

export interface LabNode {
  /** m1 ... for managers, w1 ... for workers. */
  readonly name: string;
  readonly role: "manager" | "worker";
  /** IPv4 on the lab's network. */
  readonly address: string;
}

export interface Lab {
  readonly name: string;
  readonly nodes: readonly LabNode[];
  /** Unix time. */
  readonly createdAtMs: number;
  /** Of the cluster's nodes; a node counts as down after three silent ones. Absent: the cluster's default. */
  readonly heartbeatPeriodMs?: number;
  /** What daemons declare beside their machine, by node: "gpu=4". Absent: nothing. */
  readonly genericResources?: Readonly<Record<string, readonly string[]>>;
}

const STATE_ROOT = "/var/lib/tsswarm-lab";
const RUN_ROOT = "/run/tsswarm-lab";
const NAME = /^[a-z][a-z0-9-]{0,15}$/;
export const NODES_MAX = 100;
/** More would only make every write wait for more disks. */
export const MANAGERS_MAX = 9;

/** Where one node of a lab keeps its things. Names are short: interface names have at most 15 letters. */
export interface NodePlaces {
  readonly stateDir: string;
  readonly runDir: string;
  readonly socket: string;
  readonly log: string;
  readonly pidFile: string;
  readonly netns: string;
  readonly cgroupParent: string;
}

export function labDir(lab: string): string {
  return join(STATE_ROOT, lab);
}

export function runDir(lab: string): string {
  return join(RUN_ROOT, lab);
}

export function switchNamespace(lab: string): string {
  return `tsl-${lab}`;
}

export function cgroupRoot(lab: string): string {
  return `/tsswarm-lab-${lab}`;
}

export function placesOf(lab: string, node: string): NodePlaces {
  const dir = join(labDir(lab), node);
  const run = join(runDir(lab), node);
  return {
    stateDir: join(dir, "state"),
    runDir: run,
    socket: join(run, "tsswarmd.sock"),
    log: join(dir, "tsswarmd.log"),
    pidFile: join(dir, "tsswarmd.pid"),
    netns: `tsl-${lab}-${node}`,
    cgroupParent: `${cgroupRoot(lab)}/${node}`,
  };
}

/** A new lab's plan. Throws InvalidArgument for a bad name or count. */
export function planLab(options: {
  readonly name: string;
  readonly managers: number;
  readonly workers: number;
  readonly nowMs: number;
  readonly heartbeatPeriodMs?: number | undefined;
  /** "gpu=4" for every node, "w1:gpu=4" for one. */
  readonly genericResources?: readonly string[] | undefined;
}): Lab {
  const { name, managers, workers, heartbeatPeriodMs, genericResources = [] } = options;
  if (!NAME.test(name)) {
    throw new SwarmError(
      "InvalidArgument",
      `invalid lab name "${name}": it must be 1 to 16 lower-case letters, digits and dashes, and begin with a letter`,
    );
  }
  if (managers < 1) throw new SwarmError("InvalidArgument", "a lab needs at least one manager");
  if (managers > MANAGERS_MAX)
    throw new SwarmError("InvalidArgument", `a lab has at most ${MANAGERS_MAX} managers; ${managers} were asked for`);
  if (managers + workers > NODES_MAX)
    throw new SwarmError(
      "InvalidArgument",
      `a lab has at most ${NODES_MAX} nodes; ${managers + workers} were asked for`,
    );
  const nodes = [
    ...Array.from({ length: managers }, (_, index) => ({ name: `m${index + 1}`, role: "manager" as const })),
    ...Array.from({ length: workers }, (_, index) => ({ name: `w${index + 1}`, role: "worker" as const })),
  ];
  return {
    name,
    createdAtMs: options.nowMs,
    ...(heartbeatPeriodMs === undefined ? {} : { heartbeatPeriodMs }),
    ...(genericResources.length === 0 ? {} : { genericResources: declaredBy(nodes, genericResources) }),
    nodes: nodes.map((node, index) => ({ ...node, address: `10.77.0.${11 + index}` })),
  };
}

function declaredBy(
  nodes: readonly { readonly name: string }[],
  given: readonly string[],
): Readonly<Record<string, readonly string[]>> {
  const parts = given.map((text) => {
    const [, node, resource] = /^(?:([a-z0-9-]+):)?([^:]+=.+)$/.exec(text) ?? [];
    if (resource === undefined || (node !== undefined && !nodes.some(({ name }) => name === node)))
      throw new SwarmError(
        "InvalidArgument",
        `invalid --node-generic-resource "${text}": it must be [NODE:]KIND=VALUE, and the nodes are ${nodes.map(({ name }) => name).join(", ")}`,
      );
    parseNodeResources([resource]);
    return { node, resource };
  });
  return Object.fromEntries(
    nodes.map(({ name }) => [
      name,
      parts.filter(({ node }) => node === undefined || node === name).map(({ resource }) => resource),
    ]),
  );
}

export async function saveLab(lab: Lab): Promise<void> {
  await mkdir(labDir(lab.name), { recursive: true, mode: 0o700 });
  const file = join(labDir(lab.name), "lab.json");
  await writeFile(`${file}.tmp`, `${JSON.stringify(lab, null, 2)}\n`);
  await rename(`${file}.tmp`, file);
}

/** Throws NotFound when there is no such lab. */
export async function readLab(name: string): Promise<Lab> {
  const file = join(labDir(name), "lab.json");
  if (!existsSync(file)) {
    throw new SwarmError("NotFound", `no lab "${name}"; make one with 'tsswarm lab up', or see 'tsswarm lab ls'`);
  }
  return JSON.parse(await readFile(file, "utf8")) as Lab;
}

export async function listLabs(): Promise<readonly Lab[]> {
  if (!existsSync(STATE_ROOT)) return [];
  const names = (await readdir(STATE_ROOT)).filter((name) => existsSync(join(labDir(name), "lab.json"))).sort();
  return Promise.all(names.map(readLab));
}

/** Throws NotFound naming the nodes there are. */
export function nodeOf(lab: Lab, name: string): LabNode {
  const node = lab.nodes.find((each) => each.name === name);
  if (node === undefined) {
    throw new SwarmError(
      "NotFound",
      `lab "${lab.name}" has no node "${name}"; it has ${lab.nodes.map((each) => each.name).join(", ")}`,
    );
  }
  return node;
}
