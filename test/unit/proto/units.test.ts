// Sizes, durations and CPUs: what Docker's command accepts and prints.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isSwarmError } from "../../../proto/base/errors.ts";
import {
  humanDuration,
  parseBytes,
  parseCpus,
  parseDuration,
  printBytes,
  printCpus,
  printDecimalBytes,
  printDuration,
} from "../../../proto/base/units.ts";

function refuses(parse: (text: string) => number, texts: readonly string[], words: RegExp): void {
  for (const text of texts) {
    assert.throws(
      () => parse(text),
      (error) => isSwarmError(error, "InvalidArgument") && words.test(error.message),
      `${JSON.stringify(text)} is refused`,
    );
  }
}

test("sizes are read in powers of 1024, whatever the case of the unit", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["0", 0],
    ["512", 512],
    ["64m", 64 * 1024 ** 2],
    ["64M", 64 * 1024 ** 2],
    ["64mb", 64 * 1024 ** 2],
    ["64MiB", 64 * 1024 ** 2],
    ["1GiB", 1024 ** 3],
    ["1.5g", 1.5 * 1024 ** 3],
    [".5k", 512],
    ["10 kB", 10240],
    ["2t", 2 * 1024 ** 4],
    ["7b", 7],
  ];
  for (const [text, bytes] of cases) assert.equal(parseBytes(text), bytes, text);
});

test("a text that is no size is refused with the valid forms", () => {
  refuses(parseBytes, ["", "m", "-1", "1x", "1e3", "64 m b", "0x10", "1..5g", "NaN", "9".repeat(50)], /64m or 1GiB/);
  refuses(parseBytes, ["9007199254740993p"], /at most/);
});

test("sizes are printed with four digits in binary and three in decimal units", () => {
  assert.equal(printBytes(0), "0B");
  assert.equal(printBytes(512), "512B");
  assert.equal(printBytes(64 * 1024 ** 2), "64MiB");
  assert.equal(printBytes(1234567), "1.177MiB");
  assert.equal(printDecimalBytes(1_240_000), "1.24MB");
  assert.equal(printDecimalBytes(999), "999B");
  assert.equal(printDecimalBytes(13_256), "13.3kB");
});

test("durations are read as Go reads them", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["0", 0],
    ["0s", 0],
    ["10s", 10_000],
    ["1m30s", 90_000],
    ["1.5h", 5_400_000],
    ["500ms", 500],
    ["1h2m3s4ms", 3_723_004],
    ["2160h", 7_776_000_000],
    ["1500us", 2],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
});

test("a text that is no duration is refused with the valid forms", () => {
  refuses(parseDuration, ["", "10", "s", "-5s", "1d", "1 s", "5s5", "1e3s", "9".repeat(70) + "s"], /such as 10s/);
  refuses(parseDuration, ["10us", "1ns"], /at least 1ms/);
  refuses(parseDuration, ["99999999999999999h"], /duration/);
});

test("a printed duration is read back as the same number", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 ** 12 }), (ms) => {
      assert.equal(parseDuration(printDuration(ms)), ms);
    }),
  );
  assert.equal(printDuration(90_000), "1m30s");
  assert.equal(printDuration(7_776_000_000), "2160h0m0s");
  assert.equal(printDuration(1_500), "1.5s");
  assert.equal(printDuration(0), "0s");
});

test("lengths of time are told as Docker's tables tell them", () => {
  const minute = 60_000;
  const hour = 60 * minute;
  const day = 24 * hour;
  const cases: readonly (readonly [number, string])[] = [
    [400, "Less than a second"],
    [1_000, "1 second"],
    [59_999, "59 seconds"],
    [minute, "About a minute"],
    [2 * minute, "2 minutes"],
    [59 * minute, "59 minutes"],
    [hour, "About an hour"],
    [3 * hour, "3 hours"],
    [47 * hour, "47 hours"],
    [2 * day, "2 days"],
    [14 * day, "2 weeks"],
    [61 * day, "2 months"],
    [800 * day, "2 years"],
  ];
  for (const [ms, text] of cases) assert.equal(humanDuration(ms), text);
});

test("CPUs are read exactly and printed as written", () => {
  assert.equal(parseCpus("0.5"), 500_000_000);
  assert.equal(parseCpus("2"), 2_000_000_000);
  assert.equal(parseCpus(".25"), 250_000_000);
  assert.equal(parseCpus("1."), 1_000_000_000);
  assert.equal(parseCpus("0.000000001"), 1);
  assert.equal(printCpus(1_500_000_000), "1.5");
  refuses(parseCpus, ["", ".", "-1", "1e2", "a", "0.0000000001", "1,5"], /such as 0.5 or 2/);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 ** 15 }), (nano) => {
      assert.equal(parseCpus((nano / 1e9).toFixed(9)), nano);
    }),
  );
});
