// AES-256-GCM over the payloads of log records and the chunks of snapshots. Pure but for the cipher: it knows no files and
// no keys but the one it is given. A nonce is never used twice with one key: a record's is made of its sequence, and every
// opening of a log seals with a key of its own (seal-keys.ts); a snapshot is sealed with a key derived for its file alone.

import { type KeyObject, createCipheriv, createDecipheriv, createSecretKey, hkdfSync } from "node:crypto";
import type { FoundRecord, Sealing } from "./record.ts";

export const SEAL_TAG_BYTES = 16;
export const KEY_BYTES = 32;
export const NONCE_PREFIX_BYTES = 4;
/** Of the random bytes that a snapshot's own key is derived with. */
export const SALT_BYTES = 16;
const CIPHER = "aes-256-gcm";

export interface SealKey {
  /** From 1; 0 in a record means that it is not sealed. */
  readonly id: number;
  readonly key: KeyObject;
  readonly noncePrefix: Uint8Array;
}

interface Sealed {
  readonly bytes: Uint8Array;
  readonly header: Uint8Array;
  /** Never twice with one key. */
  readonly sequence: number;
}

/** For encodeRecord(). */
export function recordSealing(key: SealKey): Sealing {
  return {
    extraBytes: SEAL_TAG_BYTES,
    seal: ({ payload, header, sequence }) => seal(key, { bytes: payload, header, sequence }),
  };
}

/** The payload as it was before it was sealed; undefined when the key is another one or anything was changed. */
export function unsealRecord(key: SealKey, record: FoundRecord): Uint8Array | undefined {
  return unseal(key, { bytes: record.payload, header: record.header, sequence: record.sequence });
}

export function seal(key: SealKey, { bytes, header, sequence }: Sealed): Uint8Array {
  const cipher = createCipheriv(CIPHER, key.key, nonce(key, sequence));
  cipher.setAAD(header);
  return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

export function unseal(key: SealKey, { bytes, header, sequence }: Sealed): Uint8Array | undefined {
  if (bytes.length < SEAL_TAG_BYTES) return undefined;
  const end = bytes.length - SEAL_TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, key.key, nonce(key, sequence), { authTagLength: SEAL_TAG_BYTES });
  decipher.setAAD(header);
  decipher.setAuthTag(bytes.subarray(end));
  const plain = decipher.update(bytes.subarray(0, end));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return plain;
}

/** Made once for each key: a cipher over plain bytes costs five times as much to begin. */
export function secretKey(bytes: Uint8Array): KeyObject {
  return createSecretKey(bytes);
}

/** The key of one file, which nothing else is sealed with. */
export function fileKey(key: SealKey, salt: Uint8Array): SealKey {
  return { ...key, key: secretKey(new Uint8Array(hkdfSync("sha256", key.key, salt, "tsswarm snapshot", KEY_BYTES))) };
}

function nonce(key: SealKey, sequence: number): Uint8Array {
  const bytes = Buffer.alloc(NONCE_PREFIX_BYTES + 8);
  bytes.set(key.noncePrefix, 0);
  bytes.writeBigUInt64BE(BigInt(sequence), NONCE_PREFIX_BYTES);
  return bytes;
}
