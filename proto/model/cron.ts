// Cron expressions: five fields (minute, hour, day of month, month, day of week) or a word such as @daily, read into the numbers that
// match. When that is, on the clock of a time zone, is cron-next.ts's.

import { SwarmError } from "../base/errors.ts";

export interface Cron {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  /** 1 is January. */
  readonly months: ReadonlySet<number>;
  /** 0 is Sunday. */
  readonly weekdays: ReadonlySet<number>;
  /** Both fields of days are narrowed: a day matches when one of them does (Vixie cron). */
  readonly eitherDay: boolean;
}

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Words for `min` and the numbers after it. */
  readonly words?: readonly string[];
}

const FIELDS: readonly [Field, Field, Field, Field, Field] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of month", min: 1, max: 31 },
  {
    name: "month",
    min: 1,
    max: 12,
    words: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
  },
  // Sunday is 0 and 7.
  { name: "day of week", min: 0, max: 7, words: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

const WORDS: ReadonlyMap<string, string> = new Map([
  ["@yearly", "0 0 1 1 *"],
  ["@annually", "0 0 1 1 *"],
  ["@monthly", "0 0 1 * *"],
  ["@weekly", "0 0 * * 0"],
  ["@daily", "0 0 * * *"],
  ["@midnight", "0 0 * * *"],
  ["@hourly", "0 * * * *"],
]);

const LENGTH_MAX = 256;

/** Throws InvalidArgument, saying which field cannot be. */
export function parseCron(expression: string): Cron {
  if (expression.length > LENGTH_MAX)
    throw refused(expression.slice(0, 40), `it has more than ${LENGTH_MAX} characters`);
  const text = expression.trim().toLowerCase();
  if (text.startsWith("@") && !WORDS.has(text))
    throw refused(expression, `the words are ${[...WORDS.keys()].join(", ")}`);
  const parts = (WORDS.get(text) ?? text).split(/\s+/);
  if (parts.length !== FIELDS.length)
    throw refused(
      expression,
      `it must have five fields (minute, hour, day of month, month, day of week), for example "*/5 * * * *"`,
    );
  const [minutes, hours, days, months, weekdays] = FIELDS.map((field, at) =>
    numbersOf(field, { text: parts[at] ?? "", expression }),
  ) as [Set<number>, Set<number>, Set<number>, Set<number>, Set<number>];
  if (weekdays.delete(7)) weekdays.add(0);
  const eitherDay = parts[2]?.startsWith("*") === false && parts[4]?.startsWith("*") === false;
  return { minutes, hours, days, months, weekdays, eitherDay };
}

interface Part {
  readonly text: string;
  readonly expression: string;
}

function numbersOf(field: Field, part: Part): Set<number> {
  const numbers = new Set<number>();
  for (const item of part.text.split(",")) {
    const { from, to, step } = rangeOf(field, { ...part, text: item });
    for (let number = from; number <= to; number += step) numbers.add(number);
  }
  return numbers;
}

/** "*", "5", "1-5", each with "/2" behind it; "5/2" is from 5 to the end. */
function rangeOf(field: Field, part: Part): { readonly from: number; readonly to: number; readonly step: number } {
  const match = /^(\*|[a-z\d]+)(?:-([a-z\d]+))?(?:\/(\d{1,4}))?$/.exec(part.text);
  if (match === null || (match[1] === "*" && match[2] !== undefined)) throw refusedItem(field, part);
  const [, first = "", last, step] = match;
  // Day 7 is Sunday, which is counted once.
  const end = field.words?.[0] === "sun" && last === undefined ? 6 : field.max;
  const from = first === "*" ? field.min : numberOf(field, { ...part, text: first });
  const isOpen = first === "*" || (last === undefined && step !== undefined);
  const named = last === undefined ? from : numberOf(field, { ...part, text: last });
  const to = isOpen ? end : last === "sun" ? 7 : named;
  const by = step === undefined ? 1 : Number(step);
  if (from > to || by === 0) throw refusedItem(field, part);
  return { from, to, step: by };
}

function numberOf(field: Field, part: Part): number {
  const word = field.words?.indexOf(part.text) ?? -1;
  if (word >= 0) return word + field.min;
  const number = /^\d{1,4}$/.test(part.text) ? Number(part.text) : NaN;
  if (!(number >= field.min && number <= field.max)) throw refusedItem(field, part);
  return number;
}

function refusedItem({ name, min, max, words }: Field, { text, expression }: Part): SwarmError {
  const also = words === undefined ? "" : ` or a name from ${words[0]} to ${words.at(-1)}`;
  return refused(
    expression,
    `"${text}" is no ${name}: it must be *, a number from ${min} to ${max}${also}, a range, or a list of them, each with an optional /STEP`,
  );
}

function refused(expression: string, why: string): SwarmError {
  return new SwarmError("InvalidArgument", `invalid schedule "${expression}": ${why}`);
}
