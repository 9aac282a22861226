// Which container of this node has which address and which published ports, in memory and in one JSON file, so that a
// restarted agent knows what its running containers hold. Containers do not survive a loss of power: nothing is synced.

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import { PortConfig } from "../../proto/gen/specs.ts";

export interface Reserved {
  readonly address: string;
  readonly ports: readonly PortConfig[];
}

export interface SavedNetwork {
  readonly subnet: string | undefined;
  readonly lastOffset: number;
  readonly reserved: ReadonlyMap<string, Reserved>;
}

const FILE = "reservations.json";

export class ReservationFile {
  readonly #dir: string;
  readonly #logger: Logger;
  #writing: Promise<void> = Promise.resolve();
  #next: SavedNetwork | undefined;

  constructor(options: { readonly dir: string; readonly logger: Logger }) {
    this.#dir = options.dir;
    this.#logger = options.logger;
  }

  /** Empty where there is no file. A damaged one is told and taken for empty: what runs is then cut off, and no address is given out twice. */
  async read(): Promise<SavedNetwork> {
    const empty: SavedNetwork = { subnet: undefined, lastOffset: 0, reserved: new Map() };
    try {
      const saved = JSON.parse(await readFile(join(this.#dir, FILE), "utf8")) as {
        readonly subnet?: string;
        readonly lastOffset?: number;
        readonly reserved?: Readonly<
          Record<string, { readonly address: string; readonly ports: readonly Partial<PortConfig>[] }>
        >;
      };
      const reserved = Object.entries(saved.reserved ?? {}).map(
        ([id, { address, ports }]) =>
          [id, { address, ports: ports.map((port) => PortConfig.fromPartial(port)) }] as const,
      );
      return { subnet: saved.subnet, lastOffset: saved.lastOffset ?? 0, reserved: new Map(reserved) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return empty;
      this.#logger.error("the reservations of addresses cannot be read and are made anew", { error: errorText(error) });
      return empty;
    }
  }

  /** Settles when this state or a later one is in the file. Calls while a write is under way share the next one. */
  async write(state: SavedNetwork): Promise<void> {
    const isFirst = this.#next === undefined;
    this.#next = state;
    if (isFirst) this.#writing = this.#writing.catch(() => undefined).then(() => this.#writeNext());
    await this.#writing;
  }

  async #writeNext(): Promise<void> {
    const state = this.#next;
    this.#next = undefined;
    if (state === undefined) return;
    const path = join(this.#dir, FILE);
    const saved = { subnet: state.subnet, lastOffset: state.lastOffset, reserved: Object.fromEntries(state.reserved) };
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      await writeFile(`${path}.tmp`, JSON.stringify(saved));
      await rename(`${path}.tmp`, path);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code === "ENOSPC" ? "ResourceExhausted" : "Internal";
      throw new SwarmError(code, `the addresses of containers cannot be written down: ${errorText(error)}`, {
        cause: error,
      });
    }
  }
}
