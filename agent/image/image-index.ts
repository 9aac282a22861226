// Which images a node has and what they are called. Held in memory; on the disk as one small file that is replaced whole, and
// the configurations as content-addressed blobs. A change is on the disk before anyone sees it.

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { errorText, SwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import { writeDurably } from "./durable.ts";
import {
  chainIds,
  digestHex,
  type ImageDocument,
  isSha256,
  parseImageDocument,
  parseJson,
  record,
  sha256,
  strings,
} from "./image-config.ts";

export interface StoredImage {
  /** "sha256:<hex>" of the configuration. */
  readonly id: string;
  /** Familiar names ("web:1"), sorted; none for an image whose last name moved to another. */
  readonly tags: readonly string[];
  readonly configBytes: Uint8Array;
  readonly document: ImageDocument;
  /** Chain ids, lowest first. */
  readonly layers: readonly string[];
}

/** Images by id. A tag belongs to one image at most. */
export type Images = ReadonlyMap<string, StoredImage>;

const VERSION = 1;

export class ImageIndex {
  readonly #dir: string;
  readonly #logger: Logger;
  #images: Images = new Map();

  constructor(options: { /** `<state>/images` */ readonly dir: string; readonly logger: Logger }) {
    this.#dir = options.dir;
    this.#logger = options.logger;
  }

  get images(): Images {
    return this.#images;
  }

  /** Reads the index; leaves out, with a warning, images of which `hasLayer` or a blob says that a part is gone. */
  async open(hasLayer: (chainId: string) => boolean): Promise<void> {
    await mkdir(this.#blobs, { recursive: true, mode: 0o700 });
    const images = new Map<string, StoredImage>();
    for (const { id, tags } of await this.#readFile()) {
      try {
        const image = storedImage(await readFile(this.#blob(id)), tags);
        if (image.id !== id) throw new SwarmError("Internal", "its configuration was changed");
        if (!image.layers.every(hasLayer)) throw new SwarmError("Internal", "a layer of it is missing");
        images.set(id, image);
      } catch (error) {
        this.#logger.error("an image cannot be used; load it again", { image: id, error: errorText(error) });
      }
    }
    this.#images = images;
    const kept = new Set([...images.keys()].map(digestHex));
    for (const name of await readdir(this.#blobs)) if (!kept.has(name)) await rm(join(this.#blobs, name));
    await rm(`${this.#file}.new`, { force: true });
  }

  /** Makes `images` the truth, on the disk first. Nothing has changed when it rejects. One at a time (the caller's lock). */
  async replace(images: Images): Promise<void> {
    const before = this.#images;
    const added = [...images.keys()].filter((id) => !before.has(id));
    try {
      for (const id of added) {
        const bytes = images.get(id)?.configBytes ?? Buffer.alloc(0);
        await writeDurably({ path: this.#blob(id), temporary: `${this.#blob(id)}.new` }, bytes);
      }
      const list = [...images.values()].map(({ id, tags }) => ({ id, tags }));
      const bytes = Buffer.from(JSON.stringify({ version: VERSION, images: list }));
      await writeDurably({ path: this.#file, temporary: `${this.#file}.new` }, bytes);
    } catch (error) {
      for (const id of added) {
        for (const path of [this.#blob(id), `${this.#blob(id)}.new`]) await rm(path, { force: true });
      }
      await rm(`${this.#file}.new`, { force: true });
      throw error;
    }
    this.#images = images;
    for (const id of before.keys()) if (!images.has(id)) await rm(this.#blob(id), { force: true });
  }

  get #file(): string {
    return join(this.#dir, "index.json");
  }

  get #blobs(): string {
    return join(this.#dir, "blobs", "sha256");
  }

  #blob(id: string): string {
    return join(this.#blobs, digestHex(id));
  }

  async #readFile(): Promise<readonly { readonly id: string; readonly tags: readonly string[] }[]> {
    let bytes: Uint8Array;
    try {
      bytes = await readFile(this.#file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
    try {
      const index = record(parseJson(bytes, this.#file), this.#file);
      if (index["version"] !== VERSION || !Array.isArray(index["images"])) {
        throw new SwarmError("Internal", `it is not of version ${VERSION}`);
      }
      return index["images"].map((item: unknown) => {
        const { id, tags } = record(item, "an image");
        if (!isSha256(id)) throw new SwarmError("Internal", "an image has no id");
        return { id, tags: strings(tags, "tags") };
      });
    } catch (error) {
      throw new SwarmError(
        "FailedPrecondition",
        `${this.#file} cannot be read (${errorText(error)}); move it away, restart, and load the images again.`,
        { cause: error },
      );
    }
  }
}

/** An image as the index holds it, from its configuration. */
export function storedImage(configBytes: Uint8Array, tags: readonly string[]): StoredImage {
  const document = parseImageDocument(configBytes);
  return {
    id: sha256(configBytes),
    tags: [...tags].sort(),
    configBytes,
    document,
    layers: chainIds(document.diffIds),
  };
}
