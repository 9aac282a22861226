// Equality of plain values by what they hold; the order of keys in an object does not count.

/** For the values of generated messages: primitives, lists, plain objects, bytes. */
export function equalValues(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = said(a);
  const right = said(b);
  return left.length === right.length && left.every(([key, value]) => equalValues(value, Reflect.get(b, key)));
}

/** A field that is undefined is one that is not there. */
function said(value: object): [string, unknown][] {
  return Object.entries(value).filter(([, inner]) => inner !== undefined);
}
