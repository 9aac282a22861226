// All nodes with what is on them, kept up to date by the store's events, in the order in which they are taken. Whoever places or
// moves tasks keeps one: it is brought up to date once and then costs what changes.

import type { WholeTask } from "../../proto/model/objects.ts";
import type { StoreEvent } from "../store/events.ts";
import type { ReadTx } from "../store/tx.ts";
import { NodeLoad } from "./node-load.ts";
import { NodeOrder } from "./node-order.ts";

/** Tasks and nodes that one `sync` looks at. A few milliseconds. */
const LOOKS_MAX = 4_000;

export class LoadBook {
  /** By node id. Events of tasks are counted in; a node that changed is made anew. */
  readonly #loads = new Map<string, NodeLoad>();
  readonly #order = new NodeOrder();
  /** Ids of nodes whose load is to be made anew. */
  readonly #stale = new Set<string>();

  /** The whole book at once; for views that are small or where time does not matter. */
  static of(view: ReadTx): LoadBook {
    const book = LoadBook.unread(view);
    while (!book.sync(view));
    return book;
  }

  /** To be filled by `sync`, piece by piece. */
  static unread(view: ReadTx): LoadBook {
    const book = new LoadBook();
    for (const { id } of view.nodes.all()) book.#stale.add(id);
    return book;
  }

  observe(event: StoreEvent): void {
    if (event.kind === "node") this.#stale.add(event.object.id);
    else if (event.kind === "task") {
      if (event.action === "remove") this.drop(event.object);
      else this.put(event.object);
    }
  }

  /** Takes in the nodes that changed. False when it stopped before the end: what is known is not all there is. */
  sync(tx: Pick<ReadTx, "nodes" | "tasks">): boolean {
    let looks = 0;
    for (const id of this.#stale) {
      if (looks >= LOOKS_MAX) return false;
      this.#stale.delete(id);
      const before = this.#loads.get(id);
      if (before !== undefined) this.#order.remove(before);
      const node = tx.nodes.get(id);
      if (node === undefined) {
        this.#loads.delete(id);
        continue;
      }
      const tasks = tx.tasks.byNode(id);
      const load = new NodeLoad(node, tasks);
      this.#loads.set(id, load);
      this.#order.add(load);
      looks += 1 + tasks.length;
    }
    return true;
  }

  get size(): number {
    return this.#loads.size;
  }

  get(nodeId: string): NodeLoad | undefined {
    return this.#loads.get(nodeId);
  }

  all(): Iterable<NodeLoad> {
    return this.#loads.values();
  }

  /** Fewest wanted tasks first; see NodeOrder.walk. */
  byTasks(): Generator<NodeLoad> {
    return this.#order.walk();
  }

  /** Counts a task on its node, or counts it as it is now. */
  put(task: WholeTask): void {
    const load = this.#loads.get(task.nodeId);
    if (load === undefined) return;
    load.put(task);
    this.#order.moved(load);
  }

  drop(task: WholeTask): void {
    const load = this.#loads.get(task.nodeId);
    if (load === undefined) return;
    load.drop(task.id);
    this.#order.moved(load);
  }
}
