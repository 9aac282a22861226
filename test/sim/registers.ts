// Clients that swap and read a few registers of the store (labels of nodes that do nothing else), and write down when they called and what
// they heard, for the linearizability checker. What they are told did not happen must never be seen.

import type { Store } from "../../manager/store/store.ts";
import type { ReadTx } from "../../manager/store/tx.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import { Node } from "../../proto/gen/objects.ts";
import { NodeSpec, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { wholeNode } from "../../proto/model/objects.ts";
import type { Model, Operation } from "../support/linearizability.ts";

/** A swap writes a value of its own and hears the one before it. */
export type RegisterInput = { readonly kind: "read" } | { readonly kind: "swap"; readonly value: number };

export const swapModel: Model<number, RegisterInput, number> = {
  initial: 0,
  step: (state, input, output) => {
    if (output !== undefined && output !== state) return null;
    return input.kind === "swap" ? input.value : state;
  },
};

/** A call under way or over. */
interface Call extends Operation<RegisterInput, number> {
  readonly register: number;
  returned?: { readonly at: number; readonly output: number };
}

/** A manager as a client reaches it. */
export interface Reached {
  readonly store: Store;
  readonly readBarrier: (signal: AbortSignal) => Promise<void>;
}

export interface RegistersOptions {
  readonly count: number;
  readonly random: Random;
  readonly trace: (line: string) => void;
}

export class Registers {
  readonly #options: RegistersOptions;
  readonly #histories: Call[][];
  /** Values of swaps whose clients were told that nothing happened. */
  readonly #dropped = new Set<number>();
  readonly #seen = new Set<number>();
  #order = 0;
  #values = 0;
  acknowledged = 0;
  reads = 0;
  ambiguous = 0;

  constructor(options: RegistersOptions) {
    this.#options = options;
    this.#histories = Array.from({ length: options.count }, () => []);
  }

  get histories(): readonly (readonly Operation<RegisterInput, number>[])[] {
    return this.#histories;
  }

  /** Looks at a committed state: a value whose client was told that nothing happened must never come up. Answers it. */
  findDropped(view: ReadTx): number | undefined {
    for (const register of this.#histories.keys()) {
      const value = Number(view.nodes.get(registerId(register))?.spec.labels["value"] ?? 0);
      this.#seen.add(value);
    }
    return [...this.#dropped].find((value) => this.#seen.has(value));
  }

  /** Makes the registers. Throws what the store throws. */
  async create(store: Store): Promise<void> {
    await store.update((tx) => {
      for (const register of this.#histories.keys()) {
        if (tx.nodes.get(registerId(register)) !== undefined) continue;
        const spec = { ...NodeSpec.create(), availability: NodeSpec_Availability.DRAIN };
        tx.nodes.create(wholeNode(Node.create({ id: registerId(register), spec })));
      }
    });
  }

  /** One call of one client. Settles when the client has its answer; what a killed manager owes it never comes. */
  async call(manager: Reached, signal: AbortSignal): Promise<void> {
    const register = this.#options.random.int(0, this.#histories.length);
    if (this.#options.random.float() < 0.5) await this.#read(register, { manager, signal });
    else await this.#swap(register, manager);
  }

  async #swap(register: number, { store }: Reached): Promise<void> {
    const value = (this.#values += 1);
    const call = this.#begin(register, { kind: "swap", value });
    try {
      const before = await store.update((tx) => {
        const node = tx.nodes.get(registerId(register));
        if (node === undefined) throw new SwarmError("NotFound", "the register is not there yet");
        tx.nodes.update({ ...node, spec: { ...node.spec, labels: { value: String(value) } } });
        return Number(node.spec.labels["value"] ?? 0);
      });
      this.#end(call, before);
      this.acknowledged += 1;
    } catch (error) {
      if (!(error instanceof SwarmError)) throw error;
      if (error.code === "Internal") {
        this.ambiguous += 1;
        return;
      }
      this.#dropped.add(value);
      this.#forget(call);
    }
  }

  async #read(
    register: number,
    { manager, signal }: { readonly manager: Reached; readonly signal: AbortSignal },
  ): Promise<void> {
    const call = this.#begin(register, { kind: "read" });
    try {
      await manager.readBarrier(signal);
      const node = manager.store.view().nodes.get(registerId(register));
      if (node === undefined) this.#forget(call);
      else this.#end(call, Number(node.spec.labels["value"] ?? 0));
      this.reads += 1;
    } catch (error) {
      if (!(error instanceof SwarmError)) throw error;
      this.#forget(call);
    }
  }

  #begin(register: number, input: RegisterInput): Call {
    const call: Call = { register, calledAt: (this.#order += 1), input };
    this.#histories[register]?.push(call);
    return call;
  }

  #end(call: Call, output: number): void {
    call.returned = { at: (this.#order += 1), output };
  }

  #forget(call: Call): void {
    const history = this.#histories[call.register];
    history?.splice(history.indexOf(call), 1);
  }
}

export function registerId(register: number): string {
  return `register-${register}`;
}
