// Names of images: what Docker accepts, refuses and shortens.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isSwarmError } from "../../../proto/base/errors.ts";
import {
  familiarReference,
  familiarRepository,
  fullReference,
  parseImageReference,
} from "../../../proto/model/image-reference.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;

test("an image name is completed with docker.io, library and latest, and shown short", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["web", "docker.io/library/web:latest", "web:latest"],
    ["web:1", "docker.io/library/web:1", "web:1"],
    ["docker.io/library/web:1", "docker.io/library/web:1", "web:1"],
    ["index.docker.io/web", "docker.io/library/web:latest", "web:latest"],
    ["team/web:1", "docker.io/team/web:1", "team/web:1"],
    ["tsswarm/demo:2", "docker.io/tsswarm/demo:2", "tsswarm/demo:2"],
    ["localhost/web", "localhost/web:latest", "localhost/web:latest"],
    ["localhost:5000/a/b:v1.0", "localhost:5000/a/b:v1.0", "localhost:5000/a/b:v1.0"],
    ["[fd00::1]:5000/web", "[fd00::1]:5000/web:latest", "[fd00::1]:5000/web:latest"],
    ["Registry/web", "Registry/web:latest", "Registry/web:latest"],
    [`web@${DIGEST}`, `docker.io/library/web@${DIGEST}`, `web@${DIGEST}`],
    [`web:1@${DIGEST}`, `docker.io/library/web:1@${DIGEST}`, `web:1@${DIGEST}`],
    ["a__b-c---d.e_f", "docker.io/library/a__b-c---d.e_f:latest", "a__b-c---d.e_f:latest"],
  ];
  for (const [text, full, familiar] of cases) {
    const reference = parseImageReference(text);
    assert.equal(fullReference(reference), full, text);
    assert.equal(familiarReference(reference), familiar, text);
  }
  assert.equal(familiarRepository(parseImageReference("docker.io/library/web:1")), "web");
});

test("names that Docker refuses are refused with its words", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /^invalid reference format/],
    ["Web", /repository name \(library\/Web\) must be lowercase/],
    ["team/Web:1", /must be lowercase/],
    ["web:", /tag/],
    ["web:-1", /tag/],
    [`web:${"a".repeat(129)}`, /tag/],
    ["web@sha256:12", /digest/],
    ["web@", /digest/],
    ["a b", /^invalid reference format/],
    ["-web", /^invalid reference format/],
    ["a//b", /^invalid reference format/],
    ["a/b/", /^invalid reference format/],
    ["/a", /^invalid reference format/],
    ["a___b", /^invalid reference format/],
    ["a..b", /^invalid reference format/],
    ["-bad.host/web", /^invalid reference format/],
    ["a/".repeat(200) + "b", /not be more than 255/],
    ["ab".repeat(32), /64-byte hexadecimal/],
    ["a".repeat(5000), /^invalid reference format/],
    ["web\n", /^invalid reference format/],
  ];
  for (const [text, words] of cases) {
    assert.throws(
      () => parseImageReference(text),
      (error) => {
        assert.ok(isSwarmError(error, "InvalidArgument"), text);
        assert.match(error.message, words);
        return true;
      },
    );
  }
});

test("any text either is refused as InvalidArgument or parses to the same reference from its short form", () => {
  const texts = fc.oneof(fc.string({ maxLength: 60 }), fc.stringMatching(/^[a-z0-9./:@_-]{1,40}$/));
  fc.assert(
    fc.property(texts, (text) => {
      try {
        const reference = parseImageReference(text);
        assert.deepEqual(parseImageReference(familiarReference(reference)), reference);
        assert.deepEqual(parseImageReference(fullReference(reference)), reference);
      } catch (error) {
        if (!isSwarmError(error, "InvalidArgument")) throw error;
      }
    }),
  );
});
