// An executor whose containers are entries of a map. The map outlives the executor as containers outlive the agent, so that a
// test can restart the agent over the same machine. Each step can be scripted to fail or to wait.

import { abortable } from "../../proto/base/abort.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { type ContainerStatus, ContainerStatus_Health, type NodeDescription } from "../../proto/gen/objects.ts";
import { NodeDescription as Description } from "../../proto/gen/objects.ts";
import type { StreamFrame, StreamOpen } from "../../proto/gen/streams.ts";
import type { WholeTask } from "../../proto/model/objects.ts";
import type { Controller, Executor } from "../../agent/exec/executor.ts";

export type StepName = "controller" | "prepare" | "start" | "shutdown" | "remove";

export interface FakeExit {
  readonly code: number;
  readonly signal?: number;
  readonly oomKilled?: boolean;
}

type FakeState = "created" | "running" | "exited" | "lost";

interface FakeContainer {
  state: FakeState;
  exit: FakeExit | undefined;
  readonly ended: Promise<void>;
  readonly end: () => void;
}

/** What happens when a step is asked for: fail with this, or wait until it settles. */
export type Script = SwarmError | Promise<void>;

/** The machine under the fake: outlives executors. */
export class FakeMachine {
  readonly containers: Map<string, FakeContainer> = new Map();
  /** "prepare <task>" and so on, in the order in which steps were asked for. */
  readonly calls: string[] = [];
  readonly #scripts = new Map<string, Script[]>();

  /** The next times `step` is asked for `taskId`, these happen, one each; after that it works. */
  script(step: StepName, taskId: string, ...scripts: Script[]): void {
    this.#scripts.set(`${step} ${taskId}`, scripts);
  }

  make(taskId: string, state: FakeState): FakeContainer {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const container: FakeContainer = { state, exit: undefined, ended: promise, end: () => resolve(undefined) };
    this.containers.set(taskId, container);
    return container;
  }

  exit(taskId: string, exit: FakeExit): void {
    const container = this.containers.get(taskId);
    if (container?.state !== "running") throw new Error(`${taskId} does not run`);
    container.state = "exited";
    container.exit = exit;
    container.end();
  }

  lose(taskId: string): void {
    const container = this.containers.get(taskId);
    if (container === undefined) throw new Error(`${taskId} does not exist`);
    container.state = "lost";
    container.end();
  }

  async play(step: StepName, taskId: string, signal: AbortSignal): Promise<void> {
    this.calls.push(`${step} ${taskId}`);
    const script = this.#scripts.get(`${step} ${taskId}`)?.shift();
    if (script instanceof SwarmError) throw script;
    if (script !== undefined) await abortable(script, signal);
    signal.throwIfAborted();
  }

  callsOf(taskId: string): string[] {
    return this.calls.filter((call) => call.endsWith(` ${taskId}`)).map((call) => call.split(" ")[0] ?? "");
  }
}

export class FakeExecutor implements Executor {
  readonly machine: FakeMachine;
  description: NodeDescription = Description.create({ hostname: "w1" });

  constructor(machine: FakeMachine) {
    this.machine = machine;
  }

  describe(): Promise<NodeDescription> {
    return Promise.resolve(this.description);
  }

  async controller(task: WholeTask, signal: AbortSignal): Promise<Controller> {
    await this.machine.play("controller", task.id, signal);
    return new FakeController(this.machine, task.id);
  }

  sweep(known: ReadonlySet<string>): Promise<void> {
    for (const id of this.machine.containers.keys()) if (!known.has(id)) this.machine.containers.delete(id);
    return Promise.resolve();
  }
}

const LOST = "the container was lost: its shim is gone and left no exit record";

class FakeController implements Controller {
  readonly #machine: FakeMachine;
  readonly #id: string;

  constructor(machine: FakeMachine, id: string) {
    this.#machine = machine;
    this.#id = id;
  }

  update(): void {
    this.#machine.calls.push(`update ${this.#id}`);
  }

  async prepare(signal: AbortSignal): Promise<void> {
    await this.#machine.play("prepare", this.#id, signal);
    if (this.#container !== undefined) throw new SwarmError("AlreadyExists", "made before");
    this.#machine.make(this.#id, "created");
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#machine.play("start", this.#id, signal);
    const container = this.#container;
    if (container === undefined || container.state === "lost") throw new SwarmError("Unavailable", LOST);
    if (container.state !== "created") throw new SwarmError("AlreadyExists", "runs");
    container.state = "running";
  }

  async wait(signal: AbortSignal): Promise<void> {
    const container = this.#container;
    if (container?.state === "running") await abortable(container.ended, signal);
    if (container?.state !== "exited") throw new SwarmError("Unavailable", LOST);
  }

  async shutdown(signal: AbortSignal): Promise<void> {
    await this.#machine.play("shutdown", this.#id, signal);
    if (this.#container?.state === "running") this.#machine.exit(this.#id, { code: 143, signal: 15 });
  }

  async remove(signal: AbortSignal): Promise<void> {
    await this.#machine.play("remove", this.#id, signal);
    this.#container?.end();
    this.#machine.containers.delete(this.#id);
  }

  status(): { container: ContainerStatus | undefined; ports: [] } {
    const container = this.#container;
    if (container === undefined) return { container: undefined, ports: [] };
    const exit = container.exit;
    const facts = { containerId: `c-${this.#id}`, pid: 100, addresses: [], health: ContainerStatus_Health.NONE };
    const end = { signal: exit?.signal ?? 0, oomKilled: exit?.oomKilled ?? false };
    return { container: { ...facts, ...end, ...(exit === undefined ? {} : { exitCode: exit.code }) }, ports: [] };
  }

  async *stream(open: StreamOpen, input: AsyncIterable<StreamFrame>): AsyncGenerator<StreamFrame, void, undefined> {
    yield { frame: { $case: "started", value: {} } };
    if (open.kind?.$case === "exec" && open.kind.value.stdin) {
      for await (const { frame } of input) {
        if (frame?.$case === "stdin") yield { frame: { $case: "stdout", value: frame.value } };
        if (frame?.$case === "stdinClosed") break;
      }
    }
    yield { frame: { $case: "exit", value: { code: 0 } } };
  }

  close(): void {
    this.#machine.calls.push(`close ${this.#id}`);
  }

  get #container(): FakeContainer | undefined {
    return this.#machine.containers.get(this.#id);
  }
}
