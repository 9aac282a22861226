// The words of validation: each check names the field, shows the value and says what would be valid. Pure; it knows shapes
// (texts, lists, maps, numbers), never what a field is for.

import { SwarmError } from "../../proto/base/errors.ts";

/** A value from outside and where it stands ("task.container.env[2]"). */
export interface Field<T> {
  readonly path: string;
  readonly value: T;
}

/** InvalidArgument: `path "value" is not valid: expected`. The path is in the error's details as `field`. */
export function invalid(field: Field<unknown>, expected: string): SwarmError {
  return new SwarmError("InvalidArgument", `${field.path} ${show(field.value)} is not valid: ${expected}`, {
    details: { field: field.path },
  });
}

/** InvalidArgument with a sentence of its own. */
export function refused(path: string, sentence: string): SwarmError {
  return new SwarmError("InvalidArgument", sentence, { details: { field: path } });
}

/** A text of at most `max` UTF-16 units without NUL characters. */
export function checkText(field: Field<string>, max: number): void {
  if (field.value.length > max) throw invalid(field, `it may have ${max} characters at most`);
  if (field.value.includes("\0")) throw invalid(field, "it may not hold a NUL character");
}

/** A text that is empty or matches; `expected` says the form in words. */
export function checkForm(field: Field<string>, form: { readonly pattern: RegExp; readonly expected: string }): void {
  if (field.value !== "" && !form.pattern.test(field.value)) throw invalid(field, form.expected);
}

/** A list of at most `max` items, each then checked. */
export function checkList<T>(field: Field<readonly T[]>, max: number, check: (item: Field<T>) => void): void {
  if (field.value.length > max)
    throw refused(field.path, `${field.path} has ${field.value.length} items; ${max} are allowed`);
  field.value.forEach((value, index) => {
    check({ path: `${field.path}[${index}]`, value });
  });
}

/** A map of at most `max` texts under non-empty keys of at most 256 characters; values of at most `valueMax`. */
export function checkMap(
  field: Field<Readonly<Record<string, string>>>,
  bounds: { readonly max: number; readonly valueMax: number },
): void {
  const entries = Object.entries(field.value);
  if (entries.length > bounds.max)
    throw refused(field.path, `${field.path} has ${entries.length} entries; ${bounds.max} are allowed`);
  for (const [key, value] of entries) {
    const name = { path: `${field.path} key`, value: key };
    if (key === "") throw invalid(name, "a key may not be empty");
    checkText(name, KEY_MAX);
    checkText({ path: `${field.path}[${show(key)}]`, value }, bounds.valueMax);
  }
}

/** A whole number in [min, max]. */
export function checkNumber(field: Field<number>, range: { readonly min: number; readonly max: number }): void {
  if (!Number.isSafeInteger(field.value) || field.value < range.min || field.value > range.max)
    throw invalid(field, `it must be a whole number from ${range.min} to ${range.max}`);
}

/** One of the values of a generated enumeration. */
export function checkEnum<T extends number>(field: Field<T>, values: Readonly<Record<string, T>>): void {
  if (!Object.values(values).includes(field.value))
    throw invalid(
      field,
      `it must be one of ${Object.keys(values)
        .map((name) => name.toLowerCase().replaceAll("_", "-"))
        .join(", ")}`,
    );
}

/** Throws for the first item whose key an earlier one had too. */
export function checkUnique<T>(
  field: Field<readonly T[]>,
  keyOf: (item: T) => string,
  sentence: (key: string) => string,
): void {
  const seen = new Set<string>();
  field.value.forEach((item, index) => {
    const key = keyOf(item);
    if (seen.has(key)) throw refused(`${field.path}[${index}]`, sentence(key));
    seen.add(key);
  });
}

const KEY_MAX = 256;
const SHOWN_MAX = 80;

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}... (${text.length} characters)`;
}
