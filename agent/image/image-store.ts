// The images of a node: load, import, list, inspect, tag, remove, and what a container needs of one. No network: archives come
// in as streams. An image appears when all of it is on the disk; a load that fails or is killed leaves nothing.
//
// On the disk: index.json (ids and names), blobs/sha256/<hex> (configurations), layers/<chain id>/fs (unpacked layers; their
// tars are not kept, since nothing sends images on), tmp/ (archives on their way in; emptied at the start).

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { LayerUnpacker, removeTree } from "../../native/index.ts";
import { assert } from "../../proto/base/assert.ts";
import type { Clock } from "../../proto/base/clock.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import type { Image, ImageProgress } from "../../proto/gen/local.ts";
import { Archive, spool } from "./archive.ts";
import { type ArchiveImage, archiveImages } from "./archive-images.ts";
import { applyChanges } from "./changes.ts";
import { diskError } from "./durable.ts";
import { chainIds, type ImageDocument } from "./image-config.ts";
import { ImageIndex, type Images, type StoredImage, storedImage } from "./image-index.ts";
import { KeyedLock } from "./keyed-lock.ts";
import { LayerStore } from "./layer-store.ts";
import { needImage, planRemoval, tagToGive, withTags } from "./naming.ts";

export interface ImageStoreOptions {
  /** `<state>/images`; this store alone writes there. */
  readonly dir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Image ids ("sha256:<hex>") and how many containers of this node use each; those images are not removed. */
  readonly inUse: () => ReadonlyMap<string, number>;
  /** What archives for several platforms are searched for: "amd64", "arm64". Absent: this machine's. */
  readonly architecture?: string;
}

export interface ResolvedImage {
  readonly id: string;
  readonly config: ImageDocument;
  /** Read-only folders, topmost first. */
  readonly layers: readonly string[];
}

export interface ImportOptions {
  /** "web:1"; "": the image gets no name. */
  readonly reference: string;
  /** Dockerfile instructions: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR. */
  readonly changes: readonly string[];
  readonly message: string;
}

/** Loads and imports at a time; more are refused. Each may fill the disk once over. */
const LOADS_MAX = 8;
/** How long the unpacking thread stays with nothing to do. */
const WORKER_IDLE_MS = 5_000;
const MESSAGE_LENGTH_MAX = 65_536;

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm: "arm", arm64: "arm64", ia32: "386" };

export class ImageStore {
  readonly #options: ImageStoreOptions;
  readonly #architecture: string;
  readonly #unpacker: LayerUnpacker;
  readonly #layers: LayerStore;
  readonly #index: ImageIndex;
  readonly #lock = new KeyedLock();
  #loads = 0;

  constructor(options: ImageStoreOptions) {
    const { dir, clock, logger, random } = options;
    this.#options = options;
    this.#architecture = options.architecture ?? ARCHITECTURES[process.arch] ?? process.arch;
    this.#unpacker = new LayerUnpacker({ clock, idleMs: WORKER_IDLE_MS });
    this.#layers = new LayerStore({ dir: join(dir, "layers"), unpacker: this.#unpacker, random, logger });
    this.#index = new ImageIndex({ dir, logger });
  }

  /** Reads what is there and sweeps what a crash left. Before any other call, once. */
  async open(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await mkdir(this.#options.dir, { recursive: true, mode: 0o700 });
    await removeTree(this.#tmp);
    await mkdir(this.#tmp, { mode: 0o700 });
    await this.#layers.open();
    await this.#index.open((chainId) => this.#layers.has(chainId));
    await this.#layers.collect((chainId) => this.#isReferenced(chainId));
  }

  /** Ends the unpacking thread. Loads in work fail. */
  async close(): Promise<void> {
    await this.#unpacker.close();
  }

  /**
   * Takes the images of a docker-archive or an OCI layout (tar, also gzip or zstd). Each is there when its line comes. Throws
   * InvalidArgument for what is no sound image, ResourceExhausted for a full disk.
   */
  load(stream: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncIterable<ImageProgress> {
    return this.#intake(signal, (file) => this.#load(stream, file, signal));
  }

  /** Makes an image of a root file system's tar (also gzip or zstd). The last line is its id. Throws as load does. */
  importTar(
    options: ImportOptions,
    stream: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): AsyncIterable<ImageProgress> {
    return this.#intake(signal, (file) => this.#import(options, { stream, file }, signal));
  }

  /** All images, the newest first. Without their configuration documents. */
  list(): Promise<readonly Image[]> {
    const images = [...this.#index.images.values()].map((image) => this.#describe(image));
    return Promise.resolve(images.map((image) => ({ ...image, configJson: new Uint8Array() })).sort(newestFirst));
  }

  /** Rejects with NotFound. `ref` is a name, an id or the start of one. */
  inspect(ref: string): Promise<Image> {
    return Promise.try(() => this.#describe(needImage(this.#index.images, ref).image));
  }

  /** What a container needs. Rejects with NotFound. */
  resolve(ref: string): Promise<ResolvedImage> {
    return Promise.try(() => {
      const { image } = needImage(this.#index.images, ref);
      const layers = image.layers.map((chainId) => this.#layers.folder(chainId)).reverse();
      return { id: image.id, config: image.document, layers };
    });
  }

  /** Gives an image one more name; another image of that name loses it. Rejects with NotFound or InvalidArgument. */
  async tag(ref: string, target: string): Promise<void> {
    const tag = tagToGive(target);
    await this.#change((images) => withTags(images, needImage(images, ref).image, [tag]));
  }

  /**
   * Takes a name away, and the image with its layers when that was its last. Answers names, and digests of the image and its
   * layers. Rejects with NotFound, or FailedPrecondition while a container uses it.
   */
  async remove(
    ref: string,
    options: { readonly force: boolean },
    signal: AbortSignal,
  ): Promise<{ readonly untagged: readonly string[]; readonly deleted: readonly string[] }> {
    signal.throwIfAborted();
    const containers = (id: string): number => this.#options.inUse().get(id) ?? 0;
    let untagged: readonly string[] = [];
    let deleted: readonly string[] = [];
    await this.#change((images) => {
      const plan = planRemoval(images, { ref, force: options.force, containers });
      untagged = plan.untagged;
      deleted = plan.deleted === undefined ? [] : [plan.deleted];
      return plan.images;
    });
    if (deleted.length === 0) return { untagged, deleted };
    const layers = await this.#layers.collect((chainId) => this.#isReferenced(chainId));
    return { untagged, deleted: [...deleted, ...layers] };
  }

  get #tmp(): string {
    return join(this.#options.dir, "tmp");
  }

  #isReferenced(chainId: string): boolean {
    return [...this.#index.images.values()].some((image) => image.layers.includes(chainId));
  }

  /** Changes the index, one change at a time. */
  #change(update: (images: Images) => Images): Promise<void> {
    return this.#lock
      .run("index", () => this.#index.replace(update(this.#index.images)))
      .catch((error: unknown) => {
        throw diskError(error, this.#options.dir);
      });
  }

  /** What every way in shares: a place for the archive, its removal, words for a full disk, a bound on how many. */
  async *#intake(
    signal: AbortSignal,
    take: (file: string) => AsyncGenerator<ImageProgress>,
  ): AsyncGenerator<ImageProgress> {
    if (this.#loads >= LOADS_MAX) {
      throw new SwarmError("ResourceExhausted", `${LOADS_MAX} images are on their way in already; try again later.`);
    }
    this.#loads++;
    const file = join(this.#tmp, Buffer.from(this.#options.random.bytes(8)).toString("hex"));
    try {
      signal.throwIfAborted();
      yield* take(file);
    } catch (error) {
      throw diskError(error, this.#options.dir);
    } finally {
      this.#loads--;
      await removeTree(file);
    }
  }

  async *#load(stream: AsyncIterable<Uint8Array>, file: string, signal: AbortSignal): AsyncGenerator<ImageProgress> {
    const archive = await Archive.receive(stream, file, signal);
    const images = await archiveImages(archive, this.#architecture);
    if (images.length === 0) throw new SwarmError("InvalidArgument", "The image archive holds no image.");
    for (const image of images) {
      const renamed = await this.#keep(image, file, signal);
      for (const { tag, id } of renamed) {
        yield progress(`The image ${tag} already exists, renaming the old one with ID ${id} to empty string`);
      }
      for (const tag of image.tags) yield progress(`Loaded image: ${tag}`, image.id);
      if (image.tags.length === 0) yield progress(`Loaded image ID: ${image.id}`, image.id);
    }
  }

  /** Unpacks what is missing of an image and lists it. Answers the names it took from others. */
  async #keep(
    image: ArchiveImage,
    file: string,
    signal: AbortSignal,
  ): Promise<readonly { readonly tag: string; readonly id: string }[]> {
    const chain = chainIds(image.document.diffIds);
    return this.#pinned(chain, async () => {
      for (const [index, chainId] of chain.entries()) {
        const diffId = image.document.diffIds[index];
        const part = image.layers[index];
        assert(diffId !== undefined && part !== undefined, "an archive's image has a layer per diff id");
        await this.#layers.ensure({ chainId, diffId, source: { file, ...part } }, signal);
      }
      signal.throwIfAborted();
      let renamed: readonly { readonly tag: string; readonly id: string }[] = [];
      await this.#change((images) => {
        renamed = [...images.values()]
          .filter((other) => other.id !== image.id)
          .flatMap((other) =>
            other.tags.filter((tag) => image.tags.includes(tag)).map((tag) => ({ tag, id: other.id })),
          );
        return withTags(images, storedImage(image.configBytes, []), image.tags);
      });
      return renamed;
    });
  }

  /** Runs `action` with these layers kept; what nobody refers to afterwards goes. */
  async #pinned<T>(chain: readonly string[], action: () => Promise<T>): Promise<T> {
    const unpin = this.#layers.pin(chain);
    try {
      return await action();
    } finally {
      unpin();
      await this.#layers.collect((chainId) => this.#isReferenced(chainId));
    }
  }

  async *#import(
    options: ImportOptions,
    input: { readonly stream: AsyncIterable<Uint8Array>; readonly file: string },
    signal: AbortSignal,
  ): AsyncGenerator<ImageProgress> {
    const tags = options.reference === "" ? [] : [tagToGive(options.reference)];
    const config = applyChanges({}, options.changes);
    if (options.message.length > MESSAGE_LENGTH_MAX) {
      throw new SwarmError("InvalidArgument", `The message is longer than ${MESSAGE_LENGTH_MAX} characters.`);
    }
    const { file } = input;
    const length = await spool(input.stream, { path: file }, signal);
    if (length === 0) throw new SwarmError("InvalidArgument", "The root file system's archive is empty.");
    const unpins: (() => void)[] = [];
    const source = { file, offset: 0, length };
    try {
      let diffId = "";
      const whenKnown = (found: string): void => {
        diffId = found;
        unpins.push(this.#layers.pin([found]));
      };
      await this.#layers.add(source, whenKnown, signal);
      signal.throwIfAborted();
      const created = new Date(this.#options.clock.now()).toISOString();
      const document = {
        architecture: this.#architecture,
        os: "linux",
        created,
        config,
        rootfs: { type: "layers", diff_ids: [diffId] },
        history: [{ created, comment: options.message === "" ? "Imported from -" : options.message }],
      };
      const image = storedImage(Buffer.from(JSON.stringify(document)), []);
      await this.#change((images) => withTags(images, image, tags));
      yield progress(image.id, image.id);
    } finally {
      for (const unpin of unpins) unpin();
      await this.#layers.collect((chainId) => this.#isReferenced(chainId));
    }
  }

  #describe(image: StoredImage): Image {
    const { document } = image;
    const createdAtMs = Date.parse(document.created);
    return {
      id: image.id,
      tags: image.tags,
      createdAtMs: Number.isFinite(createdAtMs) ? createdAtMs : 0,
      sizeBytes: image.layers.reduce((sum, chainId) => sum + this.#layers.sizeBytes(chainId), 0),
      architecture: document.architecture,
      os: document.os,
      layers: document.diffIds,
      configJson: image.configBytes,
      containers: this.#options.inUse().get(image.id) ?? 0,
      labels: { ...document.config.Labels },
    };
  }
}

function progress(status: string, imageId = ""): ImageProgress {
  return { status, imageId };
}

function newestFirst(one: Image, other: Image): number {
  return other.createdAtMs - one.createdAtMs || (one.id < other.id ? -1 : 1);
}
