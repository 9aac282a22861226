// Randomness is handed in, so that the simulator can replay it. `systemRandom` is the kernel's.

import { randomBytes, randomInt } from "node:crypto";

export interface Random {
  /** Uniform in [0, 1). */
  float(): number;
  /** Uniform whole number in [min, max). */
  int(min: number, max: number): number;
  bytes(length: number): Uint8Array;
}

export const systemRandom: Random = {
  float: () => randomInt(0, 2 ** 47) / 2 ** 47,
  int: (min, max) => randomInt(min, max),
  bytes: (length) => randomBytes(length),
};

/** A repeatable source (mulberry32): the same seed gives the same sequence. Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    float: next,
    int: (min, max) => min + Math.floor(next() * (max - min)),
    bytes: (length) => Uint8Array.from({ length }, () => Math.floor(next() * 256)),
  };
}
