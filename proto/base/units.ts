// Sizes, durations and numbers of processors as people write them for Docker, to the plain numbers that specs hold, and back.
// The forms are those of Docker's command: sizes are binary ("64m" is 64 MiB), durations are Go's ("1m30s").

import { SwarmError } from "./errors.ts";

const SIZE = /^(\d+(?:\.\d+)?|\.\d+) ?(?:([kmgtp])?i?b?)$/i;
const BINARY_PREFIXES = ["", "k", "m", "g", "t", "p"];
const BINARY_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const DECIMAL_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes of "64m", "1GiB", "1.5g", "512" or "10 kB"; prefixes are powers of 1024. Throws InvalidArgument. */
export function parseBytes(text: string): number {
  const match = text.length > 40 ? null : SIZE.exec(text);
  if (match === null)
    throw invalid(text, "size", "a number with an optional unit b, k, m, g, t or p, such as 64m or 1GiB");
  const power = BINARY_PREFIXES.indexOf((match[2] ?? "").toLowerCase());
  const bytes = Math.floor(Number(match[1]) * 1024 ** power);
  if (!Number.isSafeInteger(bytes)) throw invalid(text, "size", "at most 8191 TiB");
  return bytes;
}

/** "64MiB", "1.5GiB", "512B": four significant digits, as `docker stats` and `inspect --pretty` print. */
export function printBytes(bytes: number): string {
  return scaled(bytes, { base: 1024, units: BINARY_UNITS, digits: 4 });
}

/** "1.24MB": powers of 1000 and three significant digits, as `docker image ls` prints sizes. */
export function printDecimalBytes(bytes: number): string {
  return scaled(bytes, { base: 1000, units: DECIMAL_UNITS, digits: 3 });
}

function scaled(
  value: number,
  { base, units, digits }: { readonly base: number; readonly units: readonly string[]; readonly digits: number },
): string {
  let rest = value;
  let unit = 0;
  while (rest >= base && unit < units.length - 1) {
    rest /= base;
    unit += 1;
  }
  // Rounding 999.9 to three digits gives 1000; Number() drops trailing zeros and the exponent that toPrecision writes.
  return `${Number(rest.toPrecision(digits))}${units[unit] ?? ""}`;
}

const DURATION_UNITS_NS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
const DURATION_PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g;
const DURATION = /^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/;
const DURATION_FORMS = "numbers with units h, m, s or ms, such as 10s, 1m30s or 500ms";

/**
 * Milliseconds of "10s", "1m30s", "1.5h", "500ms" or "0". A duration that is not zero and shorter than a millisecond is
 * refused; longer ones are rounded to whole milliseconds. Throws InvalidArgument.
 */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  if (text.length > 60 || !DURATION.test(text)) throw invalid(text, "duration", DURATION_FORMS);
  let ns = 0;
  for (const [, amount, unit] of text.matchAll(DURATION_PART))
    ns += Number(amount) * (DURATION_UNITS_NS[unit ?? ""] ?? 0);
  const ms = Math.round(ns / 1e6);
  if (ns > 0 && ns < 1e6) throw invalid(text, "duration", "0 or at least 1ms");
  if (!Number.isSafeInteger(ms)) throw invalid(text, "duration", DURATION_FORMS);
  return ms;
}

/** "1m30s", "500ms", "1.5s", "2160h0m0s": as Go prints a duration, which is what `docker inspect --pretty` shows. */
export function printDuration(ms: number): string {
  const sign = ms < 0 ? "-" : "";
  const size = Math.abs(ms);
  if (size === 0) return "0s";
  if (size < 1000) return `${sign}${size}ms`;
  const hours = Math.floor(size / 3_600_000);
  const minutes = Math.floor((size % 3_600_000) / 60_000);
  const seconds = `${(size % 60_000) / 1000}s`;
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
}

/** "About a minute", "3 hours", "2 weeks": the length of a time as Docker's tables show it; the caller adds " ago". */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(ms / 60_000);
  const hours = Math.floor(ms / 3_600_000 + 0.5);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 14) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 60) return `${Math.floor(hours / 168)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 720)} months`;
  return `${Math.floor(ms / 3_600_000 / 24 / 365)} years`;
}

const NANO = 1_000_000_000;

/** Billionths of a processor of "0.5", "2" or ".25"; at most nine digits after the point. Throws InvalidArgument. */
export function parseCpus(text: string): number {
  const match = text.length > 30 ? null : /^(\d*)(?:\.(\d{0,9}))?$/.exec(text);
  if (match === null || !/\d/.test(text))
    throw invalid(
      text,
      "number of CPUs",
      "a decimal number with at most nine digits after the point, such as 0.5 or 2",
    );
  const nano = Number(match[1]) * NANO + Number((match[2] ?? "").padEnd(9, "0"));
  if (!Number.isSafeInteger(nano)) throw invalid(text, "number of CPUs", "at most 9007199");
  return nano;
}

/** "0.5" of 500000000. */
export function printCpus(nanoCpus: number): string {
  return String(nanoCpus / NANO);
}

function invalid(text: string, what: string, forms: string): SwarmError {
  const shown = text.length > 60 ? `${text.slice(0, 60)}...` : text;
  return new SwarmError("InvalidArgument", `invalid ${what} ${JSON.stringify(shown)}: write ${forms}`);
}
