// Reads histories of one register as Jepsen logs them: `INFO  jepsen.util - <process> :invoke|:ok|:fail|:info :read|:write|:cas <value>`.
// Lines of another form (a nemesis, notes) say nothing of the register and are passed over.

import type { Model, Operation } from "./linearizability.ts";

export type RegisterCall =
  | { readonly kind: "read" }
  | { readonly kind: "write"; readonly value: number }
  | { readonly kind: "cas"; readonly from: number; readonly to: number };

/** What a read saw (null: nothing was written yet), or whether a compare-and-set found what it looked for. */
export type RegisterAnswer = { readonly value: number | null } | { readonly swapped: boolean };

/** The state before the first write. */
const EMPTY = "nil";

export const registerModel: Model<number | typeof EMPTY, RegisterCall, RegisterAnswer> = {
  initial: EMPTY,
  step: (state, call, answer) => {
    switch (call.kind) {
      case "read":
        if (answer === undefined || !("value" in answer)) return state;
        return state === (answer.value ?? EMPTY) ? state : null;
      case "write":
        return call.value;
      case "cas": {
        const swaps = state === call.from;
        if (answer !== undefined && "swapped" in answer && answer.swapped !== swaps) return null;
        return swaps ? call.to : state;
      }
    }
  },
};

type RegisterOperation = Operation<RegisterCall, RegisterAnswer>;

const LINE = /^INFO\s+jepsen\.util\s+-\s+(\d+)\s+:(invoke|ok|fail|info)\s+:(read|write|cas)\s+(.*?)\s*$/;

/** Calls that never came back, or came back with `:info`, may have happened; failed reads and writes did not. */
export function parseJepsenLog(text: string): readonly RegisterOperation[] {
  const operations: RegisterOperation[] = [];
  const open = new Map<string, { readonly calledAt: number; readonly input: RegisterCall }>();
  for (const [at, line] of text.split("\n").entries()) {
    const [, process = "", phase = "", name = "", value = ""] = LINE.exec(line) ?? [];
    if (process === "") continue;
    const call = open.get(process);
    if (phase === "invoke") {
      if (call !== undefined) operations.push(call);
      open.set(process, { calledAt: at, input: callOf(name, value) });
      continue;
    }
    if (call === undefined) throw new Error(`line ${at + 1}: process ${process} ends a call that it did not begin`);
    open.delete(process);
    const output = phase === "info" ? undefined : answerOf(call.input, { isOk: phase === "ok", value });
    if (output !== undefined) operations.push({ ...call, returned: { at, output } });
    else if (phase === "info" && call.input.kind !== "read") operations.push(call);
  }
  return [...operations, ...open.values()];
}

function callOf(name: string, value: string): RegisterCall {
  if (name === "read") return { kind: "read" };
  if (name === "write") return { kind: "write", value: whole(value) };
  const [, from = "", to = ""] = /^\[(\S+)\s+(\S+)\]$/.exec(value) ?? [];
  return { kind: "cas", from: whole(from), to: whole(to) };
}

/** Undefined: the call did not happen, or says nothing. */
function answerOf(
  call: RegisterCall,
  { isOk, value }: { readonly isOk: boolean; readonly value: string },
): RegisterAnswer | undefined {
  // A compare-and-set that failed for another reason than what it found has a keyword in place of its values.
  if (call.kind === "cas") return isOk || value.startsWith("[") ? { swapped: isOk } : undefined;
  if (!isOk) return undefined;
  return call.kind === "write" ? { swapped: true } : { value: value === "nil" ? null : whole(value) };
}

function whole(text: string): number {
  if (!/^-?\d+$/.test(text)) throw new Error(`${JSON.stringify(text)} is no whole number`);
  return Number(text);
}
