// The default filter under the real kernel: a process of its own loads it and tries what it should and should not do.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const unsupported = process.arch === "x64" ? false : "the numbers of the calls below are x86_64's";

/** Loads the filter as the shim does (no_new_privs first) and prints the errno of each call as JSON. */
const SCRIPT = `
  import { writeSync } from "node:fs";
  import * as koffi from "koffi";
  import { compileSeccomp, defaultSeccomp } from "./native/seccomp.ts";
  import { DEFAULT_CAPABILITIES } from "./native/capabilities.ts";
  const syscall = koffi.load("libc.so.6").func("long syscall(long number, long a, long b, void *c, long d)");
  const prctl = koffi.load("libc.so.6").func("int prctl(int option, ulong a, ulong b, ulong c, ulong d)");
  const errno = (...call) => (syscall(...call) < 0 ? koffi.errno() : 0);
  const program = compileSeccomp(defaultSeccomp({ capabilities: DEFAULT_CAPABILITIES }));
  const fprog = Buffer.alloc(16);
  fprog.writeUInt16LE(program.length / 8, 0);
  fprog.writeBigUInt64LE(BigInt(koffi.address(program)), 8);
  if (prctl(38, 1, 0, 0, 0) !== 0) throw new Error("no_new_privs: " + koffi.errno());
  const loaded = errno(317, 1, 0, fprog, 0);
  if (loaded !== 0) throw new Error("seccomp: errno " + loaded);
  const seen = {
    getpid: errno(39, 0, 0, null, 0),
    unshare: errno(272, 0x04000000, 0, null, 0),
    keyctl: errno(250, 0, 0, null, 0),
    clone3: errno(435, 0, 0, null, 0),
    vsock: errno(41, 40, 1, null, 0),
    personality: errno(135, 0xffffffff, 0, null, 0),
    oddPersonality: errno(135, 0x40000, 0, null, 0),
    ioUring: errno(425, 1, 0, null, 0),
    x32: errno(0x40000000 + 39, 0, 0, null, 0),
  };
  writeSync(1, JSON.stringify(seen));
  // An orderly exit would turn the event loop once more, and libuv waits with io_uring, which the filter refuses.
  process.kill(process.pid, "SIGKILL");
`;

test("the kernel takes the default filter and holds a process to it", { skip: unsupported, timeout: 30_000 }, () => {
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", SCRIPT], {
    cwd: new URL("../..", import.meta.url),
    encoding: "utf8",
    timeout: 20_000,
  });
  assert.equal(run.signal, "SIGKILL", run.stderr);
  const [EPERM, ENOSYS] = [1, 38];
  assert.deepEqual(JSON.parse(run.stdout), {
    getpid: 0,
    unshare: EPERM,
    keyctl: EPERM,
    clone3: ENOSYS,
    vsock: EPERM,
    personality: 0,
    oddPersonality: EPERM,
    ioUring: EPERM,
    x32: ENOSYS,
  });
});
