// From a profile to instructions: per architecture a binary search over the call's number, at whose leaves stand the verdicts
// and the comparisons of arguments. Blocks are built from their ends, each whole in itself and entered at its first
// instruction, so that all jumps are forward and their lengths known.

import { SwarmError } from "../proto/base/errors.ts";
import {
  ARCH_OFFSET,
  type Block,
  JUMP_ALWAYS,
  JUMP_EQUAL,
  JUMP_GREATER_EQUAL,
  NUMBER_OFFSET,
  encode,
  jump,
  load,
  verdict,
} from "./seccomp-bpf.ts";
import { ruleBlock } from "./seccomp-args.ts";
import { type Verdict, defaultVerdict, ruleVerdict } from "./seccomp-actions.ts";
import type { SpecSeccomp } from "./runtime-spec.ts";
import { type SyscallTable, syscallTables } from "./seccomp-syscalls.ts";

/** What seccomp(2) takes (BPF_MAXINSNS). */
const INSTRUCTIONS_MAX = 4096;
const KILL_PROCESS = 0x80000000;
const FAIL_ENOSYS = 0x00050000 | 38;
/** Set in the numbers of x32 calls, which share x86_64's architecture. */
const X32_BIT = 0x40000000;

type Rule = SpecSeccomp["syscalls"][number];

/** What happens to the calls from `first` up to the next leaf's. */
interface Leaf {
  readonly first: number;
  readonly block: Block;
}

/** The whole program for a machine as bytes. Throws InvalidArgument. */
export function assemble(profile: SpecSeccomp, machine: string): Uint8Array {
  const tables = syscallTables(machine);
  if (tables.length === 0)
    throw new SwarmError("InvalidArgument", `system calls cannot be filtered on ${machine} machines`);
  const wanted = tables.filter((table) => profile.architectures?.includes(table.architecture) ?? true);
  const program = wanted.reduceRight<Block>((rest, table) => {
    const own = [load(NUMBER_OFFSET), ...x32Guard(table), ...search(leaves(profile, table))];
    // "Is it this architecture" falls through to its block, or jumps behind it, by a long jump since blocks are long.
    return [jump(JUMP_EQUAL, { value: table.auditArch, yes: 1, no: 0 }), farJump(own.length), ...own, ...rest];
  }, verdict(KILL_PROCESS));
  const whole = [load(ARCH_OFFSET), ...program];
  if (whole.length > INSTRUCTIONS_MAX)
    throw new SwarmError(
      "InvalidArgument",
      `the seccomp profile needs ${whole.length} instructions and the kernel takes ${INSTRUCTIONS_MAX}; write fewer rules`,
    );
  return encode(whole);
}

function farJump(distance: number): Block[number] {
  return { code: JUMP_ALWAYS, value: distance, yes: 0, no: 0 };
}

/** Any number with the x32 bit, -1 included, is no call that we know. */
function x32Guard(table: SyscallTable): Block {
  if (table.architecture !== "SCMP_ARCH_X86_64") return [];
  return [jump(JUMP_GREATER_EQUAL, { value: X32_BIT, yes: 0, no: 1 }), ...verdict(FAIL_ENOSYS)];
}

/** Neighbours in the order of their numbers, gaps filled with the default, equal ones joined. */
function leaves(profile: SpecSeccomp, table: SyscallTable): readonly Leaf[] {
  const fallback = defaultVerdict(profile);
  const found: { first: number; block: Block; plain: Verdict | undefined }[] = [];
  const put = (first: number, block: Block, plain: Verdict | undefined): void => {
    const last = found.at(-1);
    if (last !== undefined && plain !== undefined && last.plain === plain) return;
    found.push({ first, block, plain });
  };
  let next = 0;
  for (const [number, rules] of rulesByNumber(profile, table)) {
    if (number > next) put(next, verdict(fallback), fallback);
    const plain = rules.find((rule) => (rule.args ?? []).length === 0);
    const result = plain === undefined ? undefined : ruleVerdict(plain);
    if (result !== undefined) put(number, verdict(result), result);
    else put(number, [...rules.flatMap(ruleBlock), ...verdict(fallback)], undefined);
    next = number + 1;
  }
  put(next, verdict(fallback), fallback);
  return found;
}

/** Rules that say nothing else than the default are left out, as libseccomp does. */
function rulesByNumber(profile: SpecSeccomp, table: SyscallTable): readonly (readonly [number, readonly Rule[]])[] {
  const byNumber = new Map<number, Rule[]>();
  for (const rule of profile.syscalls) {
    if (ruleVerdict(rule) === defaultVerdict(profile)) continue;
    for (const name of rule.names) {
      const number = table.numbers.get(name);
      // Names that this architecture does not have, or that are newer than this table, cannot be called by their name here.
      if (number === undefined) continue;
      const rules = byNumber.get(number) ?? [];
      rules.push(rule);
      byNumber.set(number, rules);
    }
  }
  return [...byNumber].sort(([a], [b]) => a - b);
}

function search(sorted: readonly Leaf[]): Block {
  const [only] = sorted;
  if (only !== undefined && sorted.length === 1) return only.block;
  const middle = sorted.length >> 1;
  const low = search(sorted.slice(0, middle));
  const high = search(sorted.slice(middle));
  const value = sorted[middle]?.first ?? 0;
  if (low.length <= 255) return [jump(JUMP_GREATER_EQUAL, { value, yes: low.length, no: 0 }), ...low, ...high];
  return [jump(JUMP_GREATER_EQUAL, { value, yes: 0, no: 1 }), farJump(low.length), ...low, ...high];
}
