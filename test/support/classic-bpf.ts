// Runs a seccomp filter as the kernel would, for tests: classic BPF over struct seccomp_data.

import assert from "node:assert/strict";

export interface SystemCall {
  readonly number: number;
  readonly auditArch: number;
  readonly args?: readonly bigint[];
}

/** The value that the filter returns (SECCOMP_RET_*). Fails when the program leaves itself. */
export function runFilter(program: Uint8Array, call: SystemCall): number {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, call.number >>> 0, true);
  data.setUint32(4, call.auditArch, true);
  (call.args ?? []).forEach((value, index) => {
    data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, value), true);
  });
  let accumulator = 0;
  // All jumps go forward, so that a program ends within its length.
  for (let pc = 0; pc * 8 < program.length;) {
    const code = view.getUint16(pc * 8, true);
    const yes = view.getUint8(pc * 8 + 2);
    const no = view.getUint8(pc * 8 + 3);
    const value = view.getUint32(pc * 8 + 4, true);
    pc += 1;
    if (code === 0x06) return value;
    if (code === 0x20) accumulator = data.getUint32(value, true);
    else if (code === 0x54) accumulator = (accumulator & value) >>> 0;
    else if (code === 0x05) pc += value;
    else if (code === 0x15) pc += accumulator === value ? yes : no;
    else if (code === 0x25) pc += accumulator > value ? yes : no;
    else if (code === 0x35) pc += accumulator >= value ? yes : no;
    else assert.fail(`instruction ${code.toString(16)} is not one of ours`);
  }
  return assert.fail("the program ends with a verdict");
}

export const RET_ALLOW = 0x7fff0000;
export const RET_KILL_PROCESS = 0x80000000;

export function retErrno(errno: number): number {
  return 0x00050000 | errno;
}
