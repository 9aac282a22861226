// Which devices the processes of a v2 cgroup may use: the rules of a runtime-spec document as a small eBPF program
// (BPF_PROG_TYPE_CGROUP_DEVICE; Linux's Documentation/bpf/standardization, include/uapi/linux/bpf.h). Pure; bpf-devices.ts
// loads it.

import { SwarmError } from "../proto/base/errors.ts";
import type { SpecDeviceRule } from "./runtime-spec.ts";

/** Instructions of a program; the verifier takes far more, but a container with this many rules is a mistake. */
const INSTRUCTIONS_MAX = 4096;

const ACCESS_BITS: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 };
const ALL_ACCESS = 7;
const TYPE_NUMBERS: Readonly<Record<string, number>> = { b: 1, c: 2 };

// Opcodes: class | size or operation | operand.
const LOAD_WORD = 0x61;
const MOVE_IMMEDIATE = 0xb7;
const MOVE_REGISTER = 0xbf;
const AND_IMMEDIATE = 0x57;
const SHIFT_RIGHT = 0x77;
const JUMP_UNLESS_EQUAL = 0x55;
const JUMP_IF_EQUAL = 0x15;
const EXIT = 0x95;

// Registers. At entry R1 points to struct bpf_cgroup_dev_ctx { access_type, major, minor }.
const R_RESULT = 0;
const R_CONTEXT = 1;
const R_TYPE = 2;
/** What was asked for and is not yet allowed by a rule. */
const R_WANTED = 3;
const R_MAJOR = 4;
const R_MINOR = 5;
const R_SCRATCH = 6;

interface Instruction {
  readonly code: number;
  readonly to: number;
  readonly from?: number;
  readonly offset?: number;
  readonly value?: number;
}

/**
 * The program for `rules`, as the kernel takes it (8 bytes per instruction). For each kind of access the last rule that names
 * the device decides; what no rule allows is denied.
 */
export function compileDeviceRules(rules: readonly SpecDeviceRule[]): Uint8Array {
  const program: Instruction[] = [
    { code: LOAD_WORD, to: R_TYPE, from: R_CONTEXT, offset: 0 },
    { code: MOVE_REGISTER, to: R_WANTED, from: R_TYPE },
    { code: AND_IMMEDIATE, to: R_TYPE, value: 0xffff },
    { code: SHIFT_RIGHT, to: R_WANTED, value: 16 },
    { code: LOAD_WORD, to: R_MAJOR, from: R_CONTEXT, offset: 4 },
    { code: LOAD_WORD, to: R_MINOR, from: R_CONTEXT, offset: 8 },
    ...[...rules].reverse().flatMap(ruleCode),
    ...verdict(0),
  ];
  if (program.length > INSTRUCTIONS_MAX)
    throw new SwarmError("InvalidArgument", `${rules.length} device rules are too many for one container`);
  const bytes = new DataView(new ArrayBuffer(program.length * 8));
  program.forEach(({ code, to, from = 0, offset = 0, value = 0 }, index) => {
    bytes.setUint8(index * 8, code);
    bytes.setUint8(index * 8 + 1, (from << 4) | to);
    bytes.setInt16(index * 8 + 2, offset, true);
    bytes.setInt32(index * 8 + 4, value, true);
  });
  return new Uint8Array(bytes.buffer);
}

function verdict(allowed: 0 | 1): readonly Instruction[] {
  return [
    { code: MOVE_IMMEDIATE, to: R_RESULT, value: allowed },
    { code: EXIT, to: 0 },
  ];
}

/** Rules are laid out from the last to the first. An allowing rule takes its bits off what is wanted; a denying one ends it. */
function ruleCode(rule: SpecDeviceRule): readonly Instruction[] {
  const bits = Array.from(rule.access ?? "rwm").reduce((sum, letter) => sum | accessBit(letter), 0);
  const body: readonly Instruction[] = rule.allow
    ? [
        { code: AND_IMMEDIATE, to: R_WANTED, value: ALL_ACCESS & ~bits },
        { code: JUMP_UNLESS_EQUAL, to: R_WANTED, value: 0, offset: 2 },
        ...verdict(1),
      ]
    : [
        { code: MOVE_REGISTER, to: R_SCRATCH, from: R_WANTED },
        { code: AND_IMMEDIATE, to: R_SCRATCH, value: bits },
        { code: JUMP_IF_EQUAL, to: R_SCRATCH, value: 0, offset: 2 },
        ...verdict(0),
      ];
  const type = rule.type ?? "a";
  const tests: readonly (readonly [number, number | undefined])[] =
    type === "a"
      ? []
      : [
          [R_TYPE, TYPE_NUMBERS[type]],
          [R_MAJOR, rule.major],
          [R_MINOR, rule.minor],
        ];
  const asked = tests.filter(([, value]) => value !== undefined && value >= 0);
  return [
    ...asked.map(([register, value], index) => ({
      code: JUMP_UNLESS_EQUAL,
      to: register,
      value: value ?? 0,
      offset: asked.length - index - 1 + body.length,
    })),
    ...body,
  ];
}

function accessBit(letter: string): number {
  const bit = ACCESS_BITS[letter];
  if (bit !== undefined) return bit;
  throw new SwarmError("InvalidArgument", `device access ${JSON.stringify(letter)} is not one of r, w and m`);
}
