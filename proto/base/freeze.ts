// Values that enter the store are frozen all the way down: a change is a new object.

/** Freezes `value` and all it holds, and returns it. Binary data cannot be frozen by the language and is left as it is. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
}
