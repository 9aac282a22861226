// The log's files: their names, and spares, which are zeroed and synced before they are needed: overwriting is two to three
// times cheaper to sync than growing a file. A spare has no place in the log until it is renamed.

import type { Disk, DiskFile } from "../../proto/base/disk.ts";

/** Which file of a log it is. */
export interface SegmentPlace {
  /** 1 for the first segment of a log, then one more for each. */
  readonly segment: number;
  /** Index that the next new entry had when the segment was begun. */
  readonly firstIndex: number;
}

/** "TSWL", then the version of the form of the log. */
const MAGIC = 0x5453574c;
const VERSION = 2;
const PLACE_BYTES = 24;

export interface SegmentFile extends SegmentPlace {
  readonly path: string;
}

export interface Spare {
  readonly path: string;
  readonly file: DiskFile;
}

const NAME = /^wal-([0-9a-f]{14})-([0-9a-f]{14})\.log$/;
const SPARE = /^spare-\d+\.tmp$/;
const ZEROS_BYTES = 1_048_576;

/** The payload of a segment's first record: its place, and a head that means something to others. */
export function encodeSegment({
  place,
  head,
}: {
  readonly place: SegmentPlace;
  readonly head: Uint8Array;
}): Uint8Array {
  const bytes = Buffer.alloc(PLACE_BYTES);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(VERSION, 4);
  bytes.writeBigUInt64BE(BigInt(place.segment), 8);
  bytes.writeBigUInt64BE(BigInt(place.firstIndex), 16);
  return Buffer.concat([bytes, head]);
}

/** Undefined when it is none, or of another version. */
export function decodeSegment(
  payload: Uint8Array,
): { readonly place: SegmentPlace; readonly head: Uint8Array } | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  if (bytes.length < PLACE_BYTES || bytes.readUInt32BE(0) !== MAGIC || bytes.readUInt32BE(4) !== VERSION)
    return undefined;
  const place = { segment: Number(bytes.readBigUInt64BE(8)), firstIndex: Number(bytes.readBigUInt64BE(16)) };
  return { place, head: bytes.subarray(PLACE_BYTES) };
}

export function segmentPath(dir: string, place: SegmentPlace): string {
  return `${dir}/wal-${hex(place.segment)}-${hex(place.firstIndex)}.log`;
}

/** The log's files in their order, and what else of ours lies beside them. */
export function readNames(
  dir: string,
  names: readonly string[],
): { readonly segments: readonly SegmentFile[]; readonly spares: readonly string[] } {
  const segments = names
    .flatMap((name) => {
      const match = NAME.exec(name);
      if (match === null) return [];
      return [
        {
          path: `${dir}/${name}`,
          segment: Number.parseInt(match[1] ?? "", 16),
          firstIndex: Number.parseInt(match[2] ?? "", 16),
        },
      ];
    })
    .sort((a, b) => a.segment - b.segment);
  return { segments, spares: names.filter((name) => SPARE.test(name)).map((name) => `${dir}/${name}`) };
}

/** A new file of zeros, durable. On failure nothing is left of it where the disk allows. */
export async function prepareSpare(
  disk: Disk,
  { dir, number, bytes }: { readonly dir: string; readonly number: number; readonly bytes: number },
): Promise<Spare> {
  const path = `${dir}/spare-${number}.tmp`;
  const file = await disk.open(path, "create");
  try {
    const zeros = Buffer.alloc(Math.min(bytes, ZEROS_BYTES));
    for (let at = 0; at < bytes; at += zeros.length) {
      await file.write(zeros.subarray(0, Math.min(zeros.length, bytes - at)), at);
    }
    await file.sync();
    return { path, file };
  } catch (error) {
    await discardSpare(disk, { path, file });
    throw error;
  }
}

/** Takes a spare away. A file that cannot be removed is left: opening the log tries again. */
export async function discardSpare(disk: Disk, spare: Spare): Promise<void> {
  await Promise.allSettled([spare.file.close()]);
  await Promise.allSettled([disk.remove(spare.path)]);
}

function hex(value: number): string {
  return value.toString(16).padStart(14, "0");
}
