// One record of the log as bytes. Pure: it knows nothing of files. Numbers are big-endian. A record holds the checksum of the
// one before it, so that each can be checked alone and the chain shows that none is missing.
//
//   0 length of the payload (u32)   4 CRC-32 of the rest (u32)   8 CRC-32 of the record before (u32)
//  12 type (u8), three zeros       16 key id (u32), 0: not sealed   20 zero (u32)
//  24 sequence (u64)               32 last sequence known to be synced (u64)   40 payload, padded with zeros to 8

import { crc32 } from "node:zlib";

export const RECORD_HEADER_BYTES = 40;

/** Types of records. Others are for later versions: a reader refuses what it does not know. */
export const RecordType = {
  /** First of every segment: which segment it is and where its entries begin. */
  SEGMENT: 1,
  /** The entries of one group commit. */
  ENTRIES: 2,
  /** The log goes on after a snapshot that was received; what was recorded before is void. */
  SNAPSHOT_INSTALLED: 3,
} as const;

export interface WalRecord {
  readonly type: number;
  /** Key that the payload is sealed with. 0: none. */
  readonly keyId: number;
  /** 1 for the first record of a log, then one more for each, across segments. */
  readonly sequence: number;
  /** Every record up to this one was durable when this one was written. */
  readonly syncedSequence: number;
  /** Checksum of the record before; 0 for the first of a log. */
  readonly previousCrc: number;
  readonly payload: Uint8Array;
}

export interface FoundRecord extends WalRecord {
  readonly crc: number;
  /** Bytes with header and padding. */
  readonly bytes: number;
  /** As it was when the payload was sealed: without the checksum. */
  readonly header: Uint8Array;
}

export type Decoded =
  | { readonly kind: "record"; readonly record: FoundRecord }
  /** No more room for a header, or only zeros where the header would be. */
  | { readonly kind: "end" }
  | { readonly kind: "bad"; readonly reason: string };

/** Bytes that a record with so long a payload takes. */
export function recordBytes(payloadBytes: number): number {
  return RECORD_HEADER_BYTES + Math.ceil(payloadBytes / 8) * 8;
}

/** Makes the sealed form of a payload; `header` is the record's, to be authenticated with it. */
export interface Sealing {
  /** Bytes by which the sealed form is longer. */
  readonly extraBytes: number;
  seal(parts: { readonly payload: Uint8Array; readonly header: Uint8Array; readonly sequence: number }): Uint8Array;
}

export function encodeRecord(
  record: WalRecord,
  sealing?: Sealing,
): { readonly bytes: Uint8Array; readonly crc: number } {
  const length = record.payload.length + (sealing?.extraBytes ?? 0);
  const bytes = Buffer.alloc(recordBytes(length));
  bytes.writeUInt32BE(length, 0);
  bytes.writeUInt32BE(record.previousCrc, 8);
  bytes.writeUInt8(record.type, 12);
  bytes.writeUInt32BE(record.keyId, 16);
  bytes.writeBigUInt64BE(BigInt(record.sequence), 24);
  bytes.writeBigUInt64BE(BigInt(record.syncedSequence), 32);
  const { payload, sequence } = record;
  const header = bytes.subarray(0, RECORD_HEADER_BYTES);
  bytes.set(sealing?.seal({ payload, header, sequence }) ?? payload, RECORD_HEADER_BYTES);
  const crc = checksum(bytes);
  bytes.writeUInt32BE(crc, 4);
  return { bytes, crc };
}

/** What stands at `offset`. The payload is a view of `bytes`. */
export function decodeRecord(bytes: Buffer, offset: number): Decoded {
  if (bytes.length - offset < RECORD_HEADER_BYTES) return { kind: "end" };
  const header = bytes.subarray(offset, offset + RECORD_HEADER_BYTES);
  if (header.every((byte) => byte === 0)) return { kind: "end" };
  const length = header.readUInt32BE(0);
  const size = recordBytes(length);
  if (size > bytes.length - offset) return { kind: "bad", reason: "its length reaches beyond the segment" };
  const crc = header.readUInt32BE(4);
  if (checksum(bytes.subarray(offset, offset + size)) !== crc)
    return { kind: "bad", reason: "its checksum does not match" };
  const sequence = Number(header.readBigUInt64BE(24));
  const syncedSequence = Number(header.readBigUInt64BE(32));
  if (!Number.isSafeInteger(sequence) || syncedSequence >= sequence)
    return { kind: "bad", reason: "its sequence makes no sense" };
  const record: FoundRecord = {
    type: header.readUInt8(12),
    keyId: header.readUInt32BE(16),
    sequence,
    syncedSequence,
    previousCrc: header.readUInt32BE(8),
    payload: bytes.subarray(offset + RECORD_HEADER_BYTES, offset + RECORD_HEADER_BYTES + length),
    crc,
    bytes: size,
    header: Buffer.from(header).fill(0, 4, 8),
  };
  return { kind: "record", record };
}

/** Offset of the first whole record at or after `offset` whose sequence is at least `sequence`; undefined when there is none. */
export function findRecord(
  bytes: Buffer,
  from: { readonly offset: number; readonly sequence: number },
): number | undefined {
  for (let at = Math.ceil(from.offset / 8) * 8; at + RECORD_HEADER_BYTES <= bytes.length; at += 8) {
    // Cheap looks first: a type is never zero, and a segment holds fewer records than a u32 counts.
    if (bytes[at + 12] === 0 || bytes.readUInt32BE(at + 24) > 0x1f_ffff) continue;
    const sequence = Number(bytes.readBigUInt64BE(at + 24));
    if (sequence < from.sequence || sequence > from.sequence + 0xffff_ffff) continue;
    if (decodeRecord(bytes, at).kind === "record") return at;
  }
  return undefined;
}

/** Of everything but the checksum's own four bytes. */
function checksum(record: Uint8Array): number {
  return crc32(record.subarray(8), crc32(record.subarray(0, 4)));
}
