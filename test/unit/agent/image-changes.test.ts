// `image import --change`: the instructions that are taken, and what is said of the others.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applyChanges } from "../../../agent/image/changes.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";

test("each instruction sets its part of the configuration", () => {
  assert.deepEqual(
    applyChanges({}, [
      'ENTRYPOINT ["/bin/app", "-v"]',
      "CMD echo hello world",
      "ENV A=1 B=\"two words\" C='$x'",
      "env D four words",
      "ENV A=2",
      "EXPOSE 80 53/udp 8000-8002/tcp",
      'LABEL a=b "c d"="e f"',
      "STOPSIGNAL SIGQUIT",
      "USER 1000:100",
      "WORKDIR /srv",
      "WORKDIR data",
      'VOLUME ["/a", "/b"]',
      "VOLUME /c /d",
    ]),
    {
      Entrypoint: ["/bin/app", "-v"],
      Cmd: ["/bin/sh", "-c", "echo hello world"],
      Env: ["B=two words", "C=$x", "D=four words", "A=2"],
      ExposedPorts: { "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {} },
      Labels: { a: "b", "c d": "e f" },
      StopSignal: "SIGQUIT",
      User: "1000:100",
      WorkingDir: "/srv/data",
      Volumes: { "/a": {}, "/b": {}, "/c": {}, "/d": {} },
    },
  );
});

test("what is no instruction, or a wrong one, is refused by name", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["RUN make", /RUN is not a valid change command/],
    ["", /not a valid change command/],
    ["constructor x", /not a valid change command/],
    ["CMD", /CMD requires at least one argument/],
    ["ENV =x", /NAME=VALUE/],
    ["EXPOSE http", /port like 80/],
    ["EXPOSE 70000", /port like 80/],
    ["EXPOSE 90-80", /port like 80/],
    ["USER a b", /exactly one/],
    ["STOPSIGNAL SIGNOPE", /is no signal/],
    ['LABEL a="b', /quote is not closed/],
    [`CMD ${"x".repeat(70_000)}`, /too long/],
  ];
  for (const [line, words] of cases) {
    assert.throws(
      () => applyChanges({}, [line]),
      (error) => {
        assert.ok(isSwarmError(error, "InvalidArgument"), line);
        assert.match(error.message, words);
        return true;
      },
    );
  }
  assert.throws(
    () =>
      applyChanges(
        {},
        Array.from({ length: 501 }, () => "USER a"),
      ),
    /more than 500/,
  );
});

test("any line is either taken or refused as InvalidArgument", () => {
  const names = fc.constantFrom("CMD", "ENV", "LABEL", "EXPOSE", "VOLUME", "WORKDIR", "");
  fc.assert(
    fc.property(names, fc.string(), (name, rest) => {
      try {
        applyChanges({}, [`${name} ${rest}`]);
      } catch (error) {
        if (!isSwarmError(error, "InvalidArgument")) throw error;
      }
    }),
  );
});
