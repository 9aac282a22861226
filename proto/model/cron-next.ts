// When a cron expression comes next on the clock of a time zone.
//
// Where a zone moves its clock: a schedule of every hour goes by the time that passes, so it runs in both of two like hours and makes up
// for nothing. One that names hours goes by the clock on the wall: what is skipped is run once when the clock has jumped, and what
// comes twice is run the first time only.

import type { UnixMs } from "../base/clock.ts";
import { SwarmError } from "../base/errors.ts";
import type { Cron } from "./cron.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** Zones are less than this before and behind UTC. */
const AHEAD_MAX_MS = 15 * HOUR_MS;
const BEHIND_MAX_MS = 13 * HOUR_MS;
/** February 29 can be eight years away. */
const DAYS_MAX = 8 * 366 + 2;

/** How far the clock of a zone is ahead of UTC at a time, in ms. */
export type ZoneOffset = (at: UnixMs) => number;

/** Of an IANA name; empty is UTC. Throws InvalidArgument for a name that is none. */
export function zoneOffset(timeZone: string): ZoneOffset {
  if (timeZone === "") return () => 0;
  const format = formatOf(timeZone);
  return (at) => {
    const name = format.formatToParts(at).find(({ type }) => type === "timeZoneName")?.value ?? "";
    const [, sign = "+", hours = 0, minutes = 0, seconds = 0] =
      /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(name) ?? [];
    const ms = (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * 1_000;
    return sign === "-" ? -ms : ms;
  };
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  } catch (error) {
    throw new SwarmError(
      "InvalidArgument",
      `invalid time zone "${timeZone}": it must be an IANA name, for example Europe/Berlin`,
      { cause: error },
    );
  }
}

/** The first time after `after` at which the expression matches, a whole minute; undefined when there is none (February 30). */
export function nextRun(
  cron: Cron,
  options: { readonly offset: ZoneOffset; readonly after: UnixMs },
): UnixMs | undefined {
  const { offset, after } = options;
  const today = Math.floor((after + offset(after)) / DAY_MS);
  // A clock that is put back at midnight can bring a day after the next one.
  for (let day = today - 1; day < today + DAYS_MAX; day += 1) {
    const first = firstOfDay(cron, { day, offset, after });
    if (first === undefined) continue;
    const inNextDay = firstOfDay(cron, { day: day + 1, offset, after });
    return inNextDay === undefined ? first : Math.min(first, inNextDay);
  }
  return undefined;
}

function matchesDay(cron: Cron, day: number): boolean {
  const date = new Date(day * DAY_MS);
  if (!cron.months.has(date.getUTCMonth() + 1)) return false;
  const inMonth = cron.days.has(date.getUTCDate());
  const inWeek = cron.weekdays.has(date.getUTCDay());
  return cron.eitherDay ? inMonth || inWeek : inMonth && inWeek;
}

/** The day is counted from 1970-01-01, on the zone's clock. */
function firstOfDay(
  cron: Cron,
  options: { readonly day: number; readonly offset: ZoneOffset; readonly after: UnixMs },
): UnixMs | undefined {
  const { day, offset, after } = options;
  if (!matchesDay(cron, day)) return undefined;
  const change = changeAround(day * DAY_MS, offset);
  if ((day + 1) * DAY_MS - Math.min(change.before, change.after) <= after) return undefined;
  let first: UnixMs | undefined;
  for (const hour of cron.hours)
    for (const minute of cron.minutes) {
      const local = day * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS;
      for (const at of timesOf(local, { change, everyHour: cron.hours.size === 24 }))
        if (at > after && (first === undefined || at < first)) first = at;
    }
  return first;
}

/** Until `at` the zone's clock has the one offset, from then on the other. */
interface Change {
  readonly at: UnixMs;
  readonly before: number;
  readonly after: number;
}

/** How the clock moves around a local day. A zone does not move it twice within two days. */
function changeAround(localDay: number, offset: ZoneOffset): Change {
  let from = localDay - AHEAD_MAX_MS;
  let to = localDay + DAY_MS + BEHIND_MAX_MS;
  const before = offset(from);
  const after = offset(to);
  if (before === after) return { at: from, before, after };
  while (to - from > MINUTE_MS) {
    const middle = Math.floor((from + to) / 2 / MINUTE_MS) * MINUTE_MS;
    if (offset(middle) === before) from = middle;
    else to = middle;
  }
  return { at: to, before, after };
}

/** When a time on the zone's clock is, the first before the second. */
function timesOf(local: number, facts: { readonly change: Change; readonly everyHour: boolean }): readonly UnixMs[] {
  const { change, everyHour } = facts;
  const times = [local - change.before].filter((at) => at < change.at);
  const later = local - change.after;
  if (later >= change.at) times.push(later);
  if (everyHour) return times;
  return times.length === 0 ? [change.at] : times.slice(0, 1);
}
