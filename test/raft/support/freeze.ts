// Freezes a value and all it holds, so that a test fails where either side of the core's border changes what it gave.

/** The same value. Typed arrays cannot be frozen; they are left alone. */
export function freezeDeep<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) freezeDeep(inner);
  return value;
}
