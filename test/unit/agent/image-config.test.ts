// Configuration documents of images: what is read, what is refused, and the ids that follow.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chainIds, parseImageDocument, sha256 } from "../../../agent/image/image-config.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";

const diffId = `sha256:${"1".repeat(64)}`;
const good = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [diffId] } };

function parse(document: unknown): ReturnType<typeof parseImageDocument> {
  return parseImageDocument(Buffer.from(typeof document === "string" ? document : JSON.stringify(document)));
}

test("a configuration is read, with null for what is absent", () => {
  const config = { Env: ["A=1"], Cmd: null, Entrypoint: ["/x"], Labels: { a: "b" } };
  const document = parse({ ...good, created: "2026-01-01T00:00:00Z", config });
  assert.deepEqual(document.config, config);
  assert.deepEqual([document.architecture, document.os, document.diffIds], ["amd64", "linux", [diffId]]);
  assert.deepEqual(parse(good).config, {});
});

test("a configuration of the wrong shape is refused", () => {
  const cases: readonly (readonly [unknown, RegExp])[] = [
    ["not json", /not JSON/],
    [[], /not an object/],
    [{ os: "linux" }, /"rootfs"/],
    [{ ...good, os: "windows" }, /only linux/],
    [{ ...good, rootfs: { diff_ids: ["sha256:12"] } }, /no sha256 digest/],
    [{ ...good, rootfs: { diff_ids: Array.from({ length: 126 }, () => diffId) } }, /126 layers/],
    [{ ...good, config: { Env: "A=1" } }, /config\.Env/],
    [{ ...good, config: { Cmd: [1] } }, /config\.Cmd/],
    [{ ...good, config: { User: 5 } }, /config\.User/],
    [{ ...good, config: { Labels: { a: 1 } } }, /Labels/],
    [{ ...good, config: { WorkingDir: "a\0b" } }, /WorkingDir/],
  ];
  for (const [document, words] of cases) {
    assert.throws(
      () => parse(document),
      (error) => isSwarmError(error, "InvalidArgument") && words.test(error.message),
      String(words),
    );
  }
});

test("a chain id depends on a layer and all below it", () => {
  const [a, b] = ["a", "b"].map((text) => sha256(text)) as [string, string];
  assert.deepEqual(chainIds([a]), [a]);
  assert.deepEqual(chainIds([a, b]), [a, sha256(`${a} ${b}`)]);
  assert.notEqual(chainIds([a, b])[1], chainIds([b, a])[1]);
  assert.deepEqual(chainIds([]), []);
});
