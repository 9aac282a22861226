// Puts a device program on a v2 cgroup with bpf(2), through koffi. The program itself is bpf-device-program.ts's.

import { closeSync, openSync } from "node:fs";
import * as koffi from "koffi";
import { assert } from "../proto/base/assert.ts";
import { SwarmError } from "../proto/base/errors.ts";
import { compileDeviceRules } from "./bpf-device-program.ts";
import { check, errnoName, lastErrno, libc } from "./ffi.ts";
import type { SpecDeviceRule } from "./runtime-spec.ts";

const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_DETACH = 9;
const BPF_PROG_GET_FD_BY_ID = 13;
const BPF_PROG_QUERY = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
/** Groups below may add filters of their own; all of them must then allow. */
const BPF_F_ALLOW_MULTI = 2;
/** The kernel allows 64 programs per group and kind. */
const PROGRAMS_MAX = 64;
const LOG_BYTES = 65_536;

const SYSCALL_BPF: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };

type Syscall = (number: number, command: number, attributes: Uint8Array, size: number) => number;
let declared: Syscall | undefined;

/**
 * Issues bpf(2); the answer is negative when it failed. `attributes` holds addresses of `referred`, which must not be
 * collected before the call returns.
 */
function bpf(command: number, attributes: Buffer, referred: readonly Uint8Array[] = []): number {
  declared ??= libc<Syscall>("long syscall(long number, long command, void *attributes, long size)");
  const number = SYSCALL_BPF[process.arch];
  if (number === undefined)
    throw new SwarmError("FailedPrecondition", `device rules cannot be set on ${process.arch} machines`);
  const result = declared(number, command, attributes, attributes.length);
  assert(
    referred.every((data) => data.length > 0),
    "memory that bpf(2) reads is not empty",
  );
  return result;
}

/** Puts `rules` on the v2 cgroup folder `dir`, in place of filters attached before. They go with the folder. */
export function attachDeviceFilter(dir: string, rules: readonly SpecDeviceRule[]): void {
  const group = openSync(dir, "r");
  try {
    const program = load(compileDeviceRules(rules));
    try {
      const before = attachedTo(group);
      check(
        bpf(BPF_PROG_ATTACH, attachment({ group, program, flags: BPF_F_ALLOW_MULTI })),
        `attaching device rules to cgroup ${dir}`,
      );
      for (const id of before) detach({ group, id });
    } finally {
      closeSync(program);
    }
  } finally {
    closeSync(group);
  }
}

function attachment(options: { readonly group: number; readonly program: number; readonly flags: number }): Buffer {
  const attributes = Buffer.alloc(32);
  attributes.writeUInt32LE(options.group, 0);
  attributes.writeUInt32LE(options.program, 4);
  attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
  attributes.writeUInt32LE(options.flags, 12);
  return attributes;
}

function load(program: Uint8Array): number {
  const license = Buffer.from("GPL\0");
  const attributes = Buffer.alloc(128);
  attributes.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0);
  attributes.writeUInt32LE(program.length / 8, 4);
  attributes.writeBigUInt64LE(koffi.address(program), 8);
  attributes.writeBigUInt64LE(koffi.address(license), 16);
  const fd = bpf(BPF_PROG_LOAD, attributes, [program, license]);
  if (fd >= 0) return fd;
  const errno = errnoName(lastErrno());
  // Again with a log, which costs more and is of use only now.
  const log = Buffer.alloc(LOG_BYTES);
  attributes.writeUInt32LE(1, 24);
  attributes.writeUInt32LE(log.length, 28);
  attributes.writeBigUInt64LE(koffi.address(log), 32);
  const second = bpf(BPF_PROG_LOAD, attributes, [program, license, log]);
  if (second >= 0) return second;
  const said = log.toString("latin1", 0, log.indexOf(0)).trim();
  throw new SwarmError(
    errno === "EPERM" ? "PermissionDenied" : "Internal",
    `the kernel refused the program for device rules (${errno})${said === "" ? "" : `: ${said}`}`,
    { details: { errno } },
  );
}

/** Ids of the device programs attached to a group itself. */
function attachedTo(group: number): readonly number[] {
  const ids = Buffer.alloc(PROGRAMS_MAX * 4);
  const attributes = Buffer.alloc(32);
  attributes.writeUInt32LE(group, 0);
  attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 4);
  attributes.writeBigUInt64LE(koffi.address(ids), 16);
  attributes.writeUInt32LE(PROGRAMS_MAX, 24);
  check(bpf(BPF_PROG_QUERY, attributes, [ids]), "asking for the device rules of a cgroup");
  const count = attributes.readUInt32LE(24);
  return Array.from({ length: count }, (_, index) => ids.readUInt32LE(index * 4));
}

function detach({ group, id }: { readonly group: number; readonly id: number }): void {
  const attributes = Buffer.alloc(32);
  attributes.writeUInt32LE(id, 0);
  const program = check(bpf(BPF_PROG_GET_FD_BY_ID, attributes), "opening the device rules of a cgroup");
  try {
    check(bpf(BPF_PROG_DETACH, attachment({ group, program, flags: 0 })), "taking device rules off a cgroup");
  } finally {
    closeSync(program);
  }
}
