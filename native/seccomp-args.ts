// Comparisons of a call's arguments. Arguments are 64 bits wide and BPF compares 32, so that each is compared in two halves.

import { SwarmError } from "../proto/base/errors.ts";
import { never } from "../proto/base/assert.ts";
import {
  AND,
  ARGS_OFFSET,
  type Block,
  JUMP_EQUAL,
  JUMP_GREATER,
  JUMP_GREATER_EQUAL,
  jump,
  load,
  verdict,
} from "./seccomp-bpf.ts";
import { ruleVerdict } from "./seccomp-actions.ts";
import type { SeccompArg, SpecSeccomp } from "./runtime-spec.ts";

const ARGS = 6;

/**
 * Code that ends with the rule's verdict when all its arguments fit and else goes on behind the block. Conditions on one and
 * the same argument are alternatives, as runc has it.
 */
export function ruleBlock(rule: SpecSeccomp["syscalls"][number]): Block {
  const args = rule.args ?? [];
  const repeated = new Set(args.map((arg) => arg.index)).size < args.length;
  const groups = repeated ? args.map((arg) => [arg]) : [args];
  return groups.flatMap((group) => group.reduceRight<Block>(before, verdict(ruleVerdict(rule))));
}

/** `rest` behind the comparison; when it fails, all of `rest` is skipped. */
function before(rest: Block, arg: SeccompArg): Block {
  return [...comparison(arg, rest.length), ...rest];
}

/** Falls through when it holds, and else skips `miss` instructions behind it. */
function comparison(arg: SeccompArg, miss: number): Block {
  if (!Number.isInteger(arg.index) || arg.index < 0 || arg.index >= ARGS)
    throw new SwarmError("InvalidArgument", `system calls have arguments 0 to ${ARGS - 1}, not ${arg.index}`);
  const low = load(ARGS_OFFSET + 8 * arg.index);
  const high = load(ARGS_OFFSET + 8 * arg.index + 4);
  const value = halves(arg.value);
  const equal = (half: number, no: number): Block[number] => jump(JUMP_EQUAL, { value: half, yes: 0, no });
  switch (arg.op) {
    case "SCMP_CMP_EQ":
      return [low, equal(value.low, 2 + miss), high, equal(value.high, miss)];
    case "SCMP_CMP_NE":
      return [low, equal(value.low, 2), high, jump(JUMP_EQUAL, { value: value.high, yes: miss, no: 0 })];
    case "SCMP_CMP_MASKED_EQ": {
      const wanted = halves(arg.valueTwo ?? 0);
      const mask = (half: number): Block[number] => ({ code: AND, value: half, yes: 0, no: 0 });
      return [
        ...[low, mask(value.low), equal((wanted.low & value.low) >>> 0, 3 + miss)],
        ...[high, mask(value.high), equal((wanted.high & value.high) >>> 0, miss)],
      ];
    }
    case "SCMP_CMP_GT":
    case "SCMP_CMP_GE":
      // A greater upper half decides for, a smaller one against; an equal one leaves it to the lower half.
      return [
        high,
        jump(JUMP_GREATER, { value: value.high, yes: 3, no: 0 }),
        equal(value.high, 2 + miss),
        low,
        jump(arg.op === "SCMP_CMP_GT" ? JUMP_GREATER : JUMP_GREATER_EQUAL, { value: value.low, yes: 0, no: miss }),
      ];
    case "SCMP_CMP_LT":
    case "SCMP_CMP_LE":
      return [
        high,
        jump(JUMP_GREATER, { value: value.high, yes: 3 + miss, no: 0 }),
        equal(value.high, 2),
        low,
        jump(arg.op === "SCMP_CMP_LT" ? JUMP_GREATER_EQUAL : JUMP_GREATER, { value: value.low, yes: miss, no: 0 }),
      ];
    default:
      return never(arg.op);
  }
}

/** A number up to 2^53 as two unsigned halves. */
function halves(value: number): { readonly low: number; readonly high: number } {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new SwarmError("InvalidArgument", `${value} in a seccomp rule is not a whole number from 0 to 2^53 - 1`);
  return { low: value % 2 ** 32, high: Math.floor(value / 2 ** 32) };
}
