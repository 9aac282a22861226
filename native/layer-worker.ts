// The Worker that unpacks layers: decompression, hash and file system calls happen here, never on the thread that votes and
// heartbeats. Takes one request after the other from native/layer.ts and answers each; ends when it is told to.

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { parentPort } from "node:worker_threads";
import { defined } from "../proto/base/assert.ts";
import { errorText, isSwarmError, SwarmError } from "../proto/base/errors.ts";
import { decompress } from "./compression.ts";
import { LayerApplier } from "./layer-applier.ts";
import { syncFileSystem } from "./layer-files.ts";
import type { LayerAnswer, LayerMessage, LayerRequest, LayerResult } from "./layer.ts";
import { TarReader } from "./tar-reader.ts";

const port = defined(parentPort, "the port of a Worker");
const cancelled = new Set<number>();

port.on("message", (message: LayerMessage) => {
  switch (message.kind) {
    case "unpack":
      void answer(message.id, message.request);
      return;
    case "cancel":
      cancelled.add(message.id);
      return;
    case "stop":
      port.close();
  }
});

async function answer(id: number, request: LayerRequest): Promise<void> {
  let reply: LayerAnswer;
  try {
    reply = { kind: "done", id, result: await unpack(id, request) };
  } catch (error) {
    const known = operatingError(error);
    reply = { kind: "failed", id, code: known.code, message: known.message, details: known.details };
  }
  cancelled.delete(id);
  port.postMessage(reply);
}

async function unpack(id: number, request: LayerRequest): Promise<LayerResult> {
  const hash = createHash("sha256");
  const applier = LayerApplier.into(request.folder);
  try {
    const reader = new TarReader(applier);
    for await (const chunk of plainBytes(request)) {
      if (cancelled.has(id)) throw new SwarmError("Cancelled", "The layer is no longer wanted.");
      hash.update(chunk);
      reader.push(chunk);
    }
    reader.finish();
    applier.finish();
    const diffId = `sha256:${hash.digest("hex")}`;
    if (request.diffId !== undefined && diffId !== request.diffId) {
      throw new SwarmError(
        "InvalidArgument",
        `The layer ${request.diffId} holds other data than its name says (${diffId}): the archive is damaged.`,
      );
    }
    syncFileSystem(request.folder);
    return { diffId, fileBytes: applier.fileBytes, entries: reader.entries };
  } finally {
    applier.close();
  }
}

/** The layer's tar, decompressed. */
async function* plainBytes(request: LayerRequest): AsyncGenerator<Uint8Array> {
  if (request.length === 0) return;
  const file = await open(request.file, "r");
  try {
    const stored = file.createReadStream({
      start: request.offset,
      end: request.offset + request.length - 1,
      highWaterMark: 256 * 1024,
      autoClose: false,
    });
    yield* decompress(stored as AsyncIterable<Buffer>);
  } finally {
    await file.close();
  }
}

/** Errors of node:fs (a full disk while writing) as sentences with a code. */
function operatingError(error: unknown): SwarmError {
  if (isSwarmError(error)) return error;
  const errno = (error as NodeJS.ErrnoException).code ?? "";
  const full = errno === "ENOSPC" || errno === "EDQUOT";
  return new SwarmError(full ? "ResourceExhausted" : "Internal", `The layer cannot be unpacked: ${errorText(error)}`, {
    cause: error,
    details: { errno },
  });
}
