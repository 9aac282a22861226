// The system calls a container may make unless it says otherwise: the rules of Docker's default profile, as a table by
// purpose. What is not listed is refused with EPERM. Two things are stricter than Docker's newest: the kernel's key rings are
// shared by the containers of a machine, so that keyctl, add_key and request_key stay refused.

/** Allowed with any arguments. */
export const ALLOWED: readonly string[] = words(`
  read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat openat2 creat close close_range
  lseek _llseek dup dup2 dup3 fcntl fcntl64 ioctl flock fsync fdatasync sync syncfs sync_file_range sendfile sendfile64
  copy_file_range splice tee vmsplice readahead fadvise64 fadvise64_64 fallocate truncate truncate64 ftruncate
  ftruncate64 pipe pipe2 select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 cachestat

  access faccessat faccessat2 stat stat64 fstat fstat64 fstatat64 newfstatat lstat lstat64 statx statfs statfs64 fstatfs
  fstatfs64 statmount listmount getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir mknod mknodat link linkat
  symlink symlinkat readlink readlinkat unlink unlinkat rename renameat renameat2 chmod fchmod fchmodat fchmodat2 chown
  chown32 fchown fchown32 fchownat lchown lchown32 umask utime utimes futimesat utimensat utimensat_time64
  name_to_handle_at getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr
  flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat inotify_init inotify_init1
  inotify_add_watch inotify_rm_watch fanotify_mark landlock_create_ruleset landlock_add_rule landlock_restrict_self

  brk mmap mmap2 munmap mremap mprotect msync mincore madvise mlock mlock2 mlockall munlock munlockall remap_file_pages
  memfd_create memfd_secret membarrier mseal map_shadow_stack pkey_alloc pkey_free pkey_mprotect process_mrelease

  fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pidfd_open pidfd_send_signal getpid
  getppid gettid getpgid setpgid getpgrp getsid setsid prctl seccomp set_tid_address set_robust_list get_robust_list rseq
  set_thread_area get_thread_area futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue restart_syscall
  getcpu getrandom uname sysinfo uretprobe riscv_hwprobe

  getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32
  getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
  setresgid setresgid32 setgroups setgroups32 setfsuid setfsuid32 setfsgid setfsgid32 capget capset

  getrlimit ugetrlimit setrlimit prlimit64 getrusage times getpriority setpriority ioprio_get ioprio_set sched_yield
  sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler
  sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64

  rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_sigqueueinfo
  rt_tgsigqueueinfo rt_sigreturn sigreturn sigprocmask sigaltstack signalfd signalfd4 pause alarm getitimer setitimer

  time gettimeofday adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
  clock_nanosleep clock_nanosleep_time64 nanosleep timer_create timer_delete timer_getoverrun timer_gettime
  timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
  timerfd_settime64

  bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt socketpair socketcall send
  sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64

  epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2
  io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64

  ipc msgget msgctl msgsnd msgrcv semget semctl semop semtimedop semtimedop_time64 shmget shmctl shmat shmdt mq_open
  mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64

  process_vm_readv process_vm_writev ptrace
`);

/** Allowed on one kind of machine only (named as Node names it). */
export const ALLOWED_ON: Readonly<Record<string, readonly string[]>> = {
  x64: words("arch_prctl modify_ldt"),
  arm64: words("arm_fadvise64_64 sync_file_range2 breakpoint cacheflush set_tls"),
};

/** Allowed besides to who holds the capability: what the kernel lets it do there is then its own affair. */
export const ALLOWED_WITH: Readonly<Record<string, readonly string[]>> = {
  CAP_DAC_READ_SEARCH: words("open_by_handle_at"),
  CAP_SYS_ADMIN: words(`
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
    sethostname setns syslog umount umount2 unshare
  `),
  CAP_SYS_BOOT: words("reboot"),
  CAP_SYS_CHROOT: words("chroot"),
  CAP_SYS_MODULE: words("delete_module init_module finit_module"),
  CAP_SYS_PACCT: words("acct"),
  CAP_SYS_PTRACE: words("kcmp pidfd_getfd process_madvise"),
  CAP_SYS_RAWIO: words("iopl ioperm"),
  CAP_SYS_TIME: words("settimeofday stime clock_settime clock_settime64"),
  CAP_SYS_TTY_CONFIG: words("vhangup"),
  CAP_SYS_NICE: words("get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
  CAP_SYSLOG: words("syslog"),
  CAP_BPF: words("bpf"),
  CAP_PERFMON: words("perf_event_open"),
};

/** Execution domains that change nothing but what uname says or how addresses are laid out; the last one only asks. */
export const PERSONALITIES: readonly number[] = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

/** Every CLONE_NEW* flag that clone(2) takes in its first argument: without CAP_SYS_ADMIN no new namespaces. */
export const CLONE_NAMESPACES = 0x7e020000;

/** AF_VSOCK reaches the hypervisor past every network namespace. */
export const AF_VSOCK = 40;

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}
