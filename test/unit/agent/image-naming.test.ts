// Names of a node's images: finding, tagging and removing by Docker's rules.

import assert from "node:assert/strict";
import { test } from "node:test";
import { storedImage, type Images, type StoredImage } from "../../../agent/image/image-index.ts";
import { findImage, planRemoval, tagToGive, withTags } from "../../../agent/image/naming.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";

function image(name: string, ...tags: readonly string[]): StoredImage {
  const document = { os: "linux", author: name, rootfs: { type: "layers", diff_ids: [] } };
  return storedImage(Buffer.from(JSON.stringify(document)), tags);
}

function imagesOf(...list: readonly StoredImage[]): Images {
  return new Map(list.map((one) => [one.id, one]));
}

const web = image("web", "web:1", "registry.example/web:1");
const job = image("job", "job:latest");
const images = imagesOf(web, job);
const idle = { force: false, containers: () => 0 };

function conflictOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    assert.ok(isSwarmError(error, "FailedPrecondition"), String(error));
    return error.message;
  }
  return assert.fail("nothing is refused");
}

test("an image is found by any form of its name, its id, and the start of its id", () => {
  const hex = web.id.slice("sha256:".length);
  for (const ref of ["web:1", "docker.io/library/web:1", "library/web:1", "registry.example/web:1"]) {
    assert.equal(findImage(images, ref)?.image.id, web.id, ref);
  }
  for (const ref of [web.id, hex, hex.slice(0, 12), `sha256:${hex.slice(0, 12)}`]) {
    assert.deepEqual(findImage(images, ref), { kind: "id", image: web }, ref);
  }
  assert.deepEqual(findImage(images, "job"), { kind: "tag", image: job, tag: "job:latest" });
  for (const ref of ["web", "web:2", "0".repeat(64), `web@${web.id}`, "sha256:xyz"]) {
    assert.equal(findImage(images, ref), undefined, ref);
  }
});

test("an id prefix of several images is refused, and text that is no name as well", () => {
  const many = imagesOf(...Array.from({ length: 17 }, (_, index) => image(String(index))));
  const firsts = [...many.keys()].map((id) => id.charAt("sha256:".length));
  const twice = firsts.find((first, index) => firsts.indexOf(first) !== index) ?? "";
  assert.throws(
    () => findImage(many, twice),
    (error) => isSwarmError(error, "InvalidArgument") && /ambiguous/.test(error.message),
  );
  assert.throws(() => findImage(images, "Web:1"), /must be lowercase/);
  assert.throws(() => findImage(images, ""), /invalid reference format/);
});

test("a name that moves leaves its old image without one", () => {
  const next = withTags(images, job, ["web:1"]);
  assert.deepEqual(next.get(job.id)?.tags, ["job:latest", "web:1"]);
  assert.deepEqual(next.get(web.id)?.tags, ["registry.example/web:1"]);
  assert.deepEqual(images.get(web.id)?.tags, ["registry.example/web:1", "web:1"], "what was given stays as it was");
  assert.equal(tagToGive("docker.io/library/a"), "a:latest");
  assert.throws(() => tagToGive(`a@${web.id}`), /digest reference/);
});

test("removing a name leaves the image to its other names", () => {
  const removal = planRemoval(images, { ref: "web:1", ...idle });
  assert.deepEqual([removal.untagged, removal.deleted], [["web:1"], undefined]);
  assert.deepEqual(removal.images.get(web.id)?.tags, ["registry.example/web:1"]);
});

test("removing the last name removes the image", () => {
  const removal = planRemoval(images, { ref: "job", ...idle });
  assert.deepEqual([removal.untagged, removal.deleted], [["job:latest"], job.id]);
  assert.equal(removal.images.has(job.id), false);
});

test("an image with several names goes by its id only by force", () => {
  const words = conflictOf(() => planRemoval(images, { ref: web.id, ...idle }));
  assert.match(words, /^conflict: unable to delete [0-9a-f]{12} \(must be forced\) - image is referenced in multiple/);
  const removal = planRemoval(images, { ref: web.id, ...idle, force: true });
  assert.deepEqual([removal.untagged, removal.deleted], [web.tags, web.id]);
});

test("an image that a container uses loses its last name only by force, and is never removed", () => {
  const used = { containers: (id: string) => (id === job.id ? 1 : 0) };
  assert.match(
    conflictOf(() => planRemoval(images, { ref: "job", force: false, ...used })),
    /^conflict: unable to remove repository reference "job:latest" \(must force\) - a container of this node is using/,
  );
  assert.match(
    conflictOf(() => planRemoval(images, { ref: job.id, force: true, ...used })),
    /cannot be forced/,
  );
  const removal = planRemoval(images, { ref: "job", force: true, ...used });
  assert.deepEqual([removal.untagged, removal.deleted], [["job:latest"], undefined]);
  assert.deepEqual(removal.images.get(job.id)?.tags, []);
});

test("what is not there cannot be removed", () => {
  assert.throws(
    () => planRemoval(images, { ref: "nope:1", ...idle }),
    (error) => isSwarmError(error, "NotFound") && error.message === "No such image: nope:1",
  );
});
