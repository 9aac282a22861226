// One snapshot as a file: the place in the log and the membership there, then the state in sealed, checksummed chunks. It is
// read and written chunk by chunk, so that a large state needs little memory on its way, and knows nothing of what it holds.
//
// A file: "TSWS", version, key id, zero (u32 each), index, term (u64 each), 16 random bytes that the file's own key is
// derived with; then chunks of length, CRC-32 chained over all before it (u32 each) and sealed bytes. The first chunk holds
// the membership, an empty one ends the file. Numbers are big-endian.

import { crc32 } from "node:zlib";
import type { Index, Term } from "raft-ts";
import type { Disk, DiskFile } from "../../proto/base/disk.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import { RaftMembershipState } from "../../proto/gen/raft.ts";
import { type Membership, membershipFromWire, membershipToWire } from "./membership.ts";
import { SALT_BYTES, SEAL_TAG_BYTES, type SealKey, fileKey, seal, unseal } from "./seal.ts";
import type { KeyRing } from "./seal-keys.ts";
import { damaged } from "./wal-errors.ts";

export interface SnapshotMeta {
  /** Of the last entry whose effect is in it. */
  readonly index: Index;
  readonly term: Term;
  /** As it was at `index`. */
  readonly membership: Membership;
}

/** The state that one snapshot may hold. */
export const SNAPSHOT_BYTES_MAX = 1_073_741_824;
/** Of state in a chunk, at most; writing each lets the loop turn. */
const CHUNK_BYTES = 262_144;
/** The membership's chunk is larger only when something is wrong. */
const SEALED_BYTES_MAX = 1_048_576;
const MAGIC = 0x54535753;
const VERSION = 2;
const SALT_OFFSET = 32;
const HEADER_BYTES = SALT_OFFSET + SALT_BYTES;
const CHUNK_HEADER_BYTES = 8;

/** Writes and syncs it at `path`, which must not exist. Throws ResourceExhausted for a state that is too large. */
export async function writeSnapshot(
  {
    disk,
    path,
    key,
    random,
  }: { readonly disk: Disk; readonly path: string; readonly key: SealKey; readonly random: Random },
  {
    meta,
    pieces,
    signal,
  }: {
    readonly meta: SnapshotMeta;
    readonly pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
    readonly signal: AbortSignal | undefined;
  },
): Promise<void> {
  const file = await disk.open(path, "create");
  try {
    const header = encodeHeader({ meta, keyId: key.id, salt: random.bytes(SALT_BYTES) });
    await file.write(header, 0);
    const writer = new ChunkWriter(file, { header, key });
    await writer.write(RaftMembershipState.encode(membershipToWire(meta.membership)).finish());
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let filled = 0;
    let total = 0;
    for await (const piece of pieces) {
      signal?.throwIfAborted();
      total += piece.length;
      if (total > SNAPSHOT_BYTES_MAX) throw tooLarge(meta.index);
      for (let at = 0; at < piece.length;) {
        const part = piece.subarray(at, at + CHUNK_BYTES - filled);
        chunk.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled < CHUNK_BYTES) continue;
        await writer.write(chunk);
        filled = 0;
      }
    }
    if (filled > 0) await writer.write(chunk.subarray(0, filled));
    await writer.write(new Uint8Array(0));
    signal?.throwIfAborted();
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Reads one that is whole, chunk by chunk. Every failing of the file itself is thrown as FailedPrecondition. */
export class SnapshotReader {
  readonly meta: SnapshotMeta;
  readonly #chunks: ChunkReader;
  readonly #file: DiskFile;

  private constructor(file: DiskFile, state: { readonly meta: SnapshotMeta; readonly chunks: ChunkReader }) {
    this.#file = file;
    this.meta = state.meta;
    this.#chunks = state.chunks;
  }

  static async open(
    disk: Disk,
    { path, keys }: { readonly path: string; readonly keys: KeyRing },
  ): Promise<SnapshotReader> {
    const file = await disk.open(path, "read");
    try {
      const header = Buffer.from(await file.read({ offset: 0, length: HEADER_BYTES }));
      const read = decodeHeader(header);
      if (read === undefined) throw damaged({ path, detail: "it does not begin as a snapshot of this version does" });
      const key = keys.find(read.keyId, { path });
      const chunks = new ChunkReader(file, { path, header, key });
      const membership = decodeMembership(await chunks.next(), path);
      return new SnapshotReader(file, { meta: { index: read.index, term: read.term, membership }, chunks });
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The state, in pieces of at most 256 KiB. Closes the file at the end, also when it is left early. */
  async *pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const plain = await this.#chunks.next();
        if (plain.length === 0) return;
        yield plain;
      }
    } finally {
      await this.close();
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

class ChunkWriter {
  readonly #file: DiskFile;
  readonly #key: SealKey;
  readonly #header: Uint8Array;
  #offset: number;
  #crc: number;
  #number = 0;

  constructor(file: DiskFile, { header, key }: { readonly header: Buffer; readonly key: SealKey }) {
    this.#file = file;
    this.#header = header;
    this.#key = fileKey(key, header.subarray(SALT_OFFSET));
    this.#offset = header.length;
    this.#crc = crc32(header);
  }

  async write(plain: Uint8Array): Promise<void> {
    const sealed = seal(this.#key, { bytes: plain, header: this.#header, sequence: this.#number });
    const chunk = Buffer.concat([Buffer.alloc(CHUNK_HEADER_BYTES), sealed]);
    chunk.writeUInt32BE(sealed.length, 0);
    this.#crc = chunkCrc(chunk, this.#crc);
    chunk.writeUInt32BE(this.#crc, 4);
    await this.#file.write(chunk, this.#offset);
    this.#offset += chunk.length;
    this.#number += 1;
  }
}

class ChunkReader {
  readonly #file: DiskFile;
  readonly #path: string;
  readonly #key: SealKey;
  readonly #header: Uint8Array;
  #offset: number;
  #crc: number;
  #number = 0;

  constructor(
    file: DiskFile,
    { path, header, key }: { readonly path: string; readonly header: Buffer; readonly key: SealKey },
  ) {
    this.#file = file;
    this.#path = path;
    this.#header = header;
    this.#key = fileKey(key, header.subarray(SALT_OFFSET));
    this.#offset = header.length;
    this.#crc = crc32(header);
  }

  /** What the next chunk holds; nothing at the end. */
  async next(): Promise<Uint8Array> {
    const head = Buffer.from(await this.#file.read({ offset: this.#offset, length: CHUNK_HEADER_BYTES }));
    const length = head.length < CHUNK_HEADER_BYTES ? 0 : head.readUInt32BE(0);
    if (length < SEAL_TAG_BYTES || length > SEALED_BYTES_MAX) throw this.#damaged("is cut");
    const sealed = await this.#file.read({ offset: this.#offset + CHUNK_HEADER_BYTES, length });
    if (sealed.length < length) throw this.#damaged("is cut");
    this.#crc = crc32(sealed, crc32(head.subarray(0, 4), this.#crc));
    if (head.readUInt32BE(4) !== this.#crc) throw this.#damaged("does not match its checksum");
    const plain = unseal(this.#key, { bytes: sealed, header: this.#header, sequence: this.#number });
    if (plain === undefined) throw this.#damaged(`does not open with key ${this.#key.id}`);
    this.#offset += CHUNK_HEADER_BYTES + length;
    this.#number += 1;
    return plain;
  }

  #damaged(what: string): SwarmError {
    return damaged({
      path: this.#path,
      detail: `the snapshot's chunk ${this.#number} at byte ${this.#offset} ${what}`,
    });
  }
}

function encodeHeader(of: { readonly meta: SnapshotMeta; readonly keyId: number; readonly salt: Uint8Array }): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(VERSION, 4);
  header.writeUInt32BE(of.keyId, 8);
  header.writeBigUInt64BE(BigInt(of.meta.index), 16);
  header.writeBigUInt64BE(BigInt(of.meta.term), 24);
  header.set(of.salt, SALT_OFFSET);
  return header;
}

function decodeHeader(
  header: Buffer,
): { readonly keyId: number; readonly index: Index; readonly term: Term } | undefined {
  if (header.length < HEADER_BYTES || header.readUInt32BE(0) !== MAGIC || header.readUInt32BE(4) !== VERSION)
    return undefined;
  const index = Number(header.readBigUInt64BE(16));
  const term = Number(header.readBigUInt64BE(24));
  return { keyId: header.readUInt32BE(8), index, term };
}

function decodeMembership(bytes: Uint8Array, path: string): Membership {
  try {
    return membershipFromWire(RaftMembershipState.decode(bytes));
  } catch (error) {
    throw damaged({ path, detail: `the snapshot's membership cannot be read: ${errorText(error)}` });
  }
}

/** Of the length and the bytes, chained. */
function chunkCrc(chunk: Buffer, before: number): number {
  return crc32(chunk.subarray(CHUNK_HEADER_BYTES), crc32(chunk.subarray(0, 4), before));
}

function tooLarge(index: Index): SwarmError {
  return new SwarmError(
    "ResourceExhausted",
    `the snapshot of entry ${index} holds more than ${SNAPSHOT_BYTES_MAX} bytes of state; remove objects that are not needed`,
  );
}
