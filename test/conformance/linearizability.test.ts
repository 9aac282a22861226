// The linearizability checker against histories that others recorded and judged: it must come to the same verdict on every one.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { testEachFile } from "../raft/support/conformance.ts";
import { parseJepsenLog, registerModel } from "../support/jepsen-log.ts";
import { checkLinearizable } from "../support/linearizability.ts";

testEachFile(
  "linearizability",
  (file) => {
    const history = parseJepsenLog(readFileSync(file, "utf8"));
    assert.ok(history.length > 0, `${file} holds a history`);
    assert.equal(checkLinearizable(registerModel, history), verdictOf(file));
  },
  { ending: ".log" },
);

function verdictOf(file: string): string {
  const folder = join(file, "..");
  const name = file.slice(folder.length + 1);
  const lines = readFileSync(join(folder, "EXPECTED.txt"), "utf8").split("\n");
  const verdict = lines.map((line) => line.trim().split(/\s+/)).find(([each]) => each === name)?.[1];
  assert.ok(verdict !== undefined, `EXPECTED.txt says what ${name} is`);
  return verdict;
}

test("a call that nobody saw end may have happened late, or never, and not before it began", () => {
  const unseen = { calledAt: 0, input: { kind: "write", value: 1 } } as const;
  const read = (calledAt: number, value: number | null) =>
    ({ calledAt, input: { kind: "read" }, returned: { at: calledAt + 1, output: { value } } }) as const;
  assert.equal(checkLinearizable(registerModel, [unseen, read(1, null), read(3, null)]), "linearizable");
  assert.equal(checkLinearizable(registerModel, [unseen, read(1, null), read(3, 1)]), "linearizable");
  assert.equal(checkLinearizable(registerModel, [unseen, read(1, 1), read(3, null)]), "not-linearizable");
  assert.equal(checkLinearizable(registerModel, [read(-2, 1), unseen]), "not-linearizable");
});

test("a history that takes too many tries is unknown", () => {
  const writes = Array.from({ length: 12 }, (_, value) => ({
    calledAt: 0,
    input: { kind: "write", value } as const,
    returned: { at: 1, output: { swapped: true } },
  }));
  const impossible = { calledAt: 2, input: { kind: "read" } as const, returned: { at: 3, output: { value: 99 } } };
  assert.equal(checkLinearizable(registerModel, [...writes, impossible], { stepsMax: 1_000 }), "unknown");
});

test("what Jepsen logs in other words is read as it means it", () => {
  const log = [
    "INFO  jepsen.util - :nemesis\t:info\t:start\tnil",
    "INFO  jepsen.util - 0\t:invoke\t:write\t1",
    "INFO  jepsen.util - 1\t:invoke\t:read\tnil",
    "INFO  jepsen.util - 0\t:info\t:write\t:timed-out",
    "INFO  jepsen.util - 1\t:fail\t:read\t:timed-out",
    "INFO  jepsen.util - 2\t:invoke\t:cas\t[1 2]",
    "INFO  jepsen.util - 2\t:fail\t:cas\t[1 2]",
    "INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]",
  ];
  assert.deepEqual(parseJepsenLog(log.join("\n")), [
    { calledAt: 1, input: { kind: "write", value: 1 } },
    { calledAt: 5, input: { kind: "cas", from: 1, to: 2 }, returned: { at: 6, output: { swapped: false } } },
    { calledAt: 7, input: { kind: "cas", from: 1, to: 2 } },
  ]);
});
