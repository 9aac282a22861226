// From what a person typed to the one object they mean: an id, a name, or the beginning of an id that only one object has.

import { SwarmError } from "../../proto/base/errors.ts";

export interface Named {
  readonly id: string;
}

export interface Candidates<T extends Named> {
  /** "service", "node", "task": for messages. */
  readonly noun: string;
  readonly byId: (id: string) => T | undefined;
  readonly byName: (name: string) => readonly T[];
  readonly all: () => Iterable<T>;
}

const REF_LENGTH_MAX = 256;

/** Throws NotFound ("service web not found") or InvalidArgument ("service ab is ambiguous (2 matches found)"). */
export function resolve<T extends Named>(ref: string, candidates: Candidates<T>): T {
  const { noun } = candidates;
  if (ref === "") throw new SwarmError("InvalidArgument", `a ${noun} is named by its id, a part of it or its name`);
  if (ref.length > REF_LENGTH_MAX) throw notFound(noun, `${ref.slice(0, 80)}...`);
  const exact = candidates.byId(ref);
  if (exact !== undefined) return exact;
  const named = candidates.byName(ref);
  const found = named.length > 0 ? named : [...candidates.all()].filter((object) => object.id.startsWith(ref));
  if (found.length > 1)
    throw new SwarmError("InvalidArgument", `${noun} ${ref} is ambiguous (${found.length} matches found)`);
  const [only] = found;
  if (only === undefined) throw notFound(noun, ref);
  return only;
}

export function notFound(noun: string, ref: string): SwarmError {
  return new SwarmError("NotFound", `${noun} ${ref} not found`);
}
