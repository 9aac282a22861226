// The image store on a real disk with the real unpacking Worker: every way in, names, sharing, removal, the door, the demo.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { createImageDoor } from "../../agent/index.ts";
import { buildDemoImage } from "../../deploy/demo-image/build.ts";
import { writeTar } from "../../deploy/demo-image/tar-writer.ts";
import type { ImageUpload } from "../../proto/gen/local.ts";
import {
  assertClean,
  base,
  configOf,
  dockerArchive,
  hex,
  layerFolders,
  load,
  openStore,
  pieces,
  refused,
  scratch,
  signal,
  statuses,
  upper,
  webOne,
  webTwo,
} from "./support/image-archives.ts";

test("a saved image is loaded, resolved to its layers, and there again after a restart", async () => {
  const { store, dir } = await openStore();
  assert.deepEqual(await load(store, dockerArchive([webOne])), ["Loaded image: web:1"]);
  const image = await store.inspect("web:1");
  assert.equal(image.id, `sha256:${hex(configOf(webOne))}`);
  assert.deepEqual(Buffer.from(image.configJson), configOf(webOne));
  assert.deepEqual(
    [image.tags, image.labels, image.architecture, image.sizeBytes],
    [["web:1"], { l: "1" }, "amd64", 9],
  );
  assert.equal(image.createdAtMs, Date.parse("2026-01-02T03:04:05Z"));
  const resolved = await store.resolve("web:1");
  assert.deepEqual(resolved.config.config.Cmd, ["/a"]);
  assert.equal(readFileSync(join(resolved.layers[0] ?? "", "etc/upper"), "utf8"), "upper");
  assert.ok(statSync(join(resolved.layers[0] ?? "", "etc/base")).isCharacterDevice());
  assert.equal(readFileSync(join(resolved.layers[1] ?? "", "etc/base"), "utf8"), "base");
  assert.equal(statSync(dir).mode & 0o777, 0o700, "others on the machine cannot reach the images' setuid programs");
  assertClean(dir);
  await store.close();
  const again = await openStore(dir);
  assert.deepEqual(await again.store.resolve("web:1"), resolved);
  assert.deepEqual(await again.store.inspect("web:1"), image);
});

test("an archive is taken in any order, compressed or not, with layers as links", async () => {
  const { store } = await openStore();
  for (const archive of [
    dockerArchive([webOne], "manifest first"),
    gzipSync(dockerArchive([webOne])),
    zstdCompressSync(dockerArchive([webOne])),
    dockerArchive([{ ...webOne, tags: ["docker.io/library/web:1"] }]),
  ]) {
    assert.deepEqual(await load(store, archive), ["Loaded image: web:1"]);
  }
  assert.equal((await store.list()).length, 1);
  const linked = { layers: [base, base], tags: ["linked:1"] };
  const manifest = [{ Config: "config", RepoTags: linked.tags, Layers: ["one/layer.tar", "two/layer.tar"] }];
  const archive = writeTar([
    { path: "one/layer.tar", data: base },
    { path: "two/layer.tar", type: "2", linkPath: "../one/layer.tar" },
    { path: "config", data: configOf(linked) },
    { path: "./manifest.json", data: Buffer.from(JSON.stringify(manifest)) },
  ]);
  assert.deepEqual(await load(store, archive), ["Loaded image: linked:1"]);
});

test("an OCI layout is loaded, for this machine's platform, with compressed layers", async () => {
  const { store } = await openStore();
  const blobs = new Map<string, Buffer>();
  const blob = (bytes: Buffer): string => (blobs.set(hex(bytes), bytes), `sha256:${hex(bytes)}`);
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  const manifest = blob(
    json({
      config: { digest: blob(configOf(webOne)) },
      layers: [{ digest: blob(gzipSync(base)) }, { digest: blob(zstdCompressSync(upper)) }],
    }),
  );
  const other = blob(json({ config: { digest: "sha256:0" }, layers: [] }));
  const index = blob(
    json({
      manifests: [
        { digest: other, platform: { os: "linux", architecture: "s390x" } },
        { digest: manifest, platform: { os: "linux", architecture: "amd64" } },
      ],
    }),
  );
  const layout = (annotations: object, digest = index): Buffer =>
    writeTar([
      { path: "oci-layout", data: json({ imageLayoutVersion: "1.0.0" }) },
      ...[...blobs].map(([name, data]) => ({ path: `blobs/sha256/${name}`, data })),
      { path: "index.json", data: json({ manifests: [{ digest, annotations }] }) },
    ]);
  const id = `sha256:${hex(configOf(webOne))}`;
  assert.deepEqual(await load(store, layout({ "io.containerd.image.name": "docker.io/library/web:1" })), [
    "Loaded image: web:1",
  ]);
  assert.deepEqual(await load(store, layout({ "org.opencontainers.image.ref.name": "1" })), [`Loaded image ID: ${id}`]);
  assert.equal((await store.resolve(id)).layers.length, 2);
  await refused(load(store, layout({}, `sha256:${"0".repeat(64)}`)), /no member/);
  blobs.set(manifest.slice(7), json({ config: {}, layers: [] }));
  await refused(load(store, layout({})), /other data than its name says/);
});

test("images share the layers they have in common, and a layer goes with the last image that has it", async () => {
  const { store, dir } = await openStore();
  await load(store, dockerArchive([webOne, webTwo]));
  assert.equal(layerFolders(dir).length, 3);
  const first = await store.remove("web:1", { force: false }, signal);
  assert.deepEqual(first.untagged, ["web:1"]);
  assert.equal(first.deleted.length, 2);
  assert.equal(first.deleted[0], `sha256:${hex(configOf(webOne))}`);
  assert.equal(layerFolders(dir).length, 2);
  assert.equal(readFileSync(join((await store.resolve("web:2")).layers[1] ?? "", "etc/base"), "utf8"), "base");
  await store.remove("web:2", { force: false }, signal);
  assert.deepEqual(layerFolders(dir), []);
  assert.deepEqual(readdirSync(join(dir, "blobs/sha256")), []);
  assert.deepEqual(await store.list(), []);
  await refused(store.remove("web:2", { force: true }, signal), /^No such image: web:2$/, "NotFound");
});

test("a name moves with a newer load, and the old image stays without a name", async () => {
  const { store } = await openStore();
  await load(store, dockerArchive([webOne]));
  const old = (await store.inspect("web:1")).id;
  assert.deepEqual(await load(store, dockerArchive([{ ...webTwo, tags: ["web:1", "extra:2"] }])), [
    `The image web:1 already exists, renaming the old one with ID ${old} to empty string`,
    "Loaded image: web:1",
    "Loaded image: extra:2",
  ]);
  assert.deepEqual((await store.inspect(old)).tags, []);
  await store.tag(old.slice(7, 19), "kept/web");
  assert.deepEqual((await store.inspect("kept/web:latest")).id, old);
  await refused(store.tag("nope", "a"), /No such image: nope/, "NotFound");
  await refused(store.tag(old, "A"), /must be lowercase/);
});

test("an image in use is not removed", async () => {
  const { store, used, dir } = await openStore();
  await load(store, dockerArchive([webOne]));
  const { id } = await store.inspect("web:1");
  used.set(id, 2);
  assert.equal((await store.inspect("web:1")).containers, 2);
  await refused(
    store.remove("web:1", { force: false }, signal),
    /^conflict: .*2 containers of this node are using/,
    "FailedPrecondition",
  );
  await refused(store.remove(id, { force: true }, signal), /cannot be forced/, "FailedPrecondition");
  assert.deepEqual(await store.remove("web:1", { force: true }, signal), { untagged: ["web:1"], deleted: [] });
  assert.equal(layerFolders(dir).length, 2);
  used.clear();
  assert.equal((await store.remove(id, { force: false }, signal)).deleted.length, 3);
});

test("a root file system is imported with its changes", async () => {
  const { store, dir } = await openStore();
  const options = { reference: "mine", changes: ["CMD /bin/x", "ENV A=1", "EXPOSE 80"], message: "by hand" };
  const lines = await statuses(store.importTar(options, pieces(gzipSync(base), 10), signal));
  const image = await store.inspect("mine:latest");
  assert.deepEqual(lines, [image.id]);
  const document = JSON.parse(Buffer.from(image.configJson).toString()) as {
    config: object;
    history: { comment: string }[];
  };
  assert.deepEqual(document.config, { Cmd: ["/bin/sh", "-c", "/bin/x"], Env: ["A=1"], ExposedPorts: { "80/tcp": {} } });
  assert.equal(document.history[0]?.comment, "by hand");
  assert.deepEqual(image.layers, [`sha256:${hex(base)}`]);
  const nameless = await statuses(store.importTar({ reference: "", changes: [], message: "" }, pieces(base), signal));
  assert.deepEqual((await store.inspect(nameless[0] ?? "")).tags, []);
  assert.equal(layerFolders(dir).length, 1, "the same file system is kept once");
  await refused(
    statuses(store.importTar({ ...options, changes: ["RUN x"] }, pieces(base), signal)),
    /RUN is not a valid/,
  );
  await refused(statuses(store.importTar({ ...options, reference: "A" }, pieces(base), signal)), /lowercase/);
  await refused(statuses(store.importTar(options, pieces(Buffer.alloc(0)), signal)), /empty/);
  await refused(statuses(store.importTar(options, pieces(Buffer.alloc(3000, "x")), signal)), /tar archive is damaged/);
  assertClean(dir);
});

test("the door takes uploads as the Local service brings them", async () => {
  const { store } = await openStore();
  const door = createImageDoor(store);
  const context = { signal, caller: { kind: "local" } } as const;
  const header = { reference: "door:1", changes: [], message: "" };
  async function* upload(bytes: Uint8Array, first = true): AsyncGenerator<ImageUpload> {
    if (first) yield { part: { $case: "header", value: header } };
    for await (const value of pieces(bytes)) yield { part: { $case: "chunk", value } };
  }
  assert.deepEqual(await statuses(door.loadImage(upload(dockerArchive([webOne])), context)), ["Loaded image: web:1"]);
  assert.equal((await statuses(door.importImage(upload(base), context))).length, 1);
  assert.equal((await door.listImages({}, context)).images.length, 2);
  assert.deepEqual((await door.inspectImage({ ref: "door:1" }, context)).image?.tags, ["door:1"]);
  await door.tagImage({ ref: "door:1", target: "other:1" }, context);
  assert.deepEqual(await door.removeImage({ ref: "other:1", force: false }, context), {
    untagged: ["other:1"],
    deleted: [],
  });
  await refused(statuses(door.loadImage(upload(base, false), context)), /begins with its header/);
  async function* oversized(): AsyncGenerator<ImageUpload> {
    yield { part: { $case: "header", value: header } };
    yield await Promise.resolve({ part: { $case: "chunk" as const, value: Buffer.alloc(300_000) } });
  }
  await refused(statuses(door.loadImage(oversized(), context)), /longer than 262144 bytes/);
});

test("the demo's image is the same each time it is built, loads, and has what its programs need", async () => {
  const httpdPath = join(scratch(), "httpd");
  writeFileSync(httpdPath, "#!/bin/sh\n");
  const outDir = scratch();
  const path = await buildDemoImage({ outDir, httpdPath });
  const bytes = readFileSync(path);
  const again = await buildDemoImage({ outDir: scratch(), httpdPath });
  assert.ok(bytes.equals(readFileSync(again)));
  const { store, dir } = await openStore();
  assert.deepEqual(await load(store, bytes), ["Loaded image: tsswarm/demo:1", "Loaded image: tsswarm/demo:2"]);
  assert.equal(layerFolders(dir).length, 2);
  const { config, layers } = await store.resolve("tsswarm/demo:2");
  assert.deepEqual(config.config.Cmd, ["/httpd"]);
  assert.ok(config.config.Env?.includes("VERSION=2"));
  assert.equal(config.config.StopSignal, "SIGTERM");
  assert.equal(statSync(join(layers[0] ?? "", "httpd")).mode & 0o777, 0o755);
  assert.equal(statSync(join(layers[1] ?? "", "tmp")).mode & 0o7777, 0o1777);
  const answer = execFileSync("chroot", [layers[1] ?? "", "/bin/sh", "-c", "echo $(id -un) $(ls /bin/sh)"], {
    encoding: "utf8",
  });
  assert.equal(answer, "root /bin/sh\n");
  await refused(
    buildDemoImage({ outDir, httpdPath: "/nowhere/httpd" }),
    /nowhere.*npm run setup/,
    "FailedPrecondition",
  );
});
