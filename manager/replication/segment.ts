// The log's files: their names, and spares, which are zeroed and synced before they are needed: overwriting is two to three
// times cheaper to sync than growing a file. A spare has no place in the log until it is renamed.

import type { Disk, DiskFile } from "../../proto/base/disk.ts";
import type { SegmentPlace } from "./payload.ts";

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
