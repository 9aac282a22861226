// The filter of system calls: Docker's default profile as a runtime-spec document, and any such document as the classic BPF
// program that seccomp(2) takes. Nobody else decides what a container may call; the shim only loads what is made here.

import { constants } from "node:os";
import { assemble } from "./seccomp-program.ts";
import type { SeccompArg, SpecSeccomp } from "./runtime-spec.ts";
import { AF_VSOCK, ALLOWED, ALLOWED_ON, ALLOWED_WITH, CLONE_NAMESPACES, PERSONALITIES } from "./seccomp-default.ts";
import { syscallTables } from "./seccomp-syscalls.ts";

type Rule = SpecSeccomp["syscalls"][number];

/** Profiles by machine and capabilities; few differ, since few services ask for capabilities of their own. */
const PROFILES_MAX = 64;
const profiles = new Map<string, SpecSeccomp>();

export interface SeccompOptions {
  /** As `process.arch` names it; this machine's when absent. */
  readonly machine?: string;
}

/**
 * Docker's default profile for a process with these capabilities ("CAP_..."). The same capabilities give the same object, so
 * that its program is compiled once.
 */
export function defaultSeccomp(options: SeccompOptions & { readonly capabilities: readonly string[] }): SpecSeccomp {
  const machine = options.machine ?? process.arch;
  const held = Object.keys(ALLOWED_WITH).filter((name) => options.capabilities.includes(name));
  const key = `${machine} ${held.join(" ")}`;
  const known = profiles.get(key);
  if (known !== undefined) return known;
  const profile = buildDefault(machine, held);
  if (profiles.size >= PROFILES_MAX) profiles.clear();
  profiles.set(key, profile);
  return profile;
}

function buildDefault(machine: string, held: readonly string[]): SpecSeccomp {
  const allow = (names: readonly string[], args: readonly SeccompArg[] = []): Rule => ({
    names,
    action: "SCMP_ACT_ALLOW",
    ...(args.length === 0 ? {} : { args }),
  });
  const mayUnshare = held.includes("CAP_SYS_ADMIN");
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: constants.errno.EPERM,
    architectures: syscallTables(machine).map((table) => table.architecture),
    syscalls: [
      allow([...ALLOWED, ...(ALLOWED_ON[machine] ?? [])]),
      allow(["socket"], [{ index: 0, value: AF_VSOCK, op: "SCMP_CMP_NE" }]),
      ...PERSONALITIES.map((value) => allow(["personality"], [{ index: 0, value, op: "SCMP_CMP_EQ" }])),
      ...held.map((name) => allow(ALLOWED_WITH[name] ?? [])),
      ...(mayUnshare
        ? []
        : [
            allow(["clone"], [{ index: 0, value: CLONE_NAMESPACES, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }]),
            // The flags of clone3 are behind a pointer, out of a filter's sight. ENOSYS makes C libraries fall back to clone.
            { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: constants.errno.ENOSYS } as const,
          ]),
    ],
  };
}

const programs = new WeakMap<SpecSeccomp, Map<string, Uint8Array>>();

/**
 * The profile as an array of struct sock_filter for this machine and its 32-bit programs. A rule without arguments beats
 * rules with arguments for the same call; among those the first that fits decides. Processes of an architecture that the
 * profile leaves out are killed; calls of the x32 kind fail with ENOSYS, whatever the profile says. Kept per profile object,
 * which must not change. Throws InvalidArgument when the profile asks for what a filter cannot do or gets too long.
 */
export function compileSeccomp(profile: SpecSeccomp, options: SeccompOptions = {}): Uint8Array {
  const machine = options.machine ?? process.arch;
  const known = programs.get(profile) ?? new Map<string, Uint8Array>();
  const program = known.get(machine) ?? assemble(profile, machine);
  known.set(machine, program);
  programs.set(profile, known);
  return program;
}
