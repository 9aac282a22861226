// The nodes divided by the placement preferences, as SwarmKit's tree: the first preference divides all of them, the second each part,
// and so on; nodes without the label are a part of their own. Every task goes down to the part with the fewest tasks of the service
// that still has a node for it. Within the last parts the strategy orders the nodes; with binpack and no preference there is one.

import type { PlacementPreference } from "../../proto/gen/specs.ts";
import { Placement_Strategy } from "../../proto/gen/specs.ts";
import { type Subject, parseSpread, valueOf } from "../../proto/model/constraint.ts";
import type { Choice, Chooser } from "./choose.ts";
import { acceptsAll } from "./filters.ts";
import { Heap } from "./heap.ts";
import type { NodeLoad } from "./node-load.ts";

interface Candidate {
  readonly load: NodeLoad;
  readonly faulty: boolean;
  /** Of the service. */
  tasks: number;
  /** Of binpack. */
  fullness: number;
}

/** A part of the nodes, with its parts or, where it is not divided further, its nodes. */
interface Branch {
  readonly value: string;
  /** Of the service, and of all services, on all nodes of the part, whether they may take another or not. */
  tasks: number;
  allTasks: number;
  readonly parts: Heap<Branch> | undefined;
  readonly nodes: Heap<Candidate>;
}

export class Branches implements Chooser {
  readonly looks: number;
  readonly #choice: Choice;
  readonly #root: Branch;
  /** The parts that the node was found in, from the root on, and the node. */
  #path: readonly Branch[] = [];
  #current: Candidate | undefined;

  constructor(choice: Choice) {
    this.#choice = choice;
    const { wish, book, now } = choice;
    const { serviceId } = wish.task;
    const isPacked = wish.placement.strategy === Placement_Strategy.BINPACK;
    const candidates: Candidate[] = [];
    for (const load of book.all())
      candidates.push({
        load,
        faulty: load.isFaulty(serviceId, now),
        tasks: load.tasksOf(serviceId),
        fullness: isPacked ? load.fullness : 0,
      });
    this.looks = candidates.length;
    this.#root = this.#branch("", candidates, subjectsOf(wish.placement.preferences));
  }

  next(): NodeLoad | undefined {
    if (this.#current === undefined) {
      const path: Branch[] = [];
      this.#current = this.#find(this.#root, path);
      this.#path = path;
    }
    return this.#current?.load;
  }

  taken(): void {
    if (this.#current === undefined) return;
    this.#current.fullness = this.#current.load.fullness;
    this.#current.tasks += 1;
    for (const branch of this.#path) {
      branch.tasks += 1;
      branch.allTasks += 1;
    }
    for (const { parts, nodes } of this.#path) {
      if (parts === undefined) nodes.worsened();
      else parts.worsened();
    }
    this.#current = undefined;
  }

  /** The best node of the part; parts and nodes that have no room left are taken out on the way. */
  #find(branch: Branch, path: Branch[]): Candidate | undefined {
    path.push(branch);
    const { parts, nodes } = branch;
    if (parts === undefined) {
      while (nodes.best !== undefined && !acceptsAll(this.#choice.filters, nodes.best.load)) nodes.drop();
      return nodes.best;
    }
    for (let part = parts.best; part !== undefined; part = parts.best) {
      const depth = path.length;
      const found = this.#find(part, path);
      if (found !== undefined) return found;
      path.length = depth;
      parts.drop();
    }
    return undefined;
  }

  #branch(value: string, candidates: readonly Candidate[], subjects: readonly Subject[]): Branch {
    const tasks = candidates.reduce((sum, each) => sum + each.tasks, 0);
    const allTasks = candidates.reduce((sum, { load }) => sum + load.tasks, 0);
    const [subject, ...deeper] = subjects;
    if (subject === undefined)
      return { value, tasks, allTasks, parts: undefined, nodes: new Heap(candidates, this.#order()) };
    const groups = new Map<string, Candidate[]>();
    for (const candidate of candidates) {
      const key = valueOf(candidate.load.node, subject);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [candidate]);
      else group.push(candidate);
    }
    const parts = [...groups].map(([key, group]) => this.#branch(key, group, deeper));
    return { value, tasks, allTasks, parts: new Heap(parts, hasFewer), nodes: new Heap<Candidate>([], this.#order()) };
  }

  #order(): (pair: { readonly a: Candidate; readonly b: Candidate }) => boolean {
    return this.#choice.wish.placement.strategy === Placement_Strategy.BINPACK ? isFuller : isEmptier;
  }
}

function subjectsOf(preferences: readonly PlacementPreference[]): readonly Subject[] {
  return preferences.map(({ spread }) => parseSpread(spread));
}

function hasFewer({ a, b }: { readonly a: Branch; readonly b: Branch }): boolean {
  if (a.tasks !== b.tasks) return a.tasks < b.tasks;
  return a.allTasks === b.allTasks ? a.value < b.value : a.allTasks < b.allTasks;
}

function isEmptier({ a, b }: { readonly a: Candidate; readonly b: Candidate }): boolean {
  if (a.faulty !== b.faulty) return b.faulty;
  if (a.tasks !== b.tasks) return a.tasks < b.tasks;
  return a.load.tasks === b.load.tasks ? a.load.node.id < b.load.node.id : a.load.tasks < b.load.tasks;
}

/** Nodes that have tasks before those that have none; then the fuller; of equally full ones the one with less left. */
function isFuller({ a, b }: { readonly a: Candidate; readonly b: Candidate }): boolean {
  if (a.faulty !== b.faulty) return b.faulty;
  const empty = Number(a.load.tasks === 0) - Number(b.load.tasks === 0);
  if (empty !== 0) return empty < 0;
  if (a.fullness !== b.fullness) return a.fullness > b.fullness;
  if (a.load.tasks !== b.load.tasks) return a.load.tasks > b.load.tasks;
  const free = a.load.memory.free - b.load.memory.free || a.load.cpus.free - b.load.cpus.free;
  return free === 0 ? a.load.node.id < b.load.node.id : free < 0;
}
