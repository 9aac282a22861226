// Cron expressions: what they match, when they come next, and what they do where a zone moves its clock.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Cron, parseCron } from "../../../proto/model/cron.ts";
import { nextRun, zoneOffset } from "../../../proto/model/cron-next.ts";

const MINUTE = 60_000;
const DAY = 86_400_000;

/** The next `count` runs after a time, in ISO form to the minute, UTC. */
function runs(expression: string, from: string, options: { readonly zone?: string; readonly count?: number } = {}) {
  const { zone = "", count = 3 } = options;
  const cron = parseCron(expression);
  const offset = zoneOffset(zone);
  const found: string[] = [];
  let after = Date.parse(from);
  for (let made = 0; made < count; made += 1) {
    const next = nextRun(cron, { offset, after });
    if (next === undefined) break;
    found.push(new Date(next).toISOString().slice(0, 16));
    after = next;
  }
  return found;
}

test("fields, steps, lists, names and words mean what cron means by them", () => {
  const from = "2026-11-23T09:31:20Z";
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["*/5 * * * *", ["2026-11-23T09:35", "2026-11-23T09:40", "2026-11-23T09:45"]],
    ["7/20 * * * *", ["2026-11-23T09:47", "2026-11-23T10:07", "2026-11-23T10:27"]],
    ["0 9-17/4 * * mon-fri", ["2026-11-23T13:00", "2026-11-23T17:00", "2026-11-24T09:00"]],
    ["30 6,18 * * *", ["2026-11-23T18:30", "2026-11-24T06:30", "2026-11-24T18:30"]],
    ["0 0 * * 7", ["2026-11-29T00:00", "2026-12-06T00:00", "2026-12-13T00:00"]],
    ["0 0 * * fri-sun", ["2026-11-27T00:00", "2026-11-28T00:00", "2026-11-29T00:00"]],
    ["0 0 29 FEB *", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]],
    // Both fields of days are narrowed: either will do. A star in one: the other decides.
    ["0 0 25 * tue", ["2026-11-24T00:00", "2026-11-25T00:00", "2026-12-01T00:00"]],
    ["0 0 */10 * mon", ["2026-12-21T00:00", "2027-01-11T00:00", "2027-02-01T00:00"]],
    ["@hourly", ["2026-11-23T10:00", "2026-11-23T11:00", "2026-11-23T12:00"]],
    ["@daily", ["2026-11-24T00:00", "2026-11-25T00:00", "2026-11-26T00:00"]],
    ["@weekly", ["2026-11-29T00:00", "2026-12-06T00:00", "2026-12-13T00:00"]],
    ["@monthly", ["2026-12-01T00:00", "2027-01-01T00:00", "2027-02-01T00:00"]],
    ["@Yearly", ["2027-01-01T00:00", "2028-01-01T00:00", "2029-01-01T00:00"]],
    ["0 0 30 2 *", []],
  ];
  for (const [expression, expected] of cases) assert.deepEqual(runs(expression, from), expected, expression);
});

test("what is no schedule is refused with a sentence that names the field", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /"": it must have five fields/],
    ["* * * *", /five fields/],
    ["* * * * * *", /five fields/],
    ["60 * * * *", /"60" is no minute: it must be \*, a number from 0 to 59/],
    ["* 24 * * *", /"24" is no hour/],
    ["* * 0 * *", /"0" is no day of month/],
    ["* * * foo *", /"foo" is no month: .*a name from jan to dec/],
    ["* * * * 8", /"8" is no day of week: .*a name from sun to sat/],
    ["5-1 * * * *", /"5-1" is no minute/],
    ["*/0 * * * *", /"\*\/0" is no minute/],
    ["*-5 * * * *", /"\*-5" is no minute/],
    ["1,,2 * * * *", /"" is no minute/],
    ["-1 * * * *", /"-1" is no minute/],
    ["@reboot", /the words are @yearly, .*@hourly/],
    ["*".repeat(300), /more than 256 characters/],
  ];
  for (const [expression, reason] of cases)
    assert.throws(() => parseCron(expression), { code: "InvalidArgument", message: reason }, expression);
  assert.throws(() => zoneOffset("Mars/Olympus"), { code: "InvalidArgument", message: /invalid time zone "Mars\/Ol/ });
});

test("a time on the wall that the clock skips is run once when it has jumped", () => {
  const zone = "Europe/Berlin";
  // 2027-03-28: 02:00 CET is 03:00 CEST, 01:00 UTC.
  assert.deepEqual(runs("*/15 2 * * *", "2027-03-27T12:00:00Z", { zone }), [
    "2027-03-28T01:00",
    "2027-03-29T00:00",
    "2027-03-29T00:15",
  ]);
});

test("a time on the wall that comes twice is run the first time", () => {
  const zone = "Europe/Berlin";
  // 2026-10-25: 03:00 CEST is 02:00 CET, 01:00 UTC.
  assert.deepEqual(runs("30 2 * * *", "2026-10-24T12:00:00Z", { zone }), [
    "2026-10-25T00:30",
    "2026-10-26T01:30",
    "2026-10-27T01:30",
  ]);
});

test("a schedule of every hour goes by the time that passes", () => {
  const zone = "America/New_York";
  assert.deepEqual(runs("0 * * * *", "2026-11-01T04:30:00Z", { zone, count: 4 }), [
    "2026-11-01T05:00",
    "2026-11-01T06:00",
    "2026-11-01T07:00",
    "2026-11-01T08:00",
  ]);
  assert.deepEqual(runs("30 * * * *", "2026-03-08T06:00:00Z", { zone }), [
    "2026-03-08T06:30",
    "2026-03-08T07:30",
    "2026-03-08T08:30",
  ]);
});

const range = (min: number, max: number): fc.Arbitrary<string> =>
  fc
    .tuple(fc.integer({ min, max }), fc.integer({ min, max }), fc.integer({ min: 1, max: 9 }))
    .map(([a, b, step]) => `${Math.min(a, b)}-${Math.max(a, b)}/${step}`);
const field = (min: number, max: number): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant("*") },
    range(min, max),
    fc.integer({ min: 1, max: 9 }).map((step) => `*/${step}`),
    fc.uniqueArray(fc.integer({ min, max }).map(String), { minLength: 1, maxLength: 3 }).map((list) => list.join(",")),
  );
const days = fc.tuple(field(1, 31), field(1, 12), field(0, 7));
const ZONES = ["", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Asuncion", "Asia/Kathmandu"];
/** About each of the changes of a year. */
const time = fc
  .tuple(
    fc.constantFrom("2024-03-10", "2024-03-31", "2024-04-07", "2024-10-06", "2024-10-27", "2024-11-03", "2024-02-29"),
    fc.integer({ min: -30 * 60, max: 30 * 60 }),
  )
  .map(([date, minutes]) => Date.parse(date) + minutes * MINUTE);

function matches(cron: Cron, local: number): boolean {
  const date = new Date(local);
  const inMonth = cron.days.has(date.getUTCDate());
  const inWeek = cron.weekdays.has(date.getUTCDay());
  return (
    cron.minutes.has(date.getUTCMinutes()) &&
    cron.hours.has(date.getUTCHours()) &&
    cron.months.has(date.getUTCMonth() + 1) &&
    (cron.eitherDay ? inMonth || inWeek : inMonth && inWeek)
  );
}

test("a schedule of every hour comes at exactly the minutes whose clock matches", () => {
  fc.assert(
    fc.property(field(0, 59), days, fc.constantFrom(...ZONES), time, (minute, date, zone, after) => {
      const cron = parseCron(`${minute} * ${date.join(" ")}`);
      const offset = zoneOffset(zone);
      let expected: number | undefined;
      for (let at = (Math.floor(after / MINUTE) + 1) * MINUTE; at <= after + 2 * DAY; at += MINUTE)
        if (matches(cron, at + offset(at))) {
          expected = at;
          break;
        }
      const next = nextRun(cron, { offset, after });
      if (expected === undefined) assert.ok(next === undefined || next > after + 2 * DAY);
      else assert.equal(next, expected);
    }),
    { numRuns: 60 },
  );
});

test("a schedule that names hours comes once for each time on the wall, and on time where the clock is steady", () => {
  fc.assert(
    fc.property(field(0, 59), fc.integer({ min: 0, max: 23 }), days, fc.constantFrom(...ZONES), time, (...given) => {
      const [minute, hour, date, zone, from] = given;
      const cron = parseCron(`${minute} ${hour} ${date.join(" ")}`);
      const offset = zoneOffset(zone);
      const walls = new Set<number>();
      let after = from;
      for (let run = 0; run < 70; run += 1) {
        const next = nextRun(cron, { offset, after });
        if (next === undefined) return;
        assert.ok(next > after && next % MINUTE === 0);
        const wall = next + offset(next);
        assert.ok(!walls.has(wall), "no time on the wall comes twice");
        walls.add(wall);
        const hasJumped = offset(next) > offset(next - MINUTE);
        assert.ok(matches(cron, wall) || hasJumped, `${new Date(next).toISOString()} matches ${minute} ${hour}`);
        after = next;
      }
    }),
    { numRuns: 60 },
  );
});
