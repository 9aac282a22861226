// Signals by name and number.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isSwarmError } from "../../../proto/base/errors.ts";
import { parseSignal, signalName } from "../../../proto/base/signals.ts";

test("a signal is read by its name with or without SIG, in any case, or by its number", () => {
  for (const text of ["SIGTERM", "TERM", "term", "sigterm", "15", " 15 "]) assert.equal(parseSignal(text), 15, text);
  assert.equal(parseSignal("KILL"), 9);
  assert.equal(parseSignal("RTMIN"), 34);
  assert.equal(parseSignal("SIGRTMIN+3"), 37);
  assert.equal(parseSignal("SIGRTMAX-1"), 63);
  assert.equal(signalName(15), "SIGTERM");
});

test("what is no signal is refused by a sentence that names it and the valid forms", () => {
  for (const text of ["", "0", "65", "-9", "SIGFOO", "RTMIN+40", "15.0"]) {
    assert.throws(
      () => parseSignal(text),
      (error) => isSwarmError(error, "InvalidArgument") && error.message.includes("SIGTERM or TERM"),
      text,
    );
  }
});
