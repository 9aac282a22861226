// The actions of a profile as the numbers that a filter returns (linux/seccomp.h, SECCOMP_RET_*).

import { constants } from "node:os";
import type { SeccompAction, SpecSeccomp } from "./runtime-spec.ts";

/** SECCOMP_RET_* with its data in the low 16 bits. */
export type Verdict = number;

const ACTIONS: Readonly<Record<SeccompAction, number>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

export function ruleVerdict(rule: SpecSeccomp["syscalls"][number]): Verdict {
  return verdictOf(rule.action, rule.errnoRet);
}

export function defaultVerdict(profile: SpecSeccomp): Verdict {
  return verdictOf(profile.defaultAction, profile.defaultErrnoRet);
}

function verdictOf(action: SeccompAction, errno: number = constants.errno.EPERM): Verdict {
  return action === "SCMP_ACT_ERRNO" ? ACTIONS[action] | (errno & 0xffff) : ACTIONS[action];
}
