// The system call filter, run by an interpreter of classic BPF: any profile against its meaning read rule by rule, and
// Docker's default profile against what containers may and may not do.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SeccompArg, SpecSeccomp } from "../../../native/runtime-spec.ts";
import { compileSeccomp, defaultSeccomp } from "../../../native/seccomp.ts";
import { type SyscallTable, syscallTables } from "../../../native/seccomp-syscalls.ts";
import { DEFAULT_CAPABILITIES } from "../../../native/capabilities.ts";
import { defined } from "../../../proto/base/assert.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { RET_ALLOW, RET_KILL_PROCESS, retErrno, runFilter } from "../../support/classic-bpf.ts";

const EPERM = retErrno(1);
const ENOSYS = retErrno(38);
const [X86_64, I386] = syscallTables("x64") as readonly [SyscallTable, SyscallTable];

function ask(
  profile: SpecSeccomp,
  {
    table,
    name,
    args = [],
  }: { readonly table: SyscallTable; readonly name: string; readonly args?: readonly bigint[] },
): number {
  const machine = table.architecture.startsWith("SCMP_ARCH_X86") ? "x64" : "arm64";
  const number = defined(table.numbers.get(name), `${name} on ${table.architecture}`);
  return runFilter(compileSeccomp(profile, { machine }), { number, auditArch: table.auditArch, args });
}

function isMet(arg: SeccompArg, args: readonly bigint[]): boolean {
  const given = BigInt.asUintN(64, args[arg.index] ?? 0n);
  const value = BigInt(arg.value);
  switch (arg.op) {
    case "SCMP_CMP_EQ":
      return given === value;
    case "SCMP_CMP_NE":
      return given !== value;
    case "SCMP_CMP_LT":
      return given < value;
    case "SCMP_CMP_LE":
      return given <= value;
    case "SCMP_CMP_GT":
      return given > value;
    case "SCMP_CMP_GE":
      return given >= value;
    case "SCMP_CMP_MASKED_EQ":
      return (given & value) === (BigInt(arg.valueTwo ?? 0) & value);
  }
}

const NAMES = ["read", "write", "open", "close", "clone", "socket", "personality", "mseal", "uretprobe", "umount2"];
const number = fc.oneof(
  fc.integer({ min: 0, max: 5 }),
  fc.constantFrom(0xffffffff, 0x100000000, 0x100000005, 0x7e020000, 2 ** 53 - 1),
);
const arg: fc.Arbitrary<SeccompArg> = fc.record({
  index: fc.integer({ min: 0, max: 5 }),
  value: number,
  valueTwo: number,
  op: fc.constantFrom(
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_GT",
    "SCMP_CMP_GE",
    "SCMP_CMP_MASKED_EQ",
  ),
});
const profileOf: fc.Arbitrary<SpecSeccomp> = fc.record({
  defaultAction: fc.constant("SCMP_ACT_ERRNO" as const),
  defaultErrnoRet: fc.constant(1),
  syscalls: fc.array(
    fc.record({
      names: fc.subarray(NAMES, { minLength: 1 }),
      action: fc.constantFrom("SCMP_ACT_ALLOW" as const, "SCMP_ACT_ERRNO" as const, "SCMP_ACT_TRAP" as const),
      errnoRet: fc.integer({ min: 2, max: 100 }),
      args: fc.uniqueArray(arg, { maxLength: 3, selector: ({ index }) => index }),
    }),
    { maxLength: 12 },
  ),
});

function meant(profile: SpecSeccomp, name: string, args: readonly bigint[]): number {
  const rules = profile.syscalls.filter((rule) => rule.names.includes(name));
  const rule =
    rules.find((candidate) => (candidate.args ?? []).length === 0) ??
    rules.find((candidate) => (candidate.args ?? []).every((condition) => isMet(condition, args)));
  if (rule === undefined) return EPERM;
  if (rule.action === "SCMP_ACT_ALLOW") return RET_ALLOW;
  return rule.action === "SCMP_ACT_TRAP" ? 0x00030000 : retErrno(rule.errnoRet ?? 1);
}

test("a filter decides as its profile does when it is read rule by rule", () => {
  const args = fc.array(
    number.map((value) => BigInt(value)),
    { minLength: 6, maxLength: 6 },
  );
  fc.assert(
    fc.property(profileOf, fc.constantFrom(...NAMES), args, (profile, name, given) => {
      assert.equal(ask(profile, { table: X86_64, name, args: given }), meant(profile, name, given));
    }),
    { numRuns: 400 },
  );
});

test("conditions on one argument are alternatives", () => {
  const profile: SpecSeccomp = {
    defaultAction: "SCMP_ACT_ERRNO",
    syscalls: [
      {
        names: ["socket"],
        action: "SCMP_ACT_ALLOW",
        args: [1, 2].map((value) => ({ index: 0, value, op: "SCMP_CMP_EQ" })),
      },
    ],
  };
  assert.equal(ask(profile, { table: X86_64, name: "socket", args: [1n] }), RET_ALLOW);
  assert.equal(ask(profile, { table: X86_64, name: "socket", args: [2n] }), RET_ALLOW);
  assert.equal(ask(profile, { table: X86_64, name: "socket", args: [3n] }), EPERM);
});

test("every call of the machine gets the default profile's verdict, whichever leaf it falls on", () => {
  const profile = defaultSeccomp({ machine: "x64", capabilities: DEFAULT_CAPABILITIES });
  for (const table of [X86_64, I386]) {
    const names = new Map([...table.numbers].map(([name, value]) => [value, name]));
    for (let value = 0; value < 600; value += 1) {
      const program = compileSeccomp(profile, { machine: "x64" });
      const args = [0n, 0n];
      const got = runFilter(program, { number: value, auditArch: table.auditArch, args });
      const name = names.get(value);
      const wanted = name === undefined ? EPERM : name === "clone3" ? ENOSYS : meant(profile, name, args);
      assert.equal(got, wanted, `${table.architecture} ${value} ${name ?? ""}`);
    }
  }
});

test("a container may make no namespaces, mounts, modules or raw hypervisor sockets by default", () => {
  const profile = defaultSeccomp({ machine: "x64", capabilities: DEFAULT_CAPABILITIES });
  const refused =
    "mount umount2 unshare setns bpf init_module reboot keyctl perf_event_open userfaultfd io_uring_setup";
  for (const name of `${refused} open_by_handle_at open_tree_attr`.split(" "))
    assert.equal(ask(profile, { table: X86_64, name }), EPERM, name);
  assert.equal(ask(profile, { table: X86_64, name: "clone3" }), ENOSYS);
  assert.equal(ask(profile, { table: X86_64, name: "clone", args: [0x10000011n] }), EPERM);
  assert.equal(ask(profile, { table: X86_64, name: "clone", args: [0x00000011n] }), RET_ALLOW);
  assert.equal(ask(profile, { table: X86_64, name: "socket", args: [40n] }), EPERM);
  assert.equal(ask(profile, { table: X86_64, name: "socket", args: [2n] }), RET_ALLOW);
  assert.equal(ask(profile, { table: X86_64, name: "personality", args: [0xffffffffn] }), RET_ALLOW);
  assert.equal(ask(profile, { table: X86_64, name: "personality", args: [0x40000n] }), EPERM);
  assert.equal(ask(profile, { table: X86_64, name: "chroot" }), RET_ALLOW, "CAP_SYS_CHROOT is held by default");
  assert.equal(ask(profile, { table: I386, name: "umount" }), EPERM);
  assert.equal(ask(profile, { table: I386, name: "socketcall" }), RET_ALLOW);
});

test("capabilities open the calls that need them, and only those", () => {
  const admin = defaultSeccomp({ machine: "x64", capabilities: ["CAP_SYS_ADMIN"] });
  assert.equal(ask(admin, { table: X86_64, name: "mount" }), RET_ALLOW);
  assert.equal(ask(admin, { table: X86_64, name: "clone3" }), RET_ALLOW);
  assert.equal(ask(admin, { table: X86_64, name: "clone", args: [0x10000011n] }), RET_ALLOW);
  assert.equal(ask(admin, { table: X86_64, name: "chroot" }), EPERM);
  const time = defaultSeccomp({ machine: "x64", capabilities: ["CAP_SYS_TIME"] });
  assert.equal(ask(time, { table: X86_64, name: "settimeofday" }), RET_ALLOW);
  assert.equal(ask(time, { table: I386, name: "clock_settime64" }), RET_ALLOW);
  assert.equal(ask(time, { table: X86_64, name: "mount" }), EPERM);
});

test("x32 calls fail and other architectures are killed, also under a profile that allows all", () => {
  const open: SpecSeccomp = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [] };
  const program = compileSeccomp(open, { machine: "x64" });
  assert.equal(runFilter(program, { number: 0, auditArch: X86_64.auditArch }), RET_ALLOW);
  assert.equal(runFilter(program, { number: 0x40000000, auditArch: X86_64.auditArch }), ENOSYS);
  assert.equal(runFilter(program, { number: -1, auditArch: X86_64.auditArch }), ENOSYS);
  assert.equal(runFilter(program, { number: 0, auditArch: 0xc00000b7 }), RET_KILL_PROCESS);
  const only64 = compileSeccomp({ ...open, architectures: ["SCMP_ARCH_X86_64"] }, { machine: "x64" });
  assert.equal(runFilter(only64, { number: 0, auditArch: I386.auditArch }), RET_KILL_PROCESS);
});

test("arm64 machines filter their own and 32-bit programs", () => {
  const [arm64, arm] = syscallTables("arm64") as readonly [SyscallTable, SyscallTable];
  const profile = defaultSeccomp({ machine: "arm64", capabilities: [] });
  assert.equal(ask(profile, { table: arm64, name: "openat" }), RET_ALLOW);
  assert.equal(ask(profile, { table: arm64, name: "mount" }), EPERM);
  assert.equal(ask(profile, { table: arm, name: "set_tls" }), RET_ALLOW);
  assert.equal(ask(profile, { table: arm, name: "clone3" }), ENOSYS);
});

test("the default program is small, quick to walk and compiled once", () => {
  const first = defaultSeccomp({ machine: "x64", capabilities: DEFAULT_CAPABILITIES });
  const again = defaultSeccomp({ machine: "x64", capabilities: [...DEFAULT_CAPABILITIES] });
  assert.equal(first, again);
  assert.equal(compileSeccomp(first, { machine: "x64" }), compileSeccomp(again, { machine: "x64" }));
  assert.ok(compileSeccomp(first, { machine: "x64" }).length / 8 < 900);
});

test("what a filter cannot do is refused by a sentence", () => {
  const bad = (args: readonly SeccompArg[]): SpecSeccomp => ({
    defaultAction: "SCMP_ACT_ERRNO",
    syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW", args }],
  });
  const cases: readonly (readonly [SpecSeccomp, string, RegExp])[] = [
    [bad([{ index: 6, value: 0, op: "SCMP_CMP_EQ" }]), "x64", /arguments 0 to 5/],
    [bad([{ index: 0, value: -1, op: "SCMP_CMP_EQ" }]), "x64", /whole number/],
    [bad([]), "mips", /mips/],
    [bad(Array.from({ length: 3000 }, (_, value) => ({ index: 0, value, op: "SCMP_CMP_EQ" }) as const)), "x64", /4096/],
  ];
  for (const [profile, machine, words] of cases) {
    assert.throws(
      () => compileSeccomp(profile, { machine }),
      (error) => isSwarmError(error, "InvalidArgument") && words.test(error.message),
    );
  }
});
