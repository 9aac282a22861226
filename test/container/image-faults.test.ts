// What goes wrong with images: damaged archives, loads side by side, aborts, crashes, a full disk. Nothing half-made is left.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { writeTar, type TarMember } from "../../deploy/demo-image/tar-writer.ts";
import {
  assertClean,
  base,
  configOf,
  dockerArchive,
  layerFolders,
  layerOf,
  load,
  openStore,
  refused,
  scratch,
  signal,
  statuses,
  webOne,
  webTwo,
} from "./support/image-archives.ts";

test("what is no sound image is refused and leaves nothing", async () => {
  const { store, dir } = await openStore();
  const good = dockerArchive([webOne]);
  const manifest = (value: unknown, ...more: TarMember[]): Buffer =>
    writeTar([
      { path: "manifest.json", data: Buffer.from(JSON.stringify(value)) },
      { path: "c", data: configOf(webOne) },
      { path: "l", data: base },
      ...more,
    ]);
  const wrongLayer = { Config: "c", RepoTags: ["web:1"], Layers: ["l", "l"] };
  const cases: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.alloc(0), /empty/],
    [Buffer.alloc(5000, "not a tar"), /tar archive is damaged at byte 0/],
    [base, /neither manifest.json nor index.json.*tsswarm image import/],
    [good.subarray(0, good.length - 1500), /ends in the middle/],
    [gzipSync(good).subarray(0, 200), /gzip data is damaged or cut off/],
    [Buffer.from("fd377a585a0000", "hex"), /compressed with xz/],
    [manifest("text"), /not a list/],
    [manifest([]), /holds no image/],
    [manifest([{ Config: "missing", Layers: [] }]), /no member "missing"/],
    [manifest([{ Config: "c", Layers: ["l"] }]), /1 layers, but its configuration names 2/],
    [manifest([wrongLayer]), /archive is damaged/],
    [manifest([{ ...wrongLayer, RepoTags: ["UPPER"] }]), /must be lowercase/],
    [manifest([{ Config: "loop", Layers: [] }], { path: "loop", type: "2", linkPath: "loop" }), /no member/],
  ];
  for (const [archive, words] of cases) {
    await refused(load(store, archive), words);
    assert.deepEqual(layerFolders(dir), [], String(words));
    assertClean(dir);
  }
  assert.deepEqual(await store.list(), []);
  await refused(store.resolve("web:1"), /No such image: web:1/, "NotFound");
});

test("two loads of the same image at once are both right", async () => {
  const { store, dir } = await openStore();
  const big = layerOf("big", Buffer.alloc(3_000_000, "x"));
  const archive = dockerArchive([{ layers: [base, big], tags: ["web:1"] }]);
  const all = await Promise.all([load(store, archive), load(store, archive), load(store, archive)]);
  assert.deepEqual(
    all,
    Array.from({ length: 3 }, () => ["Loaded image: web:1"]),
  );
  assert.equal(layerFolders(dir).length, 2);
  assertClean(dir);
});

test("a load of an image while another with the same layers is removed keeps its layers", async () => {
  const { store } = await openStore();
  await load(store, dockerArchive([webOne]));
  for (let round = 0; round < 10; round++) {
    await Promise.all([
      load(store, dockerArchive([{ ...webTwo, tags: ["web:2"] }])),
      store.remove("web:1", { force: false }, signal),
    ]);
    for (const folder of (await store.resolve("web:2")).layers) assert.ok(existsSync(folder));
    await Promise.all([load(store, dockerArchive([webOne])), store.remove("web:2", { force: false }, signal)]);
    for (const folder of (await store.resolve("web:1")).layers) assert.ok(existsSync(folder));
  }
});

test("a load that is aborted, also while its stream stands still, leaves nothing", async () => {
  const { store, dir } = await openStore();
  const abort = new AbortController();
  async function* stalled(): AsyncGenerator<Uint8Array> {
    yield dockerArchive([webOne]).subarray(0, 2048);
    queueMicrotask(() => abort.abort(new Error("gone")));
    await new Promise<never>(() => undefined);
  }
  await assert.rejects(statuses(store.load(stalled(), abort.signal)), /gone/);
  assertClean(dir);
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(dockerArchive([webOne]).subarray(0, 2048));
    throw new Error("the client went away");
  }
  await assert.rejects(statuses(store.load(broken(), signal)), /the client went away/);
  assertClean(dir);
  assert.deepEqual(layerFolders(dir), []);
});

test("what a crash leaves is swept at the start, and an image that lost a part is left out", async () => {
  const { store, dir } = await openStore();
  await load(store, dockerArchive([webOne]));
  await load(store, dockerArchive([webTwo]));
  const layers = layerFolders(dir);
  const lost = (await store.resolve("web:2")).layers[0] ?? "";
  await store.close();
  writeFileSync(join(dir, "tmp", "upload"), "half");
  mkdirSync(join(dir, "layers", `${"a".repeat(64)}.tmp-1234`, "fs"), { recursive: true });
  mkdirSync(join(dir, "layers", "b".repeat(64), "fs"), { recursive: true });
  writeFileSync(join(dir, "index.json.new"), "half");
  writeFileSync(join(dir, "blobs/sha256", "c".repeat(64)), "orphan");
  symlinkSync("/etc", join(dir, "layers", `x.tmp-5678`));
  rmSync(join(lost, ".."), { recursive: true });
  const again = await openStore(dir);
  assert.deepEqual(
    (await again.store.list()).map((image) => image.tags),
    [["web:1"]],
  );
  assert.deepEqual(
    layerFolders(dir),
    layers.filter((name) => !lost.includes(name)),
  );
  assert.equal(readdirSync(join(dir, "blobs/sha256")).length, 1);
  assert.equal(existsSync(join(dir, "index.json.new")), false);
  assert.ok(existsSync("/etc/passwd"));
  assertClean(dir);
  await again.store.close();
  writeFileSync(join(dir, "index.json"), "{");
  await refused(openStore(dir), /index.json cannot be read .* load the images again/, "FailedPrecondition");
});

test("a load killed with -9 while it unpacks leaves nothing half-made", async () => {
  const dir = join(scratch(), "images");
  mkdirSync(join(dir, "layers"), { recursive: true });
  const file = join(scratch(), "archive.tar");
  const many = Array.from({ length: 3_000 }, (_, index) => ({
    path: `d${index % 50}/f${index}`,
    data: Buffer.alloc(1_000),
  }));
  writeFileSync(file, dockerArchive([{ layers: [base, writeTar(many)], tags: ["big:1"] }]));
  const script = `
    import { createReadStream } from "node:fs";
    const { ImageStore } = await import(${JSON.stringify(new URL("../../agent/index.ts", import.meta.url).href)});
    const { systemClock } = await import(${JSON.stringify(new URL("../../proto/base/clock.ts", import.meta.url).href)});
    const { systemRandom } = await import(${JSON.stringify(new URL("../../proto/base/random.ts", import.meta.url).href)});
    const { silentLogger } = await import(${JSON.stringify(new URL("../../proto/base/log.ts", import.meta.url).href)});
    const signal = new AbortController().signal;
    const store = new ImageStore({ dir: ${JSON.stringify(dir)}, clock: systemClock, random: systemRandom, logger: silentLogger, inUse: () => new Map() });
    await store.open(signal);
    for await (const _ of store.load(createReadStream(${JSON.stringify(file)}), signal));
  `;
  const watcher = watch(join(dir, "layers"));
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const ended = once(child, "exit");
  // The second layer's temporary folder appears: it is being unpacked.
  let seen = new Set<string>();
  watcher.on("change", (_event, name) => {
    const match = /^([0-9a-f]{64})\.tmp-/.exec(String(name));
    if (match?.[1] !== undefined) seen = seen.add(match[1]);
    if (seen.size === 2) child.kill("SIGKILL");
  });
  const [code, killedBy] = (await ended) as [number | null, string | null];
  watcher.close();
  assert.deepEqual([code, killedBy], [null, "SIGKILL"]);
  assert.ok(
    layerFolders(dir).some((name) => name.includes(".tmp-")),
    "it was killed in the middle",
  );
  const { store } = await openStore(dir);
  assert.deepEqual(await store.list(), []);
  assert.deepEqual(layerFolders(dir), []);
  assertClean(dir);
  assert.deepEqual(await load(store, readFileSync(file)), ["Loaded image: big:1"]);
});

test("a full disk is said so, and leaves what was there before", async (t) => {
  const folder = scratch();
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]);
  t.after(() => execFileSync("umount", ["-l", folder]));
  const { store, dir } = await openStore(join(folder, "images"));
  await load(store, dockerArchive([webOne]));
  const free = (): number => Number(execFileSync("stat", ["-f", "-c", "%f", folder], { encoding: "utf8" }));
  const before = free();
  // Once while the archive comes in, once while its layer (a small archive of a long file) is unpacked.
  const long = layerOf("long", Buffer.alloc(8_000_000, "x"));
  const gzipLayer = { layers: [long], tags: ["long:1"] };
  const manifest = [{ Config: "c", RepoTags: ["long:1"], Layers: ["l"] }];
  const small = writeTar([
    { path: "manifest.json", data: Buffer.from(JSON.stringify(manifest)) },
    { path: "c", data: configOf(gzipLayer) },
    { path: "l", data: gzipSync(long) },
  ]);
  for (const archive of [dockerArchive([gzipLayer]), small]) {
    await refused(
      load(store, archive),
      /^No space is left on the device that holds .*tsswarm image rm/,
      "ResourceExhausted",
    );
    assertClean(dir);
    assert.equal(free(), before);
  }
  assert.deepEqual(
    (await store.list()).map((image) => image.tags),
    [["web:1"]],
  );
  await store.close();
});
