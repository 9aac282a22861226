// The device program, run here by an interpreter of the few instructions it is made of, against the rules read one by one.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileDeviceRules } from "../../../native/bpf-device-program.ts";
import type { SpecDeviceRule } from "../../../native/runtime-spec.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";

interface Request {
  readonly type: "b" | "c";
  readonly major: number;
  readonly minor: number;
  /** Sum of 1 (mknod), 2 (read), 4 (write). */
  readonly access: number;
}

function run(program: Uint8Array, request: Request): number {
  const view = new DataView(program.buffer);
  const context = [(request.access << 16) | (request.type === "b" ? 1 : 2), request.major, request.minor];
  const registers = new Array<number>(11).fill(0);
  for (let pc = 0, steps = 0; steps < 10_000; steps += 1) {
    assert.ok(pc >= 0 && pc * 8 < program.length, "the program stays inside itself");
    const code = view.getUint8(pc * 8);
    const to = view.getUint8(pc * 8 + 1) & 15;
    const from = view.getUint8(pc * 8 + 1) >> 4;
    const offset = view.getInt16(pc * 8 + 2, true);
    const value = view.getInt32(pc * 8 + 4, true);
    pc += 1;
    if (code === 0x95) return registers[0] ?? -1;
    if (code === 0x61) registers[to] = context[offset / 4] ?? -1;
    else if (code === 0xb7) registers[to] = value;
    else if (code === 0xbf) registers[to] = registers[from] ?? -1;
    else if (code === 0x57) registers[to] = (registers[to] ?? 0) & value;
    else if (code === 0x77) registers[to] = (registers[to] ?? 0) >>> value;
    else if (code === 0x55) pc += registers[to] === value ? 0 : offset;
    else if (code === 0x15) pc += registers[to] === value ? offset : 0;
    else assert.fail(`unknown instruction ${code.toString(16)}`);
  }
  return assert.fail("the program ends");
}

/** What the rules mean: for each kind of access asked, the last rule that names the device decides; none means no. */
function meant(rules: readonly SpecDeviceRule[], request: Request): number {
  const bits = [1, 2, 4].filter((bit) => (request.access & bit) !== 0);
  const allowed = bits.every((bit) => {
    const letter = bit === 1 ? "m" : bit === 2 ? "r" : "w";
    const last = rules.findLast((rule) => {
      if (!(rule.access ?? "rwm").includes(letter)) return false;
      if ((rule.type ?? "a") === "a") return true;
      return (
        rule.type === request.type &&
        (rule.major ?? request.major) === request.major &&
        (rule.minor ?? request.minor) === request.minor
      );
    });
    return last?.allow ?? false;
  });
  return allowed ? 1 : 0;
}

const rule: fc.Arbitrary<SpecDeviceRule> = fc.record(
  {
    allow: fc.boolean(),
    type: fc.constantFrom("a" as const, "b" as const, "c" as const),
    major: fc.integer({ min: 0, max: 3 }),
    minor: fc.integer({ min: 0, max: 3 }),
    access: fc.constantFrom("r", "w", "m", "rw", "rwm"),
  },
  { requiredKeys: ["allow"] },
);

test("the program decides as its rules do when they are read one by one", () => {
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 8 }),
      fc.record({
        type: fc.constantFrom("b" as const, "c" as const),
        major: fc.integer({ min: 0, max: 3 }),
        minor: fc.integer({ min: 0, max: 3 }),
        access: fc.integer({ min: 1, max: 7 }),
      }),
      (rules, request) => {
        assert.equal(run(compileDeviceRules(rules), request), meant(rules, request));
      },
    ),
    { numRuns: 500 },
  );
});

test("no rules mean no devices", () => {
  assert.equal(run(compileDeviceRules([]), { type: "c", major: 1, minor: 3, access: 2 }), 0);
});

test("an access that is not r, w or m is refused, and so are rules without end", () => {
  assert.throws(
    () => compileDeviceRules([{ allow: true, access: "x" }]),
    (error) => isSwarmError(error, "InvalidArgument") && error.message.includes("r, w and m"),
  );
  const many = Array.from({ length: 2000 }, () => ({ allow: true, type: "c", major: 1, minor: 3 }) as const);
  assert.throws(
    () => compileDeviceRules(many),
    (error) => isSwarmError(error, "InvalidArgument"),
  );
});
