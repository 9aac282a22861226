// Image stores on folders of a test's own, and image archives of a few bytes, as `docker save` writes them.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { ImageStore } from "../../../agent/index.ts";
import { writeTar, type TarMember } from "../../../deploy/demo-image/tar-writer.ts";
import { systemClock } from "../../../proto/base/clock.ts";
import { type ErrorCode, isSwarmError } from "../../../proto/base/errors.ts";
import { silentLogger } from "../../../proto/base/log.ts";
import { systemRandom } from "../../../proto/base/random.ts";
import type { ImageProgress } from "../../../proto/gen/local.ts";

export const signal: AbortSignal = new AbortController().signal;
const folders: string[] = [];
const stores: ImageStore[] = [];

after(async () => {
  for (const store of stores) await store.close();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "tsswarm-images-"));
  folders.push(folder);
  return folder;
}

export interface Opened {
  readonly store: ImageStore;
  readonly dir: string;
  /** Containers per image id; a test changes it. */
  readonly used: Map<string, number>;
}

export async function openStore(dir: string = join(scratch(), "images")): Promise<Opened> {
  const used = new Map<string, number>();
  const options = { dir, clock: systemClock, random: systemRandom, logger: silentLogger, inUse: () => used };
  const store = new ImageStore({ ...options, architecture: "amd64" });
  stores.push(store);
  await store.open(signal);
  return { store, dir, used };
}

export async function* pieces(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

export async function statuses(progress: AsyncIterable<ImageProgress>): Promise<string[]> {
  const lines: string[] = [];
  for await (const { status } of progress) lines.push(status);
  return lines;
}

export function load(store: ImageStore, archive: Uint8Array): Promise<string[]> {
  return statuses(store.load(pieces(archive), signal));
}

export function hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export interface Recipe {
  readonly layers: readonly Buffer[];
  readonly tags: readonly string[] | null;
  readonly config?: object;
}

export function configOf(recipe: Recipe): Buffer {
  const rootfs = { type: "layers", diff_ids: recipe.layers.map((layer) => `sha256:${hex(layer)}`) };
  return Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      created: "2026-01-02T03:04:05Z",
      config: recipe.config ?? {},
      rootfs,
    }),
  );
}

/** As `docker save` writes it, the manifest first or last. */
export function dockerArchive(
  recipes: readonly Recipe[],
  order: "manifest first" | "manifest last" = "manifest last",
): Buffer {
  const manifest = recipes.map((recipe) => ({
    Config: `${hex(configOf(recipe))}.json`,
    RepoTags: recipe.tags,
    Layers: recipe.layers.map((layer) => `${hex(layer)}/layer.tar`),
  }));
  const parts: TarMember[] = recipes.flatMap((recipe) => [
    { path: `${hex(configOf(recipe))}.json`, data: configOf(recipe) },
    ...recipe.layers.map((layer) => ({ path: `${hex(layer)}/layer.tar`, data: layer })),
  ]);
  const last = { path: "manifest.json", data: Buffer.from(JSON.stringify(manifest)) };
  return writeTar(order === "manifest first" ? [last, ...parts] : [...parts, last]);
}

export function layerOf(name: string, content: string | Buffer = name): Buffer {
  return writeTar([
    { path: "etc", type: "5" },
    { path: `etc/${name}`, data: Buffer.from(content as string) },
  ]);
}

export const base: Buffer = layerOf("base");
export const upper: Buffer = writeTar([{ path: "etc/upper", data: Buffer.from("upper") }, { path: "etc/.wh.base" }]);
export const webOne: Recipe = { layers: [base, upper], tags: ["web:1"], config: { Cmd: ["/a"], Labels: { l: "1" } } };
export const webTwo: Recipe = { layers: [base, layerOf("two")], tags: ["web:2"] };

export function layerFolders(dir: string): string[] {
  return readdirSync(join(dir, "layers")).sort();
}

/** Nothing half-made, nothing on its way in. */
export function assertClean(dir: string): void {
  assert.deepEqual(readdirSync(join(dir, "tmp")), []);
  for (const name of layerFolders(dir)) assert.match(name, /^[0-9a-f]{64}$/);
}

export async function refused(
  result: Promise<unknown>,
  words: RegExp,
  code: ErrorCode = "InvalidArgument",
): Promise<void> {
  await assert.rejects(result, (error) => {
    assert.ok(isSwarmError(error, code), String(error));
    assert.match(error.message, words);
    return true;
  });
}
