// Join tokens: SwarmKit's form, there and back, and what is said of a text that is none.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { seededRandom } from "../../../proto/base/random.ts";
import { formatJoinToken, newJoinToken, parseJoinToken } from "../../../proto/model/join-token.ts";

const hex = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex"));

test("a token keeps its digest and its secret", () => {
  fc.assert(
    fc.property(hex, fc.nat(), (digest, seed) => {
      const text = newJoinToken(`sha256:${digest}`, seededRandom(seed));
      assert.match(text, /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
      const token = parseJoinToken(` ${text}\n`);
      assert.equal(token.caDigest, `sha256:${digest}`);
      assert.equal(formatJoinToken(token), text);
    }),
  );
});

test("a digest is written as a number of base 36", () => {
  const text = formatJoinToken({ caDigest: `sha256:${"0".repeat(62)}24`, secret: "0".repeat(25) });
  assert.equal(text, `SWMTKN-1-${"0".repeat(48)}10-${"0".repeat(25)}`);
});

test("what is no token is refused with what is wrong", () => {
  const good = newJoinToken(`sha256:${"ab".repeat(32)}`, seededRandom(1));
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /it is empty/],
    ["hello", /does not begin with SWMTKN-1-/],
    [good.replace("-1-", "-2-"), /of version 2, and this tsswarm knows version 1/],
    [good.slice(0, -1), /50 characters, a dash and 25/],
    [good.toUpperCase().replace("SWMTKN", "SWMTKN"), /50 characters/],
    [`${good}${"x".repeat(200)}`, /too long/],
    [`SWMTKN-1-${"z".repeat(50)}-${"0".repeat(25)}`, /its digest is too large/],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => parseJoinToken(text),
      (error) =>
        isSwarmError(error, "InvalidArgument") &&
        message.test(error.message) &&
        /join-token worker/.test(error.message),
      text,
    );
  }
});

test("an error never holds the secret", () => {
  const good = newJoinToken(`sha256:${"ab".repeat(32)}`, seededRandom(1));
  const secret = good.slice(-25);
  assert.throws(
    () => parseJoinToken(`x${good}`),
    (error) => isSwarmError(error) && !error.message.includes(secret),
  );
});
