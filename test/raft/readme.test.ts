// The README of raft-ts: its example is the one that runs here, and its tables name all that the package's door gives.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runExample } from "./support/readme-example.ts";

const readme = readFileSync(join(import.meta.dirname, "../../manager/raft/README.md"), "utf8");

for (const isAsync of [false, true]) {
  test(`the README's example runs with ${isAsync ? "asynchronous" : "synchronous"} storage`, () => {
    const members = runExample(isAsync);
    for (const { state } of members) assert.deepEqual(state, ["hello", "world"]);
    const read = members.flatMap(({ reads }) => reads);
    assert.deepEqual(read, [4], "the empty entry of the leader, and two proposals after the snapshot at 1");
  });
}

test("the README shows the example as it runs", () => {
  const source = readFileSync(join(import.meta.dirname, "support/readme-example.ts"), "utf8");
  const code = source.slice(source.indexOf("import {"));
  assert.ok(readme.includes(code), "the block in manager/raft/README.md differs from support/readme-example.ts");
});

test("the README names everything that the package exports", () => {
  const door = readFileSync(join(import.meta.dirname, "../../manager/raft/index.ts"), "utf8");
  const names = [...door.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list = ""]) =>
    list.split(",").map((name) => name.replace("type ", "").trim()),
  );
  const missing = names.filter((name) => name !== "" && !readme.includes(`\`${name}`));
  assert.deepEqual(missing, []);
});
