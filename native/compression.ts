// Which compression a stream begins with, and what undoes it. Only what image tools write: gzip and zstd.

import { pipeline, Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { errorText, SwarmError } from "../proto/base/errors.ts";

export type Compression = "none" | "gzip" | "zstd";

/** Bytes that must be looked at before the compression is known. */
const HEAD_BYTES = 6;

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

/**
 * The bytes of `source` with whatever compression they begin with undone. The work is done outside the caller's thread.
 * Throws InvalidArgument for damaged data; an error of the source comes out as it is.
 */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    let head = Buffer.alloc(0);
    while (head.length < HEAD_BYTES) {
      const next = await iterator.next();
      if (next.done === true) break;
      head = Buffer.concat([head, next.value]);
    }
    const compression = detectCompression(head);
    const whole = joined(head, iterator);
    yield* compression === "none" ? whole : undone(whole, compression);
  } finally {
    await iterator.return?.();
  }
}

async function* joined(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (;;) {
    const next = await rest.next();
    if (next.done === true) return;
    yield next.value;
  }
}

async function* undone(
  source: AsyncIterable<Uint8Array>,
  compression: Exclude<Compression, "none">,
): AsyncGenerator<Uint8Array> {
  const options = { chunkSize: 256 * 1024 };
  const decompressor = compression === "gzip" ? createGunzip(options) : createZstdDecompress(options);
  // An error of the source ends the decompressor too, so the loop below sees either.
  pipeline(Readable.from(source, { objectMode: false }), decompressor, () => undefined);
  try {
    for await (const chunk of decompressor) yield chunk as Buffer;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (!/^(Z_|ZSTD_)/.test(code)) throw error;
    throw new SwarmError(
      "InvalidArgument",
      `The archive's ${compression} data is damaged or cut off: ${errorText(error)}.`,
      { cause: error },
    );
  } finally {
    decompressor.destroy();
  }
}
