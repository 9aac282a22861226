// A manager as an agent sees it: the dispatcher's calls answered from queues that a test fills, without a network.

import { SwarmError } from "../../proto/base/errors.ts";
import { Queue } from "../../proto/base/queue.ts";
import {
  AssignmentChange_Action,
  AssignmentsMessage_Type,
  type AssignmentsMessage,
  type DispatcherService,
  SessionMessage,
  type SessionRequest,
  type TaskStatusUpdate,
} from "../../proto/gen/dispatcher.ts";
import type { StreamFrame } from "../../proto/gen/streams.ts";
import { Task } from "../../proto/gen/objects.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import type { Client } from "../../proto/rpc/methods.ts";

export class FakeManager {
  readonly sessions: SessionRequest[] = [];
  readonly beats: string[] = [];
  /** Each batch of statuses that came. */
  readonly batches: (readonly TaskStatusUpdate[])[] = [];
  /** Frames that agents sent, by stream id. */
  readonly frames: Map<string, StreamFrame[]> = new Map();
  /** What the manager says on a stream. */
  readonly input: Queue<StreamFrame> = new Queue(100);
  /** Every call fails with this while it is set. */
  down: SwarmError | undefined;
  /** Only the taking of statuses fails. */
  refuseStatuses: SwarmError | undefined;
  /** Set: sessions are sent there (host:port), with this list of managers. */
  redirect: { readonly leaderAddr: string; readonly managers: readonly string[] } | undefined;
  periodMs = 5_000;
  #messages = new Queue<SessionMessage>(100);
  #assignments = new Queue<AssignmentsMessage>(100);
  #sequence = 0;

  /** Statuses as a store would hold them: the newest of each task. */
  get statuses(): Map<string, TaskStatusUpdate["status"]> {
    return new Map(this.batches.flat().map((update) => [update.taskId, update.status]));
  }

  say(message: Partial<SessionMessage>): void {
    void this.#messages.put(SessionMessage.create({ sessionId: "s1", ...message }), new AbortController().signal);
  }

  assignAll(...tasks: readonly WholeTask[]): void {
    this.#assign(AssignmentsMessage_Type.COMPLETE, { updated: tasks });
  }

  assign(change: {
    readonly updated?: readonly WholeTask[];
    readonly removed?: readonly string[];
    readonly skip?: boolean;
  }): void {
    if (change.skip === true) this.#sequence += 1;
    this.#assign(AssignmentsMessage_Type.INCREMENTAL, change);
  }

  /** Ends every call that is open, as a manager that dies does; `down` decides about the next ones. */
  drop(): void {
    const failure = { error: new SwarmError("Unavailable", "the connection was lost") };
    this.#messages.end(failure);
    this.#assignments.end(failure);
    this.#messages = new Queue(100);
    this.#assignments = new Queue(100);
    this.#sequence = 0;
  }

  readonly client: Client<typeof DispatcherService> = {
    session: (request, { signal }) => {
      this.sessions.push(request);
      this.say(this.redirect === undefined ? {} : { sessionId: "", ...this.redirect });
      return this.#serve(this.#messages, signal);
    },
    heartbeat: ({ sessionId }) => {
      if (this.down !== undefined) return Promise.reject(this.down);
      this.beats.push(sessionId);
      return Promise.resolve({ periodMs: this.periodMs });
    },
    updateTaskStatus: ({ updates }) => {
      const failure = this.down ?? this.refuseStatuses;
      if (failure !== undefined) return Promise.reject(failure);
      this.batches.push(updates);
      return Promise.resolve({});
    },
    assignments: (_request, { signal }) => this.#serve(this.#assignments, signal),
    stream: (requests, { signal }) => this.#stream(requests, signal),
  };

  async *#serve<T>(queue: Queue<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    if (this.down !== undefined) throw this.down;
    const cancel = (): void => queue.end({ error: new SwarmError("Cancelled", "the call was cancelled") });
    signal.addEventListener("abort", cancel, { once: true });
    try {
      yield* queue;
    } finally {
      signal.removeEventListener("abort", cancel);
      // A cancelled queue is used up; the next call gets a new one.
      if (Object.is(queue, this.#messages)) this.#messages = new Queue(100);
      if (Object.is(queue, this.#assignments)) this.#assignments = new Queue(100);
    }
  }

  async *#stream(
    requests: AsyncIterable<StreamFrame>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamFrame, void, undefined> {
    const over = new Queue<StreamFrame>(1);
    void (async () => {
      let id = "";
      for await (const frame of requests) {
        if (frame.frame?.$case === "accept") id = frame.frame.value;
        this.frames.set(id, [...(this.frames.get(id) ?? []), frame]);
      }
      this.input.end();
      over.end();
    })();
    signal.addEventListener("abort", () => this.input.end(), { once: true });
    yield* this.input;
    yield* over;
  }

  #assign(
    type: AssignmentsMessage_Type,
    change: { readonly updated?: readonly WholeTask[]; readonly removed?: readonly string[] },
  ): void {
    const appliesTo = String(this.#sequence);
    this.#sequence += 1;
    const changes = [
      ...(change.updated ?? []).map((task) => ({
        action: AssignmentChange_Action.UPDATE,
        item: { $case: "task" as const, value: task },
      })),
      ...(change.removed ?? []).map((id) => ({
        action: AssignmentChange_Action.REMOVE,
        item: { $case: "task" as const, value: Task.create({ id }) },
      })),
    ];
    void this.#assignments.put(
      { type, appliesTo, resultsIn: String(this.#sequence), changes },
      new AbortController().signal,
    );
  }
}
