// The unpacked layers of a node: `layers/<chain id>/fs` for containers to mount read-only, unpacked once and shared. A layer
// is there whole or not at all: it is made under a temporary name, written to the disk, then renamed.

import { chmod, mkdir, readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { type LayerUnpacker, removeTree } from "../../native/index.ts";
import { assert, defined } from "../../proto/base/assert.ts";
import { errorText } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import type { ArchivePart } from "./archive.ts";
import { syncFolder, writeDurably } from "./durable.ts";
import { digestHex, isSha256, parseJson, record } from "./image-config.ts";
import { KeyedLock } from "./keyed-lock.ts";

/** A layer's tar in a file, perhaps compressed. */
export interface LayerSource extends ArchivePart {
  readonly file: string;
}

interface LayerFacts {
  readonly diffId: string;
  /** Sum of the lengths of its files. */
  readonly sizeBytes: number;
}

const TEMPORARY = ".tmp-";

export class LayerStore {
  readonly #dir: string;
  readonly #unpacker: LayerUnpacker;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #lock = new KeyedLock();
  readonly #layers = new Map<string, LayerFacts>();
  /** How many loads in work count on a layer, by chain id. */
  readonly #pins = new Map<string, number>();

  constructor(options: {
    /** `<state>/images/layers` */
    readonly dir: string;
    readonly unpacker: LayerUnpacker;
    readonly random: Random;
    readonly logger: Logger;
  }) {
    this.#dir = options.dir;
    this.#unpacker = options.unpacker;
    this.#random = options.random;
    this.#logger = options.logger;
  }

  /** Finds the layers on the disk; removes what a crash left half-made. */
  async open(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#dir)) {
      const chainId = `sha256:${name}`;
      const facts = isSha256(chainId) ? await this.#readFacts(name) : undefined;
      if (facts !== undefined) this.#layers.set(chainId, facts);
      else await removeTree(join(this.#dir, name));
    }
  }

  has(chainId: string): boolean {
    return this.#layers.has(chainId);
  }

  sizeBytes(chainId: string): number {
    return this.#layers.get(chainId)?.sizeBytes ?? 0;
  }

  /** The folder to mount. */
  folder(chainId: string): string {
    return join(this.#dir, digestHex(chainId), "fs");
  }

  /** Keeps these layers, there or still to come, from collect() until the answer is called. */
  pin(chainIds: readonly string[]): () => void {
    for (const chainId of chainIds) this.#pins.set(chainId, (this.#pins.get(chainId) ?? 0) + 1);
    return () => {
      for (const chainId of chainIds) {
        const left = (this.#pins.get(chainId) ?? 0) - 1;
        if (left > 0) this.#pins.set(chainId, left);
        else this.#pins.delete(chainId);
      }
    };
  }

  /** Makes sure a pinned layer is there: unpacks it unless it is, or another load has just done so. */
  ensure(
    layer: { readonly chainId: string; readonly diffId: string; readonly source: LayerSource },
    signal: AbortSignal,
  ): Promise<void> {
    assert(this.#pins.has(layer.chainId), "a layer is pinned before it is made");
    return this.#lock.run(layer.chainId, async () => {
      signal.throwIfAborted();
      if (this.#layers.has(layer.chainId)) return;
      const made = await this.#unpack(layer.source, { name: digestHex(layer.chainId), diffId: layer.diffId }, signal);
      await this.#keep(layer.chainId, made);
    });
  }

  /**
   * Unpacks the lowest layer of an image, whose diff id (so its chain id) is not known yet; `whenKnown` is told it, and has to
   * pin it, before the layer is kept.
   */
  async add(source: LayerSource, whenKnown: (diffId: string) => void, signal: AbortSignal): Promise<void> {
    const made = await this.#unpack(source, { name: "new", diffId: undefined }, signal);
    const chainId = made.facts.diffId;
    whenKnown(chainId);
    await this.#lock.run(chainId, async () => {
      if (this.#layers.has(chainId)) await removeTree(made.folder);
      else await this.#keep(chainId, made);
    });
  }

  /** Removes the layers that nobody has pinned or refers to. Answers their chain ids. */
  async collect(isReferenced: (chainId: string) => boolean): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const chainId of [...this.#layers.keys()]) {
      const trash = await this.#lock.run(chainId, async () => {
        if (!this.#layers.has(chainId) || this.#pins.has(chainId) || isReferenced(chainId)) return undefined;
        const name = this.#temporary(digestHex(chainId));
        await rename(join(this.#dir, digestHex(chainId)), name);
        this.#layers.delete(chainId);
        return name;
      });
      if (trash === undefined) continue;
      removed.push(chainId);
      await removeTree(trash);
    }
    return removed;
  }

  async #unpack(
    source: LayerSource,
    target: { readonly name: string; readonly diffId: string | undefined },
    signal: AbortSignal,
  ): Promise<{ readonly folder: string; readonly facts: LayerFacts }> {
    const folder = this.#temporary(target.name);
    try {
      await mkdir(folder, { mode: 0o700 });
      const root = join(folder, "fs");
      await mkdir(root);
      // Whatever the umask: this is what the root of a container looks like when the image does not say.
      await chmod(root, 0o755);
      const result = await this.#unpacker.unpack({ ...source, folder: root, diffId: target.diffId }, signal);
      const facts = { diffId: result.diffId, sizeBytes: result.fileBytes };
      const path = join(folder, "layer.json");
      await writeDurably({ path, temporary: `${path}.new` }, Buffer.from(JSON.stringify(facts)));
      return { folder, facts };
    } catch (error) {
      await this.#discard(folder);
      throw error;
    }
  }

  async #keep(chainId: string, made: { readonly folder: string; readonly facts: LayerFacts }): Promise<void> {
    try {
      await rename(made.folder, join(this.#dir, digestHex(chainId)));
    } catch (error) {
      await this.#discard(made.folder);
      throw error;
    }
    this.#layers.set(chainId, made.facts);
    await syncFolder(this.#dir);
  }

  /** Removes what an error left; should that fail too, the next start does it. */
  async #discard(folder: string): Promise<void> {
    await removeTree(folder).catch((error: unknown) =>
      this.#logger.warn("cannot remove a half-made layer", { folder, error: errorText(error) }),
    );
  }

  async #readFacts(name: string): Promise<LayerFacts | undefined> {
    try {
      const facts = record(parseJson(await readFile(join(this.#dir, name, "layer.json")), "layer.json"), "layer.json");
      const { diffId, sizeBytes } = facts as Partial<LayerFacts>;
      return { diffId: defined(diffId, "diffId"), sizeBytes: defined(sizeBytes, "sizeBytes") };
    } catch (error) {
      this.#logger.warn("removing a layer whose facts cannot be read", { layer: name, error: errorText(error) });
      return undefined;
    }
  }

  #temporary(name: string): string {
    return join(this.#dir, `${name}${TEMPORARY}${Buffer.from(this.#random.bytes(8)).toString("hex")}`);
  }
}
