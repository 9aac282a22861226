// Which compression a stream begins with, and what undoes it. Only what image tools write: gzip and zstd.

import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { SwarmError } from "../proto/base/errors.ts";

export type Compression = "none" | "gzip" | "zstd";

/** Bytes that must be looked at before the compression is known. */
export const COMPRESSION_HEAD_BYTES = 6;

const MAGIC: readonly (readonly [string, Compression | "bzip2" | "xz"])[] = [
  ["1f8b", "gzip"],
  ["28b52ffd", "zstd"],
  ["425a68", "bzip2"],
  ["fd377a585a00", "xz"],
];

/** What the first bytes of a stream say. Throws InvalidArgument for a compression that is not read here. */
export function detectCompression(head: Uint8Array): Compression {
  const hex = Buffer.from(head).toString("hex");
  const found = MAGIC.find(([magic]) => hex.startsWith(magic))?.[1] ?? "none";
  if (found === "bzip2" || found === "xz") {
    throw new SwarmError(
      "InvalidArgument",
      `The archive is compressed with ${found}, which is not supported; decompress it first, or use gzip or zstd.`,
    );
  }
  return found;
}

/** A stream that undoes `compression`. It works outside the thread that uses it. */
export function createDecompressor(compression: Exclude<Compression, "none">): Transform {
  const options = { chunkSize: 256 * 1024 };
  return compression === "gzip" ? createGunzip(options) : createZstdDecompress(options);
}

/** The error for compressed data that cannot be read. */
export function damagedCompression(compression: Compression, cause: unknown): SwarmError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new SwarmError("InvalidArgument", `The archive's ${compression} data is damaged or cut off: ${text}.`, {
    cause,
  });
}
