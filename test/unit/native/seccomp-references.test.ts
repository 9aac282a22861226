// The tables against independent ones: system call numbers against the machine's C headers, the default profile's rules
// against the profile that Debian ships for other container tools (package golang-github-containers-common).

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { defaultSeccomp } from "../../../native/seccomp.ts";
import { ALLOWED, ALLOWED_ON, ALLOWED_WITH } from "../../../native/seccomp-default.ts";
import { syscallTables } from "../../../native/seccomp-syscalls.ts";
import { CAPABILITIES } from "../../../proto/base/capabilities.ts";

const PROFILE = "/usr/share/containers/seccomp.json";
const HEADERS = "/usr/include/x86_64-linux-gnu/asm";

const headersMissing = existsSync(HEADERS) ? false : `${HEADERS} is not there: install linux-libc-dev`;
test("x86 system call numbers are those of the C headers", { skip: headersMissing }, () => {
  for (const [table, file] of [
    [syscallTables("x64")[0], "unistd_64.h"],
    [syscallTables("x64")[1], "unistd_32.h"],
  ] as const) {
    const text = readFileSync(`${HEADERS}/${file}`, "utf8");
    const found = [...text.matchAll(/^#define __NR_(\w+)\s+(\d+)/gm)];
    assert.ok(found.length > 300, `${file} has numbers`);
    for (const [, name = "", value] of found) assert.equal(table?.numbers.get(name), Number(value), `${file} ${name}`);
  }
});

test("every call that the default profile names exists on some machine", () => {
  const known = new Set(
    ["x64", "arm64"].flatMap((machine) => syscallTables(machine).flatMap((t) => [...t.numbers.keys()])),
  );
  // libseccomp's own names for calls that these machines multiplex or lack.
  const elsewhere = ["epoll_ctl_old", "epoll_wait_old", "fstatat64", "riscv_hwprobe"];
  const named = [...ALLOWED, ...Object.values(ALLOWED_ON).flat(), ...Object.values(ALLOWED_WITH).flat()];
  assert.deepEqual(
    named.filter((name) => !known.has(name) && !elsewhere.includes(name)),
    [],
  );
  assert.equal(new Set(ALLOWED).size, ALLOWED.length, "no name is there twice");
  for (const name of Object.keys(ALLOWED_WITH)) assert.ok(CAPABILITIES.includes(name.slice(4)), name);
});

interface Reference {
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: string;
    readonly args?: readonly unknown[] | null;
    readonly includes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
    readonly excludes?: { readonly caps?: readonly string[] };
  }[];
}

/** Names allowed with any arguments on amd64 to who holds exactly `capabilities`. */
function allowedBy(reference: Reference, capabilities: readonly string[]): ReadonlySet<string> {
  const rules = reference.syscalls.filter(
    ({ action, args, includes, excludes }) =>
      action === "SCMP_ACT_ALLOW" &&
      (args ?? []).length === 0 &&
      (includes?.arches ?? ["amd64"]).includes("amd64") &&
      (includes?.caps ?? []).every((name) => capabilities.includes(name)) &&
      !(excludes?.caps ?? []).some((name) => capabilities.includes(name)),
  );
  return new Set(rules.flatMap((rule) => rule.names));
}

/** Namespaces and mounts (that profile is made for user namespaces), key rings, memory policies, names that no call has. */
const THEIRS_ALONE =
  "clone clone3 fsconfig fsmount fsopen fspick get_mempolicy keyctl mbind mount mount_setattr move_mount open_tree " +
  "pidfd_getfd pivot_root readdir reboot set_mempolicy setns sigaction signal sigpending sigsuspend syscall syslog " +
  "timerfd umount umount2 unshare";
/** Newer than Debian's file, save vmsplice. */
const OURS_ALONE =
  "cachestat fchmodat2 futex_requeue futex_wait futex_waitv futex_wake getxattrat io_pgetevents io_pgetevents_time64 " +
  "listmount listxattrat map_shadow_stack mseal removexattrat riscv_hwprobe setxattrat statmount uretprobe vmsplice";

const profileMissing = existsSync(PROFILE)
  ? false
  : `${PROFILE} is not there: apt-get install golang-github-containers-common`;
test("the default profile differs from Debian's only where Docker's does", { skip: profileMissing }, () => {
  const reference = JSON.parse(readFileSync(PROFILE, "utf8")) as Reference;
  const theirs = allowedBy(reference, []);
  assert.ok(theirs.size > 300);
  const ours = new Set(
    defaultSeccomp({ machine: "x64", capabilities: [] })
      .syscalls.filter((rule) => rule.action === "SCMP_ACT_ALLOW" && rule.args === undefined)
      .flatMap((rule) => rule.names),
  );
  assert.deepEqual([...theirs].filter((name) => !ours.has(name)).sort(), THEIRS_ALONE.split(" "));
  assert.deepEqual([...ours].filter((name) => !theirs.has(name)).sort(), OURS_ALONE.split(" "));
});

test("capabilities open the calls that Debian's profile opens for them", { skip: profileMissing }, () => {
  const reference = JSON.parse(readFileSync(PROFILE, "utf8")) as Reference;
  const base = allowedBy(reference, []);
  for (const [capability, names] of Object.entries(ALLOWED_WITH)) {
    const theirs = allowedBy(reference, [capability]);
    const missing = [...theirs].filter((name) => !base.has(name) && !names.includes(name) && !ALLOWED.includes(name));
    // A call that Linux 2.6 took away.
    const gone = capability === "CAP_SYS_MODULE" ? ["query_module"] : [];
    assert.deepEqual(missing, gone, `${capability} opens these elsewhere`);
  }
});
