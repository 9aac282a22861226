// The log a shim writes and the reader of it: rotation, following, tails, long lines, what was lost.

import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { after, test } from "node:test";

import { type LogLineRecord, readExitFile, readLogs } from "../../native/index.ts";
import { systemClock } from "../../proto/base/clock.ts";
import { Harness, type Made, bound, execIn, logOf, textOf } from "./support/harness.ts";

const harness = new Harness();
after(() => harness.close());

const sh = (script: string): readonly string[] => ["sh", "-c", script];

async function ended(script: string, log: { readonly maxBytes: number; readonly maxFiles: number }): Promise<Made> {
  const made = await harness.start({ args: sh(script), log });
  assert.equal((await made.container.wait(bound())).code, 0);
  return made;
}

function follow(made: Made, change: { readonly tail?: number } = {}): AsyncGenerator<LogLineRecord, void, undefined> {
  return readLogs(
    {
      path: made.logPath,
      follow: true,
      tail: change.tail,
      sinceMs: 0,
      stdout: true,
      stderr: true,
      clock: systemClock,
      ended: () => readExitFile(join(made.dir, "exit.json")) !== undefined,
    },
    bound(),
  );
}

function numbers(lines: readonly LogLineRecord[]): number[] {
  return textOf(lines, false).trim().split("\n").map(Number);
}

test("a log is rotated by size, keeps so many files and reads as one", async () => {
  const made = await ended("seq 1 2000", { maxBytes: 4000, maxFiles: 4 });
  const files = readdirSync(dirname(made.logPath)).filter((name) => name.startsWith(basename(made.logPath)));
  assert.equal(files.length, 4);
  for (const file of files) assert.ok(statSync(join(dirname(made.logPath), file)).size < 4100);
  const kept = numbers(await logOf(made));
  assert.equal(kept.at(-1), 2000);
  assert.ok(kept.length > 300 && kept.length < 2000);
  assert.deepEqual(
    kept,
    Array.from({ length: kept.length }, (_, index) => 2001 - kept.length + index),
  );
  await harness.remove(made);
});

test("with one file only a rotation begins it anew", async () => {
  const made = await ended("seq 1 1000", { maxBytes: 4000, maxFiles: 1 });
  assert.ok(statSync(made.logPath).size < 4100);
  assert.equal(numbers(await logOf(made)).at(-1), 1000);
  await harness.remove(made);
});

test("a tail is the last lines, over files and by stream", async () => {
  const made = await ended("seq 1 2000; seq 1 5 >&2; printf open", { maxBytes: 4000, maxFiles: 10 });
  const last = numbers(await logOf(made, { tail: 500 })).filter((number) => !Number.isNaN(number));
  assert.ok(last.length >= 494 && last[0] !== undefined && last[0] > 1490);
  const three = readLogs(
    {
      path: made.logPath,
      follow: false,
      tail: 3,
      sinceMs: 0,
      stdout: false,
      stderr: true,
      clock: systemClock,
      ended: () => true,
    },
    bound(),
  );
  const lines: LogLineRecord[] = [];
  for await (const line of three) lines.push(line);
  assert.equal(textOf(lines, true), "3\n4\n5\n");
  assert.equal(textOf(await logOf(made, { tail: 0 }), false), "open");
  await harness.remove(made);
});

test("a line longer than 16 KiB comes in parts and loses nothing", async () => {
  const made = await ended("head -c 40000 /dev/zero | tr '\\0' 'x'; echo; echo end", { maxBytes: 0, maxFiles: 1 });
  const lines = await logOf(made);
  assert.equal(textOf(lines, false), `${"x".repeat(40_000)}\nend\n`);
  assert.equal(lines.length, 4);
  assert.deepEqual(
    lines.map((line) => line.kind === "line" && line.partial),
    [true, true, false, false],
  );
  await harness.remove(made);
});

test("following sees every line over many rotations and ends with the container", async () => {
  const made = await harness.make({
    args: sh("i=0; while [ $i -lt 1500 ]; do i=$((i+1)); echo $i; [ $((i % 100)) = 0 ] && sleep 0.02; done; true"),
    log: { maxBytes: 5000, maxFiles: 50 },
  });
  const lines: LogLineRecord[] = [];
  const following = (async () => {
    for await (const line of follow(made)) lines.push(line);
  })();
  await made.container.start(bound());
  await following;
  assert.deepEqual(
    numbers(lines),
    Array.from({ length: 1500 }, (_, index) => index + 1),
  );
  await harness.remove(made);
});

test("a follower that rotation overtook is told how many lines are missing", async () => {
  const made = await harness.make({
    args: sh("seq 1 100; while [ ! -e /go ]; do sleep 0.02; done; seq 101 5000; echo last"),
    log: { maxBytes: 4000, maxFiles: 2 },
  });
  const lines = follow(made);
  await made.container.start(bound());
  const seen: LogLineRecord[] = [];
  for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
    seen.push(next.value);
    if (seen.length !== 50) continue;
    assert.equal((await execIn(made.container, ["touch", "/go"])).code, 0);
    await made.container.wait(bound());
  }
  const told = seen.reduce((sum, line) => sum + (line.kind === "lost" ? line.lines : 0), 0);
  const got = seen.filter((line) => line.kind === "line").length;
  assert.ok(told > 0);
  assert.equal(told + got, 5001);
  assert.ok(textOf(seen, false).endsWith("5000\nlast\n"));
  await harness.remove(made);
});

test("following stops when its reader does", async () => {
  const made = await harness.start({ args: sh("echo up; sleep 1000") });
  const abort = new AbortController();
  const reading = (async () => {
    const options = { path: made.logPath, follow: true, tail: undefined, sinceMs: 0, stdout: true, stderr: true };
    for await (const line of readLogs({ ...options, clock: systemClock, ended: () => false }, abort.signal)) {
      assert.equal(line.kind, "line");
      abort.abort(new Error("enough"));
    }
  })();
  await assert.rejects(reading, /enough/);
  await harness.remove(made);
});

test("a container that writes without end is never held up and its log keeps its bounds", async () => {
  const made = await harness.start({
    args: sh("timeout 1 yes some words to fill the log with; exit 0"),
    log: { maxBytes: 200_000, maxFiles: 3 },
  });
  await made.container.wait(bound());
  const lines = await logOf(made);
  assert.ok(lines.length > 5000);
  // The last one is where the program was stopped.
  const whole = lines.filter((line) => line.kind === "line" && !line.stderr && !line.partial);
  assert.ok(whole.length >= lines.length - 2);
  for (const line of whole)
    assert.equal(line.kind === "line" && line.data.toString(), "some words to fill the log with");
  await harness.remove(made);
});
