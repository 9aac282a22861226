// Ids of cluster objects: 25 characters of base 36, as Docker Swarm's, so that scripts and eyes need no change.

import type { Random } from "../base/random.ts";

export const ID_LENGTH = 25;

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

/** A fresh id of 25 base-36 characters (about 129 random bits). */
export function newId(random: Random): string {
  let id = "";
  while (id.length < ID_LENGTH) {
    for (const byte of random.bytes(ID_LENGTH)) {
      // 252 is the largest multiple of 36 in a byte: larger values would favour the first letters.
      if (byte < 252 && id.length < ID_LENGTH) id += ALPHABET.charAt(byte % 36);
    }
  }
  return id;
}

export function isId(text: string): boolean {
  return /^[0-9a-z]{25}$/.test(text);
}
