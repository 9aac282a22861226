// Which managers this node may dial, kept on disk: after a restart the agent finds the cluster by the last list it was given.

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { errorText } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import type { Random } from "../proto/base/random.ts";

/** Longest list taken from a manager or a file. */
const ADDRESSES_MAX = 64;

export class Managers {
  readonly #path: string;
  readonly #random: Random;
  readonly #logger: Logger;
  /** host:port -> number of the last failure; 0 for none. The one that failed longest ago is picked. */
  readonly #failures = new Map<string, number>();
  #failureCount = 0;

  /** `path`: of managers.json. */
  constructor(options: { readonly path: string; readonly random: Random; readonly logger: Logger }) {
    this.#path = options.path;
    this.#random = options.random;
    this.#logger = options.logger;
  }

  /** host:port each. */
  get addresses(): string[] {
    return [...this.#failures.keys()];
  }

  /** Reads the last list, or takes `first` (from the join) where there is none. */
  async load(first: readonly string[]): Promise<void> {
    this.#set([...(await this.#read()), ...first]);
  }

  /** The one to dial next; undefined when none is known. */
  pick(): string | undefined {
    const least = Math.min(...this.#failures.values());
    const best = this.addresses.filter((address) => this.#failures.get(address) === least);
    return best.length === 0 ? undefined : best[this.#random.int(0, best.length)];
  }

  failed(address: string): void {
    this.#failureCount += 1;
    if (this.#failures.has(address)) this.#failures.set(address, this.#failureCount);
  }

  worked(address: string): void {
    if (this.#failures.has(address)) this.#failures.set(address, 0);
  }

  /** Takes the list a manager gave. An empty one is ignored: it would cut the node off for good. */
  async replace(addresses: readonly string[]): Promise<void> {
    const before = this.addresses.sort().join();
    if (addresses.length === 0 || [...new Set(addresses)].sort().join() === before) return;
    this.#set(addresses);
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await writeFile(`${this.#path}.tmp`, JSON.stringify({ managers: this.addresses }), { mode: 0o600 });
      await rename(`${this.#path}.tmp`, this.#path);
    } catch (error) {
      this.#logger.warn("cannot keep the list of managers", { error: errorText(error) });
    }
  }

  #set(addresses: readonly string[]): void {
    const kept = new Map(this.#failures);
    this.#failures.clear();
    for (const address of [...new Set(addresses)].slice(0, ADDRESSES_MAX)) {
      this.#failures.set(address, kept.get(address) ?? 0);
    }
  }

  async #read(): Promise<string[]> {
    try {
      const content: unknown = JSON.parse(await readFile(this.#path, "utf8"));
      const list: unknown =
        typeof content === "object" && content !== null && "managers" in content ? content.managers : [];
      return Array.isArray(list) ? list.filter((item) => typeof item === "string") : [];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
        this.#logger.warn("cannot read the list of managers", { error: errorText(error) });
      }
      return [];
    }
  }
}
