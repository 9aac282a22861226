// Filters of lists: several keys must all hold, a key by any of its values. Each noun brings a table of the keys it has
// (Docker's); any other key is refused with that list.

import { SwarmError } from "../../proto/base/errors.ts";
import type { Filter } from "../../proto/gen/control.ts";

/** Decides on one value of one key. May throw InvalidArgument for a value that the key cannot have. */
export type FilterTest<T> = (value: string) => (object: T) => boolean;
export type FilterTable<T> = Readonly<Record<string, FilterTest<T>>>;

const FILTERS_MAX = 32;
const VALUES_MAX = 256;
const VALUE_LENGTH_MAX = 1_024;

/** One test of all the filters. Throws InvalidArgument for an unknown key, a bad value or too many. */
export function compileFilters<T>(filters: readonly Filter[], table: FilterTable<T>): (object: T) => boolean {
  if (filters.length > FILTERS_MAX)
    throw new SwarmError("InvalidArgument", `${filters.length} filters were given; ${FILTERS_MAX} are allowed`);
  const tests = filters.map(({ key, values }) => {
    const test = Object.hasOwn(table, key) ? table[key] : undefined;
    if (test === undefined) throw unknownKey(key, Object.keys(table));
    if (values.length > VALUES_MAX || values.some((value) => value.length > VALUE_LENGTH_MAX))
      throw new SwarmError("InvalidArgument", `filter '${key}' has too many or too long values`);
    const anyOf = values.map(test);
    return (object: T): boolean => anyOf.length === 0 || anyOf.some((holds) => holds(object));
  });
  return (object) => tests.every((holds) => holds(object));
}

/** `key` or `key=value` against labels. */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const equals = wanted.indexOf("=");
  const key = equals < 0 ? wanted : wanted.slice(0, equals);
  return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === wanted.slice(equals + 1));
}

/** A test of a key that has few words; `of` says which word an object has. */
export function oneOf<T>(key: string, words: readonly string[], of: (object: T) => string): FilterTest<T> {
  return (value) => {
    if (!words.includes(value))
      throw new SwarmError("InvalidArgument", `invalid filter '${key}=${value}': it is one of ${words.join(", ")}`);
    return (object) => of(object) === value;
  };
}

function unknownKey(key: string, valid: readonly string[]): SwarmError {
  const shown = key.length > 80 ? `${key.slice(0, 80)}...` : key;
  return new SwarmError("InvalidArgument", `invalid filter '${shown}': the filters here are ${valid.join(", ")}`);
}
