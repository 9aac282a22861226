// What a tar archive is made of, as the reader tells it, and the bounds it holds an archive to. Names are byte strings:
// JavaScript strings in which each character is one byte (latin1), because a file name on Linux need not be UTF-8.

import { SwarmError } from "../proto/base/errors.ts";

export type TarKind = "file" | "directory" | "symlink" | "hardlink" | "character" | "block" | "fifo";

export interface TarEntry {
  readonly kind: TarKind;
  /** Byte string, as stored: may be absolute, may hold "..". Never empty, never with a NUL. */
  readonly path: string;
  /** Byte string; target of a symlink or hardlink, else "". */
  readonly linkPath: string;
  /** Length of the file once expanded; 0 for all else. */
  readonly sizeBytes: number;
  /** The data calls leave holes; the file's end may be one. */
  readonly sparse: boolean;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** SCHILY.xattr.*, by the attribute's name (a byte string). */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Where its header begins in the archive, in bytes. */
  readonly offset: number;
  /** Where its content begins in the archive, in bytes. For a sparse file: its first piece. */
  readonly dataOffset: number;
}

/** Takes what the reader finds, in the archive's order: entry, its data (files only), end; and so on. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** A piece of the current file. `position` is where it goes in the file, in bytes. The bytes are valid during the call only. */
  data(bytes: Uint8Array, position: number): void;
  end(): void;
}

export interface TarLimits {
  /** One extended header, long name or sparse map. */
  readonly headerBytesMax: number;
  readonly entriesMax: number;
  /** The archive as a whole, uncompressed. */
  readonly archiveBytesMax: number;
  /** Pieces of one sparse file. */
  readonly sparsePiecesMax: number;
}

export const TAR_LIMITS: TarLimits = {
  headerBytesMax: 1024 * 1024,
  entriesMax: 2_000_000,
  archiveBytesMax: 256 * 1024 ** 3,
  sparsePiecesMax: 100_000,
};

export const TAR_BLOCK = 512;

/** Length with its padding to whole blocks. */
export function padded(bytes: number): number {
  return Math.ceil(bytes / TAR_BLOCK) * TAR_BLOCK;
}

/** The error for an archive that is not what it should be: says what and where. */
export function tarError(offset: number, what: string): SwarmError {
  return new SwarmError("InvalidArgument", `The tar archive is damaged at byte ${offset}: ${what}.`);
}

/** The error for an archive beyond a bound. */
export function tarTooLarge(offset: number, what: string): SwarmError {
  return new SwarmError("ResourceExhausted", `The tar archive is refused at byte ${offset}: ${what}.`);
}

/** A byte string as text for people, cut to a length that fits a message. */
export function shownName(name: string): string {
  const text = JSON.stringify(Buffer.from(name, "latin1").toString("utf8"));
  return text.length > 200 ? `${text.slice(0, 200)}..."` : text;
}
