// A worker's agent, faked at the leader's real dispatcher: it registers, beats, takes what it is assigned, takes each task one state on at
// a time and says so. It finds the leader as an agent does who was told; what it knows of its tasks outlives every manager.

import type { Dispatcher } from "../../manager/dispatcher/dispatcher.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import {
  AssignmentChange_Action,
  type AssignmentsMessage,
  AssignmentsMessage_Type,
} from "../../proto/gen/dispatcher.ts";
import { NodeDescription, type Task, TaskStatus } from "../../proto/gen/objects.ts";
import { Resources } from "../../proto/gen/specs.ts";
import { TaskState, isEnded, wantsToRun } from "../../proto/model/task-state.ts";
import type { CallContext } from "../../proto/rpc/caller.ts";
import type { Running } from "./machine.ts";

const STEPS: readonly TaskState[] = [
  TaskState.ASSIGNED,
  TaskState.ACCEPTED,
  TaskState.PREPARING,
  TaskState.READY,
  TaskState.STARTING,
  TaskState.RUNNING,
];
/** Well below the dispatcher's three periods of five seconds. */
const BEAT_EVERY_MS = 2_500;
/** After a session that was refused. */
const AGAIN_MS = 1_500;

export interface AgentOptions {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly random: Random;
  readonly nowMs: () => number;
  readonly leader: () => Running | undefined;
  /** 0 to 1: how often a task that could go on does not. */
  readonly slowness: number;
  /** Whether tasks may fail by themselves at present. */
  readonly mayFail: () => boolean;
}

interface Session {
  readonly manager: Running;
  readonly dispatcher: Dispatcher;
  readonly abort: AbortController;
  id: string;
  isOver: boolean;
  isReporting: boolean;
  beatMs: number;
}

export function describe(nodeId: string): NodeDescription {
  return {
    ...NodeDescription.create(),
    hostname: nodeId,
    resources: Resources.create({ nanoCpus: 8e9, memoryBytes: 8e9 }),
  };
}

export class SimAgent {
  readonly #options: AgentOptions;
  #assigned = new Map<string, Task>();
  /** How far each task is here. */
  readonly #states = new Map<string, TaskState>();
  #session: Session | undefined;
  #notBeforeMs = 0;
  /** Nothing is heard of it until then. */
  #awayUntilMs = 0;

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  /** The machine stands still, or its cable is out: its node is lost when that takes long. */
  leave(ms: number): void {
    this.#awayUntilMs = this.#options.nowMs() + ms;
  }

  comeBack(): void {
    this.#awayUntilMs = 0;
  }

  /** Called every now and then. */
  tick(): void {
    const { leader, nowMs } = this.#options;
    if (nowMs() < this.#awayUntilMs) return;
    const manager = leader();
    const session = this.#session;
    if (
      session !== undefined &&
      (session.isOver || session.manager !== manager || manager.leading?.dispatcher !== session.dispatcher)
    ) {
      session.abort.abort(new SwarmError("Cancelled", "the agent looks for another manager"));
      this.#session = undefined;
      this.#notBeforeMs = nowMs() + (session.isOver ? AGAIN_MS : 0);
    }
    if (this.#session !== undefined) this.#work(this.#session);
    else if (manager?.leading !== undefined && nowMs() >= this.#notBeforeMs)
      this.#open(manager, manager.leading.dispatcher);
  }

  #open(manager: Running, dispatcher: Dispatcher): void {
    const { nodeId, nowMs } = this.#options;
    const session: Session = {
      ...{ manager, dispatcher, abort: new AbortController(), id: "" },
      ...{ isOver: false, isReporting: false, beatMs: nowMs() },
    };
    this.#session = session;
    this.#ask(session, async () => {
      const request = { sessionId: "", description: describe(nodeId) };
      for await (const { sessionId } of dispatcher.handlers.session(request, this.#context(session))) {
        if (session.id !== "") continue;
        session.id = sessionId;
        this.#ask(session, () => this.#follow(session));
      }
    });
  }

  async #follow(session: Session): Promise<void> {
    const request = { sessionId: session.id };
    for await (const message of session.dispatcher.handlers.assignments(request, this.#context(session)))
      this.#take(message);
  }

  #take({ type, changes }: AssignmentsMessage): void {
    if (type === AssignmentsMessage_Type.COMPLETE) this.#assigned = new Map();
    for (const { action, item } of changes) {
      if (item === undefined) continue;
      const task = item.value;
      if (action === AssignmentChange_Action.REMOVE) this.#assigned.delete(task.id);
      else this.#assigned.set(task.id, task);
    }
  }

  #work(session: Session): void {
    if (session.id === "" || session.isReporting) return;
    const { nowMs } = this.#options;
    const { handlers } = session.dispatcher;
    if (nowMs() - session.beatMs > BEAT_EVERY_MS) {
      session.beatMs = nowMs();
      this.#ask(session, async () => {
        await handlers.heartbeat({ sessionId: session.id }, this.#context(session));
      });
    }
    const steps = [...this.#assigned.values()].flatMap((task) => {
      const state = this.#next(task);
      return state === undefined ? [] : [{ task, state }];
    });
    if (steps.length === 0) return;
    session.isReporting = true;
    const atMs = session.manager.process.clock.now();
    const updates = steps.map(({ task, state }) => ({
      taskId: task.id,
      status: { ...TaskStatus.create(), ...task.status, state, atMs, message: "", error: "" },
    }));
    this.#ask(session, async () => {
      await handlers.updateTaskStatus({ sessionId: session.id, updates }, this.#context(session));
      for (const { task, state } of steps) this.#states.set(task.id, state);
      session.isReporting = false;
    });
  }

  /** The beginning of an image's name says how it fares: see people.ts. */
  #next({ id, desiredState, status, spec }: Task): TaskState | undefined {
    const { random, mayFail, slowness } = this.#options;
    const state = Math.max(this.#states.get(id) ?? TaskState.NEW, status?.state ?? TaskState.NEW) as TaskState;
    if (isEnded(state) || state < TaskState.ASSIGNED) return undefined;
    if (mayFail() && random.float() < slowness) return undefined;
    if (!wantsToRun(desiredState)) return TaskState.SHUTDOWN;
    const [kind] = spec?.container?.image.split(":") ?? [];
    if (state === TaskState.RUNNING) {
      if (mayFail() && random.float() < 0.02) return TaskState.FAILED;
      if (kind === "job") return random.float() < 0.3 ? TaskState.COMPLETE : undefined;
      return kind === "crash" && random.float() < 0.3 ? TaskState.FAILED : undefined;
    }
    if (state === TaskState.READY && desiredState === TaskState.READY) return undefined;
    if (state === TaskState.PREPARING && kind === "bad") return TaskState.REJECTED;
    if (state === TaskState.PREPARING && kind === "stuck") return undefined;
    return STEPS[STEPS.indexOf(state) + 1];
  }

  /** A call to the manager. What it refuses ends the session. */
  #ask(session: Session, action: () => Promise<void>): void {
    void session.manager.process.ask(action).catch((error: unknown) => {
      if (!(error instanceof SwarmError)) throw error;
      session.isOver = true;
    });
  }

  #context({ abort }: Session): CallContext {
    const { nodeId, clusterId } = this.#options;
    const caller = { kind: "node", nodeId, role: "worker", clusterId, addr: "192.0.2.1:1234" } as const;
    return { signal: abort.signal, caller };
  }
}
