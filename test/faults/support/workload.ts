// Clients that read and write while faults come and go, and the proof afterwards: every register's history is linearizable, and
// every service whose creation was acknowledged is there, whichever manager is asked.

import assert from "node:assert/strict";
import { systemClock } from "../../../proto/base/clock.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { ControlService } from "../../../proto/gen/control.ts";
import type { Service } from "../../../proto/gen/objects.ts";
import { ServiceSpec, TaskSpec } from "../../../proto/gen/specs.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import { type RpcChannel, unixChannel } from "../../../proto/rpc/channel.ts";
import type { Client } from "../../../proto/rpc/methods.ts";
import { type Model, type Operation, checkLinearizable } from "../../support/linearizability.ts";

type Control = Client<typeof ControlService>;
type Input = { readonly kind: "read" } | { readonly kind: "write"; readonly from: string; readonly to: string };
/** What a read saw; writes say nothing. */
type Output = string;

const REGISTERS = 2;
const LABEL = "value";
const CALL_MS = 15_000;
const PAUSE_MS = 15;
const PAUSE_AFTER_FAILURE_MS = 100;
const TRIES_MAX = 50;
const IMAGE = "tsswarm/demo:1";

/** Each write names the value it replaces: the API refuses it when another one came between. */
const REGISTER: Model<string, Input, Output> = {
  initial: "none",
  step: (state, input, output) => {
    if (input.kind === "read") return output === undefined || output === state ? state : null;
    return state === input.from ? input.to : null;
  },
};

export interface Counts {
  readonly reads: number;
  readonly writes: number;
  readonly creates: number;
  /** Calls whose outcome nobody knows. */
  readonly ambiguous: number;
}

export class Workload {
  readonly #name: string;
  readonly #ends: readonly { readonly channel: RpcChannel; readonly control: Control }[];
  readonly #histories: Operation<Input, Output>[][] = Array.from({ length: REGISTERS }, () => []);
  readonly #created: string[] = [];
  readonly #stopping: AbortController = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #time = 0;
  #values = 0;
  #ambiguous = 0;

  /** `name` is new for each workload of a cluster; `sockets` are those of the managers. */
  private constructor(options: { readonly name: string; readonly sockets: readonly string[] }) {
    this.#name = options.name;
    this.#ends = options.sockets.map((path) => {
      const channel = unixChannel(path);
      return { channel, control: createClient(ControlService, channel) };
    });
  }

  /** Makes the registers and begins: at each manager one client that reads and writes and one that creates. */
  static async start(options: { readonly name: string; readonly sockets: readonly string[] }): Promise<Workload> {
    const workload = new Workload(options);
    const [first] = workload.#ends;
    assert.ok(first !== undefined);
    for (let register = 0; register < REGISTERS; register += 1)
      await first.control.createService({ spec: workload.#spec(register, "none") }, call());
    const clients = workload.#ends.flatMap(({ control }, position) => [
      workload.#repeat(() => workload.#readOrWrite(control, position)),
      workload.#repeat(() => workload.#create(control)),
    ]);
    workload.#running = Promise.all(clients);
    return workload;
  }

  get counts(): Counts {
    const operations = this.#histories.flat();
    const writes = operations.filter(({ input }) => input.kind === "write").length;
    return { reads: operations.length - writes, writes, creates: this.#created.length, ambiguous: this.#ambiguous };
  }

  /** Ends the clients, then holds what every manager answers to what was acknowledged. Answers what was done. */
  async finish(): Promise<Counts> {
    this.#stopping.abort();
    await this.#running;
    try {
      for (const { control } of this.#ends) {
        for (let register = 0; register < REGISTERS; register += 1) await again(() => this.#read(control, register));
        const { services } = await again(() => control.listServices({ filters: [] }, call()));
        const there = new Set(services.map(({ service }) => service?.spec?.name));
        const lost = this.#created.filter((name) => !there.has(name));
        assert.deepEqual(lost, [], "services whose creation was acknowledged are gone");
      }
    } finally {
      for (const { channel } of this.#ends) channel.close();
    }
    for (const history of this.#histories) assert.equal(checkLinearizable(REGISTER, history), "linearizable");
    return this.counts;
  }

  async #repeat(once: () => Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const [done] = await Promise.allSettled([once()]);
      const failed = done.status === "rejected";
      if (failed && !isSwarmError(done.reason)) throw done.reason;
      await Promise.allSettled([systemClock.sleep(failed ? PAUSE_AFTER_FAILURE_MS : PAUSE_MS, signal)]);
    }
  }

  async #readOrWrite(control: Control, position: number): Promise<void> {
    const register = (this.#values + position) % REGISTERS;
    const before = await this.#read(control, register);
    await this.#write(control, { register, before });
  }

  async #read(control: Control, register: number): Promise<Service> {
    const calledAt = ++this.#time;
    const service = await control.getService({ ref: this.#register(register) }, call());
    this.#histories[register]?.push({
      calledAt,
      input: { kind: "read" },
      returned: { at: ++this.#time, output: valueOf(service) },
    });
    return service;
  }

  async #write(control: Control, { register, before }: { register: number; before: Service }): Promise<void> {
    const to = `v${++this.#values}`;
    const operation = { calledAt: ++this.#time, input: { kind: "write", from: valueOf(before), to } } as const;
    const request = { id: before.id, version: before.meta?.version ?? 0, spec: this.#spec(register, to) };
    try {
      await control.updateService(request, call());
    } catch (error) {
      if (!isCertainlyNot(error)) {
        this.#ambiguous += 1;
        this.#histories[register]?.push(operation);
      }
      throw error;
    }
    this.#histories[register]?.push({ ...operation, returned: { at: ++this.#time, output: to } });
  }

  async #create(control: Control): Promise<void> {
    const name = `${this.#name}-s${++this.#values}`;
    await control.createService({ spec: parked(name, {}) }, call());
    this.#created.push(name);
  }

  #register(register: number): string {
    return `${this.#name}-register-${register}`;
  }

  #spec(register: number, value: string): ServiceSpec {
    return parked(this.#register(register), { [LABEL]: value });
  }
}

function valueOf(service: Service): string {
  return service.spec?.labels[LABEL] ?? "";
}

function parked(name: string, labels: Readonly<Record<string, string>>): ServiceSpec {
  const task = TaskSpec.create({ container: { image: IMAGE } });
  return ServiceSpec.create({ name, labels, task, mode: { $case: "replicated", value: { replicas: 0 } } });
}

/** Whether the answer says that nothing was written. Everything else may have happened. */
function isCertainlyNot(error: unknown): boolean {
  if (isSwarmError(error, "FailedPrecondition", "InvalidArgument", "NotFound", "PermissionDenied")) return true;
  return isSwarmError(error, "Unavailable") && error.message.startsWith("nothing was changed");
}

/** A connection that was refused a moment ago is tried again after a delay of its own. */
async function again<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!isSwarmError(error, "Unavailable") || tries >= TRIES_MAX) throw error;
      await systemClock.sleep(PAUSE_AFTER_FAILURE_MS, AbortSignal.timeout(CALL_MS));
    }
  }
}

function call(): { readonly signal: AbortSignal; readonly timeoutMs: number } {
  return { signal: AbortSignal.timeout(CALL_MS + 1_000), timeoutMs: CALL_MS };
}
