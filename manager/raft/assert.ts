// The package's own assertion: what must hold whatever the outside says. A broken one is a mistake in this package
// or in the code that drives it, never in what a peer sent; the process is expected to end and recover from its log.

export class RaftInvariantError extends Error {
  override readonly name = "RaftInvariantError";
}

/** Throws RaftInvariantError with the message when the condition does not hold. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new RaftInvariantError(message);
}

/** Marks what the type system has proven unreachable. */
export function never(value: never): never {
  throw new RaftInvariantError(`unreachable value ${String(value)}`);
}
