// Snapshots as files: written beside, synced, then renamed, so that a name always stands for a whole one; checksummed, so
// that a rotten one is known before any of it is used. The two newest are kept. It knows nothing of what is in them.
//
// A file: "TSWS", version, key id (u32 each), index (u64); then chunks of length, CRC-32 chained over all before it (u32
// each) and bytes; then a chunk of length 0, whose CRC ends the chain. Numbers are big-endian.

import { crc32 } from "node:zlib";
import type { Disk, DiskFile } from "../../proto/base/disk.ts";
import { errorText } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";

const MAGIC = 0x54535753;
const VERSION = 1;
const HEADER_BYTES = 24;
const CHUNK_HEADER_BYTES = 8;
/** Pieces are gathered to about this size; writing each lets the loop turn. */
const CHUNK_BYTES = 262_144;
const NAME = /^snap-([0-9a-f]{14})\.snap$/;
const KEPT = 2;

export interface Snapshot {
  /** Of the last entry whose effect is in it. */
  readonly index: number;
  readonly bytes: Uint8Array;
}

export class SnapshotFolder {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #logger: Logger;
  /** Indexes of the good ones, oldest first. */
  #indexes: number[] = [];

  constructor(options: { readonly disk: Disk; readonly dir: string; readonly logger: Logger }) {
    this.#disk = options.disk;
    this.#dir = options.dir;
    this.#logger = options.logger;
  }

  /** Indexes of the snapshots that are kept, oldest first. */
  get indexes(): readonly number[] {
    return this.#indexes;
  }

  /**
   * Makes the folder and reads the newest good snapshot; undefined when there is none. A damaged one is told of, renamed
   * (".bad", kept until the next snapshot), and the one before it is taken.
   */
  async load(): Promise<Snapshot | undefined> {
    await this.#disk.makeDir(this.#dir);
    const names = await this.#disk.list(this.#dir);
    for (const name of names.filter((each) => each.endsWith(".tmp"))) await this.#disk.remove(`${this.#dir}/${name}`);
    this.#indexes = names
      .flatMap((name) => {
        const match = NAME.exec(name);
        return match === null ? [] : [Number.parseInt(match[1] ?? "", 16)];
      })
      .sort((a, b) => a - b);
    for (;;) {
      const index = this.#indexes.at(-1);
      if (index === undefined) return undefined;
      const path = this.#path(index);
      const bytes = await readSnapshot(this.#disk, { path, index });
      if (bytes !== undefined) return { index, bytes };
      this.#logger.error("a snapshot is damaged and left out", { path });
      await this.#disk.rename({ from: path, to: `${path}.bad` });
      this.#indexes.pop();
    }
  }

  /** Writes a snapshot and, when it is durable, takes older ones away. On failure nothing is left where the disk allows. */
  async write(index: number, pieces: Iterable<Uint8Array>): Promise<void> {
    const draft = `${this.#path(index)}.tmp`;
    await this.#disk.remove(draft);
    const file = await this.#disk.open(draft, "create");
    try {
      try {
        await writeChunks(file, { index, pieces });
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#disk.rename({ from: draft, to: this.#path(index) });
      await this.#disk.syncDir(this.#dir);
    } catch (error) {
      await Promise.allSettled([this.#disk.remove(draft)]);
      throw error;
    }
    if (!this.#indexes.includes(index)) this.#indexes.push(index);
    await this.#prune();
  }

  async #prune(): Promise<void> {
    const old = this.#indexes.slice(0, -KEPT);
    this.#indexes = this.#indexes.slice(-KEPT);
    try {
      for (const index of old) await this.#disk.remove(this.#path(index));
      for (const name of await this.#disk.list(this.#dir)) {
        if (name.endsWith(".bad")) await this.#disk.remove(`${this.#dir}/${name}`);
      }
      await this.#disk.syncDir(this.#dir);
    } catch (error) {
      this.#logger.warn("cannot remove an old snapshot", { dir: this.#dir, error: errorText(error) });
    }
  }

  #path(index: number): string {
    return `${this.#dir}/snap-${index.toString(16).padStart(14, "0")}.snap`;
  }
}

async function writeChunks(
  file: DiskFile,
  snapshot: { readonly index: number; readonly pieces: Iterable<Uint8Array> },
): Promise<void> {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(VERSION, 4);
  header.writeBigUInt64BE(BigInt(snapshot.index), 16);
  await file.write(header, 0);
  let offset = header.length;
  let crc = crc32(header);
  const flush = async (pieces: readonly Uint8Array[]): Promise<void> => {
    const chunk = Buffer.concat([Buffer.alloc(CHUNK_HEADER_BYTES), ...pieces]);
    chunk.writeUInt32BE(chunk.length - CHUNK_HEADER_BYTES, 0);
    crc = chunkCrc(chunk, crc);
    chunk.writeUInt32BE(crc, 4);
    await file.write(chunk, offset);
    offset += chunk.length;
  };
  let gathered: Uint8Array[] = [];
  let size = 0;
  for (const piece of snapshot.pieces) {
    for (let at = 0; at < piece.length; at += CHUNK_BYTES) {
      const part = piece.subarray(at, at + CHUNK_BYTES);
      gathered.push(part);
      size += part.length;
      if (size < CHUNK_BYTES) continue;
      await flush(gathered);
      gathered = [];
      size = 0;
    }
  }
  if (size > 0) await flush(gathered);
  await flush([]);
}

/** The content, or undefined when the file is not whole or not of this index. */
async function readSnapshot(
  disk: Disk,
  { path, index }: { readonly path: string; readonly index: number },
): Promise<Uint8Array | undefined> {
  const file = await disk.open(path, "read");
  let read: Uint8Array;
  try {
    read = await file.read({ offset: 0, length: await file.size() });
  } finally {
    await file.close();
  }
  const bytes = Buffer.from(read.buffer, read.byteOffset, read.length);
  if (bytes.length < HEADER_BYTES || bytes.readUInt32BE(0) !== MAGIC || bytes.readUInt32BE(4) !== VERSION)
    return undefined;
  if (bytes.readUInt32BE(8) !== 0 || Number(bytes.readBigUInt64BE(16)) !== index) return undefined;
  let crc = crc32(bytes.subarray(0, HEADER_BYTES));
  const pieces: Uint8Array[] = [];
  for (let at = HEADER_BYTES; at + CHUNK_HEADER_BYTES <= bytes.length;) {
    const end = at + CHUNK_HEADER_BYTES + bytes.readUInt32BE(at);
    if (end > bytes.length) return undefined;
    const chunk = bytes.subarray(at, end);
    crc = chunkCrc(chunk, crc);
    if (chunk.readUInt32BE(4) !== crc) return undefined;
    if (chunk.length === CHUNK_HEADER_BYTES) return end === bytes.length ? Buffer.concat(pieces) : undefined;
    pieces.push(chunk.subarray(CHUNK_HEADER_BYTES));
    at = end;
  }
  return undefined;
}

/** Of the length and the bytes, chained. */
function chunkCrc(chunk: Buffer, before: number): number {
  return crc32(chunk.subarray(CHUNK_HEADER_BYTES), crc32(chunk.subarray(0, 4), before));
}
