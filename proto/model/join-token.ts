// Join tokens as text, in SwarmKit's form: SWMTKN-1-<digest of the root certificate>-<secret>. The digest lets a node that
// knows nothing yet recognise its cluster; the secret says to the cluster that it may join, and in which role. Pure.

import { SwarmError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";

export interface JoinToken {
  /** "sha256:<64 hex digits>" of the root certificate's DER. */
  readonly caDigest: string;
  /** 25 characters of base 36. */
  readonly secret: string;
}

/** No token is longer; a server looks at nothing longer. */
export const JOIN_TOKEN_LENGTH_MAX = 128;

const DIGEST_LENGTH = 50;
const SECRET_LENGTH = 25;
const SECRET_BYTES = 16;
const FORM = /^SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/;
const DIGEST = /^sha256:([0-9a-f]{64})$/;
const HINT = "copy the whole token that `tsswarm swarm join-token worker` shows on a manager";

/** Throws InvalidArgument that says what is wrong with the text, and never holds the secret. */
export function parseJoinToken(text: string): JoinToken {
  const token = text.trim();
  const [form, digest = "", secret = ""] = FORM.exec(token) ?? [];
  if (form === undefined) throw new SwarmError("InvalidArgument", `invalid join token: ${fault(token)}; ${HINT}`);
  let value = 0n;
  for (const digit of digest) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  if (value >= 1n << 256n)
    throw new SwarmError("InvalidArgument", `invalid join token: its digest is too large; ${HINT}`);
  return { caDigest: `sha256:${value.toString(16).padStart(64, "0")}`, secret };
}

/** Throws InvalidArgument for a digest that is not "sha256:<hex>". */
export function formatJoinToken(token: JoinToken): string {
  const hex = DIGEST.exec(token.caDigest)?.[1];
  if (hex === undefined) throw new SwarmError("InvalidArgument", `invalid certificate digest ${token.caDigest}`);
  return `SWMTKN-1-${BigInt(`0x${hex}`).toString(36).padStart(DIGEST_LENGTH, "0")}-${token.secret}`;
}

/** A token with a fresh secret of 128 bits for the cluster whose root certificate has this digest. */
export function newJoinToken(caDigest: string, random: Random): string {
  let value = 0n;
  for (const byte of random.bytes(SECRET_BYTES)) value = value * 256n + BigInt(byte);
  return formatJoinToken({ caDigest, secret: value.toString(36).padStart(SECRET_LENGTH, "0") });
}

function fault(token: string): string {
  if (token === "") return "it is empty";
  if (token.length > JOIN_TOKEN_LENGTH_MAX) return "it is too long";
  const version = /^SWMTKN-(\d+)-/.exec(token)?.[1];
  if (version === undefined) return "it does not begin with SWMTKN-1-";
  if (version !== "1") return `it is of version ${version}, and this tsswarm knows version 1`;
  return "after SWMTKN-1- there are 50 characters, a dash and 25 characters, all small letters and digits";
}
