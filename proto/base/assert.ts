// Assertions say what must be true. A failed one is a bug: nobody catches it, the process ends and is started again.

export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws AssertionError unless `condition` holds; the message says what was expected. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The value, which must be there. */
export function defined<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new AssertionError(`${what} is missing`);
  return value;
}

/** Ends a switch over a union: the compiler proves it is never reached. */
export function never(value: never): never {
  throw new AssertionError(`unexpected value ${JSON.stringify(value)}`);
}
