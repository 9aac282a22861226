// The keys that a manager's log and snapshots are sealed with, in one file of mode 0600 beside them. Each opening of the log
// that writes makes a key of its own, durable before its first use: a torn record is overwritten by another of the same
// sequence, and a restored backup repeats sequences, so one key for ever would use nonces twice. Keys that nothing is sealed
// with any more are dropped.

import type { Disk } from "../../proto/base/disk.ts";
import { diskErrorCode } from "../../proto/base/disk.ts";
import type { Random } from "../../proto/base/random.ts";
import { KEY_BYTES, NONCE_PREFIX_BYTES, type SealKey, secretKey } from "./seal.ts";
import { damaged } from "./wal-errors.ts";

/** Far above what is ever in use; a file with more is not ours. */
const KEYS_MAX = 65_536;
const FILE_BYTES_MAX = 16_777_216;

export interface KeyRingOptions {
  readonly disk: Disk;
  /** Folder of the manager's state. */
  readonly dir: string;
  readonly random: Random;
}

export class KeyRing {
  readonly #options: KeyRingOptions;
  /** Invariant: what the file holds, or undefined where there is none. */
  #keys: readonly SealKey[] | undefined;
  /** This opening's own key. */
  #current: Promise<SealKey> | undefined;
  readonly #used: Set<number> = new Set<number>();

  private constructor(options: KeyRingOptions, keys: readonly SealKey[] | undefined) {
    this.#options = options;
    this.#keys = keys;
  }

  /** Throws FailedPrecondition when the file is there and cannot be read. */
  static async open(options: KeyRingOptions): Promise<KeyRing> {
    const path = keysPath(options.dir);
    const text = await readText(options.disk, path);
    if (text === undefined) return new KeyRing(options, undefined);
    const keys = decodeKeys(text);
    if (keys === undefined) throw damaged({ path, detail: "it does not hold the keys that the log is sealed with" });
    return new KeyRing(options, keys);
  }

  /** The key of something that was read, which is kept from now on. Throws FailedPrecondition when it is not there. */
  find(id: number, sealed: { readonly path: string }): SealKey {
    const key = this.#keys?.find((each) => each.id === id);
    if (key !== undefined) {
      this.#used.add(id);
      return key;
    }
    const keys = keysPath(this.#options.dir);
    const why = this.#keys === undefined ? `and ${keys} is missing` : `which ${keys} does not hold`;
    throw damaged({ path: sealed.path, detail: `it is sealed with key ${id}, ${why}` });
  }

  /** The key to seal with, durable. Call it only once all that is kept was read. On failure nothing is changed. */
  current(): Promise<SealKey> {
    this.#current ??= this.#make().catch((error: unknown) => {
      this.#current = undefined;
      throw error;
    });
    return this.#current;
  }

  async #make(): Promise<SealKey> {
    const { random } = this.#options;
    const before = this.#keys ?? [];
    const made: SealKey = {
      id: before.reduce((most, each) => Math.max(most, each.id), 0) + 1,
      key: secretKey(random.bytes(KEY_BYTES)),
      noncePrefix: random.bytes(NONCE_PREFIX_BYTES),
    };
    const keys = [...before.filter((each) => this.#used.has(each.id)), made];
    await this.#write(keys);
    this.#keys = keys;
    return made;
  }

  async #write(keys: readonly SealKey[]): Promise<void> {
    const { disk, dir } = this.#options;
    const path = keysPath(dir);
    const draft = `${path}.tmp`;
    await disk.makeDir(dir);
    await disk.remove(draft);
    const file = await disk.open(draft, "create");
    try {
      await file.write(Buffer.from(encodeKeys(keys)), 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await disk.rename({ from: draft, to: path });
    await disk.syncDir(dir);
  }
}

function keysPath(dir: string): string {
  return `${dir}/keys.json`;
}

async function readText(disk: Disk, path: string): Promise<string | undefined> {
  try {
    const file = await disk.open(path, "read");
    try {
      return Buffer.from(
        await file.read({ offset: 0, length: Math.min(await file.size(), FILE_BYTES_MAX) }),
      ).toString();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (diskErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function encodeKeys(keys: readonly SealKey[]): string {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  const plain = keys.map(({ id, key, noncePrefix }) => ({ id, key: hex(key.export()), noncePrefix: hex(noncePrefix) }));
  return `${JSON.stringify({ keys: plain }, undefined, 1)}\n`;
}

function decodeKeys(text: string): readonly SealKey[] | undefined {
  let plain: unknown;
  try {
    plain = JSON.parse(text);
  } catch {
    return undefined;
  }
  const list: unknown = isObject(plain) ? plain["keys"] : undefined;
  if (!Array.isArray(list) || list.length === 0 || list.length > KEYS_MAX) return undefined;
  const keys = list.map(decodeKey);
  const whole = keys.filter((each) => each !== undefined);
  return whole.length === keys.length ? whole : undefined;
}

function decodeKey(plain: unknown): SealKey | undefined {
  if (!isObject(plain)) return undefined;
  const id = plain["id"];
  const key = fromHex(plain["key"], KEY_BYTES);
  const noncePrefix = fromHex(plain["noncePrefix"], NONCE_PREFIX_BYTES);
  if (typeof id !== "number" || !Number.isInteger(id) || id < 1 || id > 0xffff_ffff) return undefined;
  return key === undefined || noncePrefix === undefined ? undefined : { id, key: secretKey(key), noncePrefix };
}

function fromHex(text: unknown, bytes: number): Uint8Array | undefined {
  if (typeof text !== "string" || !/^[0-9a-f]*$/.test(text) || text.length !== bytes * 2) return undefined;
  return new Uint8Array(Buffer.from(text, "hex"));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
