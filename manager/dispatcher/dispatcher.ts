// The agents' door (SwarmKit's dispatcher): registers nodes, counts their heartbeats, hands each its tasks and takes their
// statuses. It decides nothing about tasks; it only says who is there, and carries.

import { SwarmError } from "../../proto/base/errors.ts";
import { Group } from "../../proto/base/group.ts";
import type { Clock } from "../../proto/base/clock.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import type {
  AssignmentsMessage,
  DispatcherService,
  SessionMessage,
  SessionRequest,
  UpdateTaskStatusRequest,
} from "../../proto/gen/dispatcher.ts";
import type { Handlers } from "../../proto/rpc/methods.ts";
import type { CallContext, Caller } from "../../proto/rpc/caller.ts";
import { newId } from "../../proto/model/ids.ts";
import type { WholeNode, WholeTask } from "../../proto/model/objects.ts";
import { StoreChange_Action } from "../../proto/gen/control.ts";
import type { Store, StoreCommit } from "../store/store.ts";
import { AssignmentSet } from "./assignment-set.ts";
import { BatchWindow } from "./batch-window.ts";
import { BatchWriter } from "./batch-writer.ts";
import { nodeReady, taskStatus } from "./node-writes.ts";
import { NodeLife } from "./node-life.ts";
import { RateLimit } from "./rate-limit.ts";
import { checkDescription, checkUpdates } from "./reports.ts";
import { Session } from "./session.ts";
import type { StreamBroker } from "./stream-broker.ts";

const WINDOW_MS = 100;
/** Batches that go at once after a quiet time. */
const STATUS_BURST = 10;
const ASSIGNMENTS_BURST = 4;
const REGISTRATIONS_MAX = 3;
const REGISTRATIONS_WINDOW_MS = 8_000;

export interface DispatcherOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly streams: StreamBroker;
}

export class Dispatcher {
  /** What the RPC server calls. */
  readonly handlers: Handlers<DispatcherService>;
  readonly #options: DispatcherOptions;
  readonly #writer: BatchWriter;
  readonly #life: NodeLife;
  readonly #registrations: RateLimit;
  /** By node. Invariant: one session per node; ended ones are not here. */
  readonly #sessions = new Map<string, Session>();
  /** host:port of every manager that says where it is. */
  #managers: readonly string[] = [];

  constructor(options: DispatcherOptions) {
    const { clock, store } = options;
    this.#options = options;
    this.#writer = new BatchWriter({
      store,
      window: new BatchWindow({ clock, windowMs: WINDOW_MS, burst: STATUS_BURST }),
    });
    this.#registrations = new RateLimit({ clock, max: REGISTRATIONS_MAX, windowMs: REGISTRATIONS_WINDOW_MS });
    this.#life = new NodeLife({
      ...options,
      writer: this.#writer,
      isHere: (nodeId) => this.#sessions.has(nodeId),
      onSilence: (nodeId) =>
        this.#end(nodeId, new SwarmError("Unavailable", `no heartbeat of node ${nodeId} came in time; register again`)),
    });
    this.handlers = {
      session: (request, context) => this.#session(request, context),
      heartbeat: async ({ sessionId }, { caller }) => {
        const { nodeId } = this.#current(caller, sessionId);
        return Promise.resolve({ periodMs: this.#life.beat(nodeId) });
      },
      updateTaskStatus: (request, context) => this.#updateTaskStatus(request, context),
      assignments: ({ sessionId }, context) => this.#assignments(sessionId, context),
      stream: (frames, { caller, signal }) => options.streams.accept(nodeOf(caller).nodeId, frames, signal),
    };
  }

  /** Works until the signal aborts. Every node that was ready counts as unknown until it registers again. */
  async run(signal: AbortSignal): Promise<void> {
    const group = new Group(signal);
    const unsubscribe = this.#options.store.subscribe((commit) => this.#observe(commit));
    this.#findManagers();
    try {
      group.spawn((stop) => this.#writer.run(stop));
      group.spawn((stop) => this.#life.run(stop));
      await group.join();
    } finally {
      unsubscribe();
      const stopping = new SwarmError("Unavailable", "the manager is stopping");
      for (const nodeId of this.#sessions.keys()) this.#end(nodeId, stopping);
    }
  }

  async *#session(
    request: SessionRequest,
    { caller, signal }: CallContext,
  ): AsyncGenerator<SessionMessage, void, undefined> {
    const { nodeId, addr } = nodeOf(caller);
    const description = checkDescription(request.description);
    const session = this.#register(nodeId, request.sessionId);
    const stream = session.open("session", signal);
    const { streams } = this.#options;
    const unlisten = streams.listen(nodeId, () => session.news.raise());
    try {
      this.#life.beat(nodeId);
      await this.#writer.write([nodeReady(nodeId, { description, addr: hostOf(addr) })]);
      let told: { readonly node: WholeNode; readonly managers: readonly string[] } | undefined;
      let announced = new Set<string>();
      for (;;) {
        stream.signal.throwIfAborted();
        const node = this.#node(nodeId);
        const open = streams.announced(nodeId);
        const fresh = open.filter((each) => !announced.has(each.streamId));
        announced = new Set(open.map((each) => each.streamId));
        if (fresh.length > 0 || told?.node !== node || told.managers !== this.#managers) {
          told = { node, managers: this.#managers };
          yield { sessionId: session.id, node, managers: this.#managers, streams: fresh, leaderAddr: "" };
        }
        await session.news.wait(stream.signal);
      }
    } finally {
      unlisten();
      stream.release();
    }
  }

  /** The session to go on with, or a new one in place of any other of the node. */
  #register(nodeId: string, sessionId: string): Session {
    this.#node(nodeId);
    const before = this.#sessions.get(nodeId);
    if (before !== undefined && before.id === sessionId) return before;
    if (!this.#registrations.admit(nodeId))
      throw new SwarmError("Unavailable", `node ${nodeId} registers too often; wait a few seconds`);
    this.#end(nodeId, new SwarmError("FailedPrecondition", `a newer session of node ${nodeId} took this one's place`));
    const session = new Session({ id: newId(this.#options.random), nodeId });
    this.#sessions.set(nodeId, session);
    this.#options.logger.info("node registered", { node: nodeId });
    return session;
  }

  async *#assignments(
    sessionId: string,
    { caller, signal }: CallContext,
  ): AsyncGenerator<AssignmentsMessage, void, undefined> {
    const session = this.#current(caller, sessionId);
    const { clock, store } = this.#options;
    const stream = session.open("assignments", signal);
    const set = new AssignmentSet(session.nodeId);
    const window = new BatchWindow({ clock, windowMs: WINDOW_MS, burst: ASSIGNMENTS_BURST });
    const find = (id: string): WholeTask | undefined => store.view().tasks.get(id);
    try {
      session.dirty.clear();
      yield set.complete(store.view().tasks.byNode(session.nodeId));
      for (;;) {
        set.drop(session.dirty, find);
        if (session.dirty.size === 0) {
          await session.work.wait(stream.signal);
          continue;
        }
        await window.turn(stream.signal);
        const message = set.difference(session.dirty, find);
        if (message !== null) yield message;
        stream.signal.throwIfAborted();
      }
    } finally {
      stream.release();
    }
  }

  async #updateTaskStatus(request: UpdateTaskStatusRequest, { caller }: CallContext): Promise<Record<string, never>> {
    const { nodeId } = this.#current(caller, request.sessionId);
    const find = (id: string): WholeTask | undefined => this.#options.store.view().tasks.get(id);
    const updates = checkUpdates(request.updates, { nodeId, find });
    await this.#writer.write(updates.map((update) => taskStatus(nodeId, update)));
    return {};
  }

  #node(nodeId: string): WholeNode {
    const node = this.#options.store.view().nodes.get(nodeId);
    if (node === undefined) throw removed(nodeId);
    return node;
  }

  #current(caller: Caller, sessionId: string): Session {
    const { nodeId } = nodeOf(caller);
    this.#node(nodeId);
    const session = this.#sessions.get(nodeId);
    if (session?.id !== sessionId)
      throw new SwarmError("FailedPrecondition", `node ${nodeId} has no session of this id; register again`);
    return session;
  }

  #end(nodeId: string, reason: SwarmError): void {
    const session = this.#sessions.get(nodeId);
    this.#sessions.delete(nodeId);
    session?.end(reason);
  }

  /** Tells each session what a commit means for it. */
  #observe({ changes }: StoreCommit): void {
    for (const { action, object } of changes) {
      if (object?.$case === "task") {
        const session = this.#sessions.get(object.value.nodeId);
        session?.dirty.add(object.value.id);
        session?.work.raise();
      } else if (object?.$case === "node") {
        const { id, managerStatus } = object.value;
        if (action === StoreChange_Action.REMOVE) {
          this.#end(id, removed(id));
          this.#life.removed(id);
        } else this.#sessions.get(id)?.news.raise();
        if (managerStatus !== undefined) this.#findManagers();
      }
    }
  }

  #findManagers(): void {
    const found = [...this.#options.store.view().nodes.all()]
      .map((node) => node.managerStatus?.addr ?? "")
      .filter((addr) => addr !== "")
      .sort();
    if (found.join() === this.#managers.join()) return;
    this.#managers = found;
    for (const session of this.#sessions.values()) session.news.raise();
  }
}

function nodeOf(caller: Caller): { readonly nodeId: string; readonly addr: string } {
  if (caller.kind !== "node")
    throw new SwarmError("PermissionDenied", "only nodes of the cluster may call the dispatcher");
  return caller;
}

function removed(nodeId: string): SwarmError {
  return new SwarmError("PermissionDenied", `node ${nodeId} was removed from the cluster`);
}

/** The address without the port, which is only that of one connection. */
function hostOf(addr: string): string {
  const colon = addr.lastIndexOf(":");
  const host = colon < 0 ? addr : addr.slice(0, colon);
  return host.replace(/^\[(.*)\]$/, "$1").replace(/^::ffff:(?=\d+\.)/, "");
}
