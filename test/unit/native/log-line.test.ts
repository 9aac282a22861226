// The two text forms a shim leaves behind: lines of a log and the exit record.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { readExitFile } from "../../../native/exit-file.ts";
import { parseLogLine } from "../../../native/log-line.ts";

test("a line of a log tells its time, stream, data and whether it is whole", () => {
  assert.deepEqual(parseLogLine(Buffer.from("1795399876797550 o F hello world")), {
    kind: "line",
    atUs: 1795399876797550,
    stderr: false,
    partial: false,
    data: Buffer.from("hello world"),
  });
  const part = parseLogLine(Buffer.from("5 e P "));
  assert.deepEqual(part, { kind: "line", atUs: 5, stderr: true, partial: true, data: Buffer.alloc(0) });
  assert.deepEqual(parseLogLine(Buffer.from("# 42")), { kind: "number", next: 42 });
});

test("what is no line of a log is none", () => {
  for (const text of [
    "",
    "#",
    "# x",
    "12",
    "12 o F",
    "x o F data",
    "12 x F data",
    "12 o X data",
    " o F data",
    "\0\0\0\0\0\0\0\0",
  ]) {
    assert.equal(parseLogLine(Buffer.from(text)), undefined, JSON.stringify(text));
  }
});

test("an exit record is read back, and half of one is none", () => {
  const dir = mkdtempSync(join(tmpdir(), "tsswarm-exit-"));
  const path = join(dir, "exit.json");
  try {
    assert.equal(readExitFile(path), undefined);
    const json = '{"code":137,"signal":9,"oomKilled":true,"startedAtMs":1,"exitedAtMs":2,"failure":""}\n';
    writeFileSync(path, json);
    assert.deepEqual(readExitFile(path), { code: 137, signal: 9, oomKilled: true, startedAtMs: 1, exitedAtMs: 2 });
    writeFileSync(path, json.replace('"failure":""', '"failure":"no such \\"thing\\""'));
    assert.equal(readExitFile(path)?.failure, 'no such "thing"');
    for (const half of ["", json.slice(0, 20), "null", "[]", '{"code":"1"}']) {
      writeFileSync(path, half);
      assert.equal(readExitFile(path), undefined);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
