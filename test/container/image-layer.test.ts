// Unpacking real layers in the real Worker: equal to what GNU tar makes of them, whiteouts in overlayfs' form, and hostile
// archives that stay inside.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { memberBlocks, writeTar, type TarMember } from "../../deploy/demo-image/tar-writer.ts";
import { LayerUnpacker, removeTree } from "../../native/index.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { isSwarmError } from "../../proto/base/errors.ts";
import { setXattrOf, xattrsOf } from "./support/xattr.ts";

const unpacker = new LayerUnpacker({ clock: systemClock, idleMs: 1_000 });
const folders: string[] = [];
const signal = new AbortController().signal;

after(async () => {
  await unpacker.close();
  for (const folder of folders) await removeTree(folder);
});

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "tsswarm-layer-"));
  folders.push(folder);
  return folder;
}

/** Unpacks an archive into a fresh root and answers the root's path. */
async function unpack(archive: Uint8Array): Promise<string> {
  const folder = scratch();
  const root = join(folder, "root");
  mkdirSync(root);
  writeFileSync(join(folder, "layer"), archive);
  await unpacker.unpack(
    { file: join(folder, "layer"), offset: 0, length: archive.length, folder: root, diffId: undefined },
    signal,
  );
  return root;
}

async function refusal(members: readonly TarMember[]): Promise<string> {
  const error = await unpack(writeTar(members)).then(
    () => assert.fail("the layer is accepted"),
    (reason: unknown) => reason,
  );
  assert.ok(isSwarmError(error, "InvalidArgument"), String(error));
  return error.message;
}

/** Every entry below `root` with all that a layer keeps of it. */
function listing(root: string): string[] {
  const script =
    "find . -printf '%p|%y|%m|%U|%G|%T@|%l|%n\\n' | sort; find . -type f -print0 | sort -z | xargs -0r sha256sum; find . \\( -type c -o -type b \\) -exec stat -c '%n %t %T' {} + | sort";
  const lines = execFileSync("sh", ["-c", script], { cwd: root, encoding: "utf8" }).split("\n");
  const names = execFileSync("find", [".", "-print0"], { cwd: root, encoding: "latin1" }).split("\0").slice(0, -1);
  const attributes = names.flatMap((name) =>
    xattrsOf(Buffer.from(`${root}/${name}`, "latin1")).map((attribute) => `${name} ${attribute}`),
  );
  return [...lines, ...attributes.sort()];
}

test("a layer is unpacked as GNU tar would, in every kind, owner, mode, time and attribute", async () => {
  const source = join(scratch(), "tree");
  execFileSync("sh", [
    "-ec",
    `
    mkdir -p ${source} && cd ${source}
    cp -a /etc/alternatives /usr/share/doc/tar . 2>/dev/null || mkdir alternatives
    mkdir -p deep/$(printf 'd%.0s' $(seq 90))/$(printf 'e%.0s' $(seq 90)) sticky
    chmod 1777 sticky
    echo hello > plain; chmod 4755 plain; chown 12:34 plain
    chown 3000000:4000000 sticky
    ln plain hard; ln -s ../../outside soft; ln -s plain hard-to-link; ln hard-to-link second-link
    mknod null c 1 3; mknod disk b 8 1; mkfifo pipe
    mknod big c 300 70000
    truncate -s 10M holes; printf data | dd of=holes bs=1 seek=5000000 conv=notrunc status=none
    touch -d '2001-02-03 04:05:06.123456789 UTC' plain deep
    printf 'x' > "$(printf 'caf\\351 \\377')"
    printf 'y' > 'new
line'
  `,
  ]);
  const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
  setXattrOf(join(source, "hard"), { name: "security.capability", value: capability });
  setXattrOf(join(source, "sticky"), { name: "user.note", value: Buffer.of(0, 255, 10) });
  for (const format of ["gnu", "posix", "ustar"]) {
    const archive = join(scratch(), "layer.tar");
    const options = format === "ustar" ? [] : ["--xattrs", "--xattrs-include=*", "--sparse"];
    execFileSync("tar", [
      `--format=${format}`,
      ...(format === "gnu" ? ["--sparse"] : options),
      ...(format === "ustar" ? ["--exclude=sticky", "--exclude=deep"] : []),
      "--numeric-owner",
      "-C",
      source,
      "-cf",
      archive,
      ".",
    ]);
    const expected = join(scratch(), "expected");
    mkdirSync(expected);
    execFileSync("tar", ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-C", expected, "-xf", archive]);
    const root = await unpack(readFileSync(archive));
    assert.deepEqual(listing(root), listing(expected), format);
    const lines = listing(root);
    assert.ok(lines.length > 20);
    if (format === "posix") assert.ok(lines.some((line) => line.includes("security.capability=")));
    const holes = statSync(join(root, "holes"));
    assert.equal(holes.size, 10 * 1024 * 1024);
    if (format !== "ustar") assert.ok(holes.blocks * 512 < 1024 * 1024, "a sparse file stays sparse");
  }
});

test("gzip and zstd layers are the same layer, and a wrong one is refused by its diff id", async () => {
  const tar = writeTar([{ path: "a", data: Buffer.from("a".repeat(100_000)) }]);
  const diffId = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
  const folder = scratch();
  for (const [name, bytes] of [
    ["plain", tar],
    ["gzip", gzipSync(tar)],
    ["zstd", zstdCompressSync(tar)],
  ] as const) {
    const root = join(folder, name);
    mkdirSync(root);
    // Somewhere in the middle of a file, as in an image archive.
    writeFileSync(join(folder, "archive"), Buffer.concat([Buffer.alloc(777, "x"), bytes, Buffer.alloc(99, "y")]));
    const request = { file: join(folder, "archive"), offset: 777, length: bytes.length, folder: root };
    const result = await unpacker.unpack({ ...request, diffId }, signal);
    assert.deepEqual(result, { diffId, fileBytes: 100_000, entries: 1 });
    await assert.rejects(
      unpacker.unpack({ ...request, diffId: `sha256:${"0".repeat(64)}` }, signal),
      (error) => isSwarmError(error, "InvalidArgument") && error.message.includes("archive is damaged"),
    );
    if (name === "plain") continue;
    await assert.rejects(
      unpacker.unpack({ ...request, length: bytes.length - 20, diffId }, signal),
      (error) => isSwarmError(error, "InvalidArgument") && /damaged or cut off/.test(error.message),
    );
  }
});

test("whiteouts become what overlayfs understands, wherever in the layer they stand", async () => {
  const root = await unpack(
    writeTar([
      { path: "dir/.wh.gone" },
      { path: "dir/.wh..wh..opq" },
      { path: ".wh.before" },
      { path: "before/file", data: Buffer.from("x") },
      { path: "after/file", data: Buffer.from("x") },
      { path: ".wh.after" },
      { path: "kept", data: Buffer.from("x") },
      { path: ".wh.kept" },
      { path: ".wh..wh.plnk", type: "5" },
      { path: ".wh..wh.plnk/1.2", data: Buffer.from("x") },
      {
        path: "forged",
        type: "5",
        pax: { "SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.ok": "1" },
      },
    ]),
  );
  const gone = lstatSync(join(root, "dir/gone"));
  assert.deepEqual([gone.isCharacterDevice(), gone.rdev], [true, 0]);
  const attributes = (name: string): string[] => xattrsOf(join(root, name));
  for (const name of ["dir", "before", "after"])
    assert.deepEqual(attributes(name), ["trusted.overlay.opaque=79"], name);
  assert.equal(readFileSync(join(root, "before/file"), "utf8"), "x");
  assert.equal(readFileSync(join(root, "kept"), "utf8"), "x");
  assert.equal(existsSync(join(root, ".wh..wh.plnk")), false);
  assert.deepEqual(attributes("forged"), ["user.ok=31"]);
});

test("later entries replace earlier ones, and directories are merged", async () => {
  const root = await unpack(
    writeTar([
      { path: "a/b/c", data: Buffer.from("1") },
      { path: "a", type: "5", mode: 0o700, uid: 5 },
      { path: "a/b", data: Buffer.from("now a file") },
      { path: "f", data: Buffer.from("1") },
      { path: "f", type: "2", linkPath: "a" },
      { path: "f", type: "5" },
      { path: "f/g", data: Buffer.from("2") },
      { path: "late", type: "2", linkPath: "not/yet" },
      { path: "late/x", data: Buffer.from("3") },
    ]),
  );
  assert.equal(readFileSync(join(root, "a/b"), "utf8"), "now a file");
  assert.deepEqual([lstatSync(join(root, "a")).mode & 0o7777, lstatSync(join(root, "a")).uid], [0o700, 5]);
  assert.deepEqual(readdirSync(join(root, "f")), ["g"]);
  assert.deepEqual(readdirSync(join(root, "a")), ["b"]);
  assert.equal(readFileSync(join(root, "not/yet/x"), "utf8"), "3");
});

test("a hostile layer writes nothing outside of its root", async () => {
  const outside = scratch();
  writeFileSync(join(outside, "secret"), "secret");
  const data = Buffer.from("owned");
  const root = await unpack(
    writeTar([
      { path: "../../../../../../../../../../dots", data },
      { path: "/absolute", data },
      { path: "a/../../b", data },
      { path: "link", type: "2", linkPath: outside },
      { path: "link/through", data },
      { path: "up", type: "2", linkPath: "../../../../../../../../../../.." },
      { path: `up${outside}/dotdot`, data },
      { path: "magic", type: "2", linkPath: "/proc/self/root" },
      { path: `magic${outside}/magic`, data },
      { path: "self", type: "2", linkPath: "/proc/self/fd" },
      { path: "over", type: "2", linkPath: join(outside, "secret") },
      { path: "over", data },
      { path: `linked`, type: "2", linkPath: `${outside}/secret` },
      { path: "linked-hard", type: "1", linkPath: "linked" },
    ]),
  );
  assert.deepEqual(readdirSync(outside), ["secret"]);
  assert.equal(readFileSync(join(outside, "secret"), "utf8"), "secret");
  assert.equal(statSync(join(outside, "secret")).nlink, 1);
  for (const name of ["dots", "absolute", "b", `${outside}/through`, `${outside}/dotdot`, "over"]) {
    assert.equal(readFileSync(join(root, name), "utf8"), "owned", name);
  }
  assert.equal(readlinkSync(join(root, "linked-hard")), `${outside}/secret`);
  assert.equal(existsSync("/dots"), false);
});

test("what can only be meant as an attack or a mistake is refused", async () => {
  assert.match(await refusal([{ path: "/.", type: "2", linkPath: "/etc" }]), /would replace the root/);
  assert.match(await refusal([{ path: "..", data: Buffer.from("x") }]), /would replace the root/);
  assert.match(await refusal([{ path: "h", type: "1", linkPath: "/etc/passwd" }]), /not in the layer/);
  assert.match(await refusal([{ path: "h", type: "1", linkPath: "../../../../etc/passwd" }]), /not in the layer/);
  assert.match(
    await refusal([
      { path: "d", type: "5" },
      { path: "h", type: "1", linkPath: "d" },
    ]),
    /directory/,
  );
  assert.match(await refusal([{ path: "h", type: "1", linkPath: "/" }]), /hardlink to the root/);
  assert.match(await refusal([{ path: "h" }, { path: "h", type: "1", linkPath: "./h" }]), /itself/);
  assert.match(await refusal([{ path: "f" }, { path: "f/below" }]), /no directory there/);
  assert.match(
    await refusal([{ path: "loop", type: "2", linkPath: "loop" }, { path: "loop/x" }]),
    /no directory there/,
  );
  assert.match(await refusal([{ path: "d/.wh.." }]), /whiteout/);
});

test("a tree nested deeper than a path can name is removed", async () => {
  const members: TarMember[] = [];
  const name = "n".repeat(200);
  for (let round = 0; round < 3; round++) {
    const path = Array.from({ length: 15 }, () => name).join("/");
    members.push({ path: `${round === 0 ? "" : `s${round}/`}${path}`, type: "5" });
    members.push({ path: `s${round + 1}`, type: "2", linkPath: `${round === 0 ? "" : `s${round}/`}${path}` });
  }
  const root = await unpack(writeTar(members));
  await removeTree(root);
  assert.equal(existsSync(root), false);
  assert.deepEqual(readdirSync(join(root, "..")), ["layer"]);
});

test("an aborted layer stops in the middle and leaves no descriptor open", async () => {
  await unpack(writeTar([]));
  const folder = scratch();
  mkdirSync(join(folder, "root"));
  const block = Buffer.concat(
    Array.from({ length: 300 }, (_, index) =>
      Buffer.concat(memberBlocks({ path: `d${index}/f`, data: Buffer.alloc(1000) })),
    ),
  );
  const archive = Buffer.concat([...Array.from({ length: 100 }, () => block), Buffer.alloc(1024)]);
  writeFileSync(join(folder, "layer"), archive);
  const fds = (): number => readdirSync("/proc/self/fd").length;
  const before = fds();
  const abort = new AbortController();
  const running = unpacker.unpack(
    { file: join(folder, "layer"), offset: 0, length: archive.length, folder: join(folder, "root"), diffId: undefined },
    abort.signal,
  );
  abort.abort(new Error("stop it"));
  await assert.rejects(running, /stop it/);
  assert.ok(readdirSync(join(folder, "root")).length < 300 || fds() <= before);
  assert.ok(fds() <= before, `${fds()} descriptors, ${before} before`);
});

test("the Worker ends when it has been idle, and comes back for the next layer", async () => {
  const idle = new LayerUnpacker({
    clock: { ...systemClock, after: (_ms, action) => (queueMicrotask(action), () => undefined) },
    idleMs: 1,
  });
  const folder = scratch();
  writeFileSync(join(folder, "layer"), writeTar([{ path: "a" }]));
  for (const name of ["one", "two"]) {
    mkdirSync(join(folder, name));
    const request = {
      file: join(folder, "layer"),
      offset: 0,
      length: 2048,
      folder: join(folder, name),
      diffId: undefined,
    };
    assert.equal((await idle.unpack(request, signal)).entries, 1);
    await Promise.resolve();
    assert.equal(idle.hasWorker, false);
  }
  rmSync(join(folder, "one"), { recursive: true });
  await idle.close();
});
