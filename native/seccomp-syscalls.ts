// System calls by name, for each machine architecture whose programs we filter.

import { ARM, ARM64 } from "./seccomp-syscalls-arm.ts";
import { I386, X86_64 } from "./seccomp-syscalls-x86.ts";

/** Every architecture counts alike from here on (Linux 5.1 to 6.18). */
const SINCE_2019 = `
  424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount
  fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr
  quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease
  futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue
  statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat
  removexattrat open_tree_attr file_getattr file_setattr
`;

/** The 64-bit times of 32-bit architectures. */
const TIME_64 = `
  403 clock_gettime64 clock_settime64 clock_adjtime64 clock_getres_time64 clock_nanosleep_time64 timer_gettime64
  timer_settime64 timerfd_gettime64 timerfd_settime64 utimensat_time64 pselect6_time64 ppoll_time64
  416 io_pgetevents_time64 recvmmsg_time64 mq_timedsend_time64 mq_timedreceive_time64 semtimedop_time64
  rt_sigtimedwait_time64 futex_time64 sched_rr_get_interval_time64
`;

export interface SyscallTable {
  /** The runtime specification's name. */
  readonly architecture: string;
  /** AUDIT_ARCH_* (linux/audit.h), which the filter compares with. */
  readonly auditArch: number;
  readonly numbers: ReadonlyMap<string, number>;
}

/** Reads "0 read write 7 poll": a number, then the names of that and the following ones. */
function read(...texts: readonly string[]): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>();
  let next = 0;
  for (const word of texts.join(" ").split(/\s+/)) {
    if (/^\d+$/.test(word)) next = Number(word);
    else if (word !== "") {
      numbers.set(word, next);
      next += 1;
    }
  }
  return numbers;
}

/** The tables of a machine (named as Node names it): its own, then that of its 32-bit programs. Empty for an unknown machine. */
export function syscallTables(machine: string): readonly SyscallTable[] {
  return TABLES[machine] ?? [];
}

const TABLES: Readonly<Record<string, readonly SyscallTable[]>> = {
  x64: [
    { architecture: "SCMP_ARCH_X86_64", auditArch: 0xc000003e, numbers: read(X86_64, SINCE_2019) },
    { architecture: "SCMP_ARCH_X86", auditArch: 0x40000003, numbers: read(I386, TIME_64, SINCE_2019) },
  ],
  arm64: [
    { architecture: "SCMP_ARCH_AARCH64", auditArch: 0xc00000b7, numbers: read(ARM64, SINCE_2019) },
    { architecture: "SCMP_ARCH_ARM", auditArch: 0x40000028, numbers: read(ARM, TIME_64, SINCE_2019) },
  ],
};
