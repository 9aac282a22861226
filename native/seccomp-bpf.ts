// The few instructions of classic BPF that a seccomp filter is made of (linux/filter.h, linux/seccomp.h), and their bytes.

export const LOAD = 0x20;
export const AND = 0x54;
export const JUMP_ALWAYS = 0x05;
export const JUMP_EQUAL = 0x15;
export const JUMP_GREATER = 0x25;
export const JUMP_GREATER_EQUAL = 0x35;
export const RETURN = 0x06;

// struct seccomp_data
export const NUMBER_OFFSET = 0;
export const ARCH_OFFSET = 4;
export const ARGS_OFFSET = 16;

export interface Instruction {
  readonly code: number;
  readonly value: number;
  /** Instructions to skip when a comparison holds, and when not; at most 255. */
  readonly yes: number;
  readonly no: number;
}

export type Block = readonly Instruction[];

export function load(offset: number): Instruction {
  return { code: LOAD, value: offset, yes: 0, no: 0 };
}

export function jump(
  code: number,
  rest: { readonly value: number; readonly yes: number; readonly no: number },
): Instruction {
  return { code, ...rest };
}

/** Ends the program with what the kernel shall do (SECCOMP_RET_*). */
export function verdict(result: number): Block {
  return [{ code: RETURN, value: result, yes: 0, no: 0 }];
}

/** struct sock_filter, little-endian as both of our machines are: u16 code, u8 jt, u8 jf, u32 k. */
export function encode(program: Block): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(program.length * 8));
  program.forEach(({ code, value, yes, no }, index) => {
    bytes.setUint16(index * 8, code, true);
    bytes.setUint8(index * 8 + 2, yes);
    bytes.setUint8(index * 8 + 3, no);
    bytes.setUint32(index * 8 + 4, value >>> 0, true);
  });
  return new Uint8Array(bytes.buffer);
}
