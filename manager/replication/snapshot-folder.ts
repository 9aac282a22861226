// The folder of snapshots: written beside, synced, then renamed, so that a name always stands for a whole one. Own ones
// ("snap-") are usable at once; received ones ("got-") only when the log says that they are installed. The two newest usable
// ones are kept. It knows the log only as what its owner says of places.

import type { Index } from "raft-ts";
import { type Disk, diskErrorCode } from "../../proto/base/disk.ts";
import { errorText, isSwarmError } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Random } from "../../proto/base/random.ts";
import type { Place } from "./payload.ts";
import type { KeyRing } from "./seal-keys.ts";
import { type SnapshotMeta, SnapshotReader, writeSnapshot } from "./snapshot-file.ts";

const NAME = /^(snap|got)-([0-9a-f]{14})-([0-9a-f]{14})\.snap$/;
const KEPT = 2;
/** Received and not installed. */
const WAITING_MAX = 2;

export interface SnapshotFile extends Place {
  readonly path: string;
  readonly isReceived: boolean;
}

export interface LoadedSnapshot {
  readonly meta: SnapshotMeta;
  readonly bytes: Uint8Array;
}

export interface SnapshotFolderOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly logger: Logger;
  readonly random: Random;
  readonly keys: KeyRing;
}

export class SnapshotFolder {
  readonly #options: SnapshotFolderOptions;
  /** Oldest first. */
  #usable: readonly SnapshotFile[] = [];
  /** Oldest first. */
  #waiting: readonly SnapshotFile[] = [];
  /** Paths of those being written. */
  readonly #writing: Set<string> = new Set<string>();
  #drafts = 0;

  constructor(options: SnapshotFolderOptions) {
    this.#options = options;
  }

  get path(): string {
    return this.#options.dir;
  }

  /** The usable ones, oldest first. */
  get usable(): readonly SnapshotFile[] {
    return this.#usable;
  }

  /** All that is there, oldest first; changes nothing. */
  async list(): Promise<readonly SnapshotFile[]> {
    const { dir } = this.#options;
    return (await this.#names())
      .flatMap((name) => {
        const [, kind, index, term] = NAME.exec(name) ?? [];
        if (index === undefined || term === undefined) return [];
        const place = { index: Number.parseInt(index, 16), term: Number.parseInt(term, 16) };
        return [{ ...place, path: `${dir}/${name}`, isReceived: kind === "got" }];
      })
      .sort((a, b) => a.index - b.index || a.term - b.term);
  }

  /**
   * The newest of these that is whole; damaged ones are told of. Also sees that the keys of all others are kept.
   */
  async loadNewest(
    files: readonly SnapshotFile[],
  ): Promise<{ readonly file: SnapshotFile; readonly loaded: LoadedSnapshot } | undefined> {
    let newest: { readonly file: SnapshotFile; readonly loaded: LoadedSnapshot } | undefined;
    for (const file of [...files].reverse()) {
      try {
        if (newest === undefined) newest = { file, loaded: await this.load(file) };
        else await (await this.#reader(file)).close();
      } catch (error) {
        if (!isSwarmError(error, "FailedPrecondition")) throw error;
        this.#options.logger.error("a snapshot is damaged and left out", { path: file.path, error: error.message });
      }
    }
    return newest;
  }

  /** All of it. Throws FailedPrecondition when it is damaged, NotFound's system error when it is gone. */
  async load(file: SnapshotFile): Promise<LoadedSnapshot> {
    const reader = await this.#reader(file);
    const pieces: Uint8Array[] = [];
    for await (const piece of reader.pieces()) pieces.push(piece);
    return { meta: reader.meta, bytes: Buffer.concat(pieces) };
  }

  /** The state in pieces of at most 256 KiB. It may be taken away meanwhile: an open file lives on. */
  async *stream(file: SnapshotFile): AsyncGenerator<Uint8Array, void, undefined> {
    yield* (await this.#reader(file)).pieces();
  }

  /** From now on these are usable. Others go with the next tidy(). */
  keep(usable: readonly SnapshotFile[]): void {
    this.#usable = usable.slice(-KEPT);
  }

  /** Writes one, durable under its name. On failure nothing is left where the disk allows. */
  async write(
    meta: SnapshotMeta,
    from: {
      readonly pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
      readonly isReceived: boolean;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<SnapshotFile> {
    const { disk, dir, random, keys } = this.#options;
    const { index, term } = meta;
    const path = `${dir}/${from.isReceived ? "got" : "snap"}-${hex(index)}-${hex(term)}.snap`;
    this.#drafts += 1;
    const draft = `${path}.${this.#drafts}.tmp`;
    await disk.makeDir(dir);
    await disk.remove(draft);
    this.#writing.add(path);
    try {
      const key = await keys.current();
      await writeSnapshot({ disk, path: draft, key, random }, { meta, pieces: from.pieces, signal: from.signal });
      await disk.rename({ from: draft, to: path });
      await disk.syncDir(dir);
      const file: SnapshotFile = { index, term, path, isReceived: from.isReceived };
      if (from.isReceived)
        this.#waiting = [...this.#waiting.filter((each) => each.path !== path), file].slice(-WAITING_MAX);
      return file;
    } catch (error) {
      await Promise.allSettled([disk.remove(draft)]);
      throw error;
    } finally {
      this.#writing.delete(path);
    }
  }

  /** The one that was received and not installed. */
  findWaiting(place: Place): SnapshotFile | undefined {
    return this.#waiting.find((each) => each.index === place.index && each.term === place.term);
  }

  findUsable(index: Index): SnapshotFile | undefined {
    return this.#usable.find((each) => each.index === index);
  }

  /** Takes an own one among the usable. */
  use(file: SnapshotFile): void {
    const others = this.#usable.filter((each) => each.path !== file.path);
    this.#usable = [...others, file].sort((a, b) => a.index - b.index).slice(-KEPT);
  }

  /** A received one is installed: it alone is usable, what came before it belongs to a log that is void. */
  install(file: SnapshotFile): void {
    this.#usable = [file];
    this.#waiting = this.#waiting.filter((each) => each.index > file.index);
  }

  /** Removes whatever is neither usable nor waiting nor being written. */
  async tidy(): Promise<void> {
    const { disk, dir, logger } = this.#options;
    try {
      const names = await this.#names();
      const keep = new Set([...[...this.#usable, ...this.#waiting].map((each) => each.path), ...this.#writing]);
      const old = names.map((name) => `${dir}/${name}`).filter((path) => path.endsWith(".snap") && !keep.has(path));
      for (const path of old) await disk.remove(path);
      if (old.length > 0) await disk.syncDir(dir);
    } catch (error) {
      logger.warn("cannot remove an old snapshot", { dir, error: errorText(error) });
    }
  }

  /** Removes what a crash left half written and makes durable what is there. Only before anything is written. */
  async settle(): Promise<void> {
    const { disk, dir } = this.#options;
    const names = await this.#names();
    for (const name of names) if (name.endsWith(".tmp")) await disk.remove(`${dir}/${name}`);
    if (names.length > 0) await disk.syncDir(dir);
  }

  #reader(file: SnapshotFile): Promise<SnapshotReader> {
    return SnapshotReader.open(this.#options.disk, { path: file.path, keys: this.#options.keys });
  }

  async #names(): Promise<readonly string[]> {
    try {
      return await this.#options.disk.list(this.#options.dir);
    } catch (error) {
      if (diskErrorCode(error) === "ENOENT") return [];
      throw error;
    }
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(14, "0");
}
