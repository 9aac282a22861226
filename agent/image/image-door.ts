// The image calls of the Local service, over the store of this node. Whoever serves Local adds these to its handlers.

import { SwarmError } from "../../proto/base/errors.ts";
import type { ImageUpload, ImageUploadHeader, LocalService } from "../../proto/gen/local.ts";
import type { Handlers } from "../../proto/rpc/methods.ts";
import type { ImageStore } from "./image-store.ts";

export type ImageHandlers = Pick<
  Handlers<typeof LocalService>,
  "loadImage" | "importImage" | "listImages" | "inspectImage" | "tagImage" | "removeImage"
>;

/** Longest piece of an upload, in bytes. */
const CHUNK_BYTES_MAX = 256 * 1024;

export function createImageDoor(store: ImageStore): ImageHandlers {
  return {
    loadImage: async function* (requests, { signal }) {
      const upload = await openUpload(requests);
      yield* store.load(upload.chunks, signal);
    },
    importImage: async function* (requests, { signal }) {
      const { header, chunks } = await openUpload(requests);
      yield* store.importTar(header, chunks, signal);
    },
    listImages: async () => ({ images: await store.list() }),
    inspectImage: async ({ ref }) => ({ image: await store.inspect(ref) }),
    tagImage: async ({ ref, target }) => {
      await store.tag(ref, target);
      return {};
    },
    removeImage: ({ ref, force }, { signal }) => store.remove(ref, { force }, signal),
  };
}

/** The header, which comes first, and the bytes after it. */
async function openUpload(
  requests: AsyncIterable<ImageUpload>,
): Promise<{ readonly header: ImageUploadHeader; readonly chunks: AsyncIterable<Uint8Array> }> {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true || first.value.part?.$case !== "header") {
    throw new SwarmError("InvalidArgument", "An upload begins with its header.");
  }
  return { header: first.value.part.value, chunks: chunksOf(iterator) };
}

async function* chunksOf(iterator: AsyncIterator<ImageUpload>): AsyncGenerator<Uint8Array> {
  try {
    for (;;) {
      const next = await iterator.next();
      if (next.done === true) return;
      const { part } = next.value;
      if (part?.$case !== "chunk")
        throw new SwarmError("InvalidArgument", "An upload has one header; pieces follow it.");
      if (part.value.length > CHUNK_BYTES_MAX) {
        throw new SwarmError("InvalidArgument", `A piece of an upload is longer than ${CHUNK_BYTES_MAX} bytes.`);
      }
      yield part.value;
    }
  } finally {
    await iterator.return?.();
  }
}
