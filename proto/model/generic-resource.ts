// Resources that only the operator knows, in Docker's language: a node declares `gpu=4`, or single ones by name as `gpu=UUID1` and
// `gpu=UUID2`; a service asks for a number of them; a container is told what it got.

import { SwarmError } from "../base/errors.ts";
import type { GenericResource } from "../gen/specs.ts";

const KIND = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$/;
const NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.:/-]{0,126}[a-zA-Z0-9])?$/;
const COUNT_MAX = 1_000_000;

/** A kind as specs and flags may name it. */
export function isGenericKind(text: string): boolean {
  return KIND.test(text);
}

/** What a node declares: `gpu=4`, `gpu=UUID1`, also several in one text with commas between. Throws InvalidArgument. */
export function parseNodeResources(texts: readonly string[]): readonly GenericResource[] {
  const kinds = new Map<string, GenericResource>();
  for (const text of texts.flatMap((each) => each.split(","))) {
    const { kind, value } = pairOf(text, "KIND=NUMBER or KIND=NAME, for example gpu=4 or gpu=UUID1");
    const before = kinds.get(kind);
    if (/^\d+$/.test(value)) {
      if (before !== undefined)
        throw invalid(text, `${kind} is given before; a kind has one number, or names, but not both`);
      kinds.set(kind, { kind, count: countOf(text, value), names: [] });
      continue;
    }
    if (!NAME.test(value)) throw invalid(text, `${JSON.stringify(value.slice(0, 80))} is no name`);
    if (before !== undefined && before.names.length === 0)
      throw invalid(text, `${kind} is given as a number before; a kind has one number, or names, but not both`);
    if (before?.names.includes(value) === true) throw invalid(text, `${value} is given twice`);
    kinds.set(kind, { kind, count: 0, names: [...(before?.names ?? []), value] });
  }
  return [...kinds.values()];
}

/** What a service asks for: `gpu=2`. Throws InvalidArgument. */
export function parseAskedResource(text: string): GenericResource {
  const { kind, value } = pairOf(text, "KIND=NUMBER, for example gpu=2");
  if (!/^\d+$/.test(value))
    throw invalid(text, "a service asks for a number; named generic resources are declared by nodes alone");
  return { kind, count: countOf(text, value), names: [] };
}

/** "gpu=2", "gpu=UUID1,UUID2" */
export function printResource({ kind, count, names }: GenericResource): string {
  return `${kind}=${names.length > 0 ? names.join(",") : count}`;
}

/** How many of it there are. */
export function amountOf({ count, names }: GenericResource): number {
  return names.length > 0 ? names.length : count;
}

/** DOCKER_RESOURCE_GPU=UUID1,UUID2, as Docker tells a container what it was given. */
export function resourceVariables(given: readonly GenericResource[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    given.map(({ kind, count, names }) => [
      `DOCKER_RESOURCE_${kind.toUpperCase()}`,
      names.length > 0 ? names.join(",") : String(count),
    ]),
  );
}

function pairOf(text: string, form: string): { readonly kind: string; readonly value: string } {
  const [, kind = "", value = ""] = /^\s*([^=\s]+)\s*=\s*(\S+)\s*$/.exec(text) ?? [];
  if (kind === "") throw invalid(text, `it must have the form ${form}`);
  if (!KIND.test(kind)) throw invalid(text, `${JSON.stringify(kind.slice(0, 80))} is no kind of a resource`);
  return { kind, value };
}

function countOf(text: string, value: string): number {
  const count = Number(value);
  if (count < 1 || count > COUNT_MAX) throw invalid(text, `a number must be from 1 to ${COUNT_MAX}`);
  return count;
}

function invalid(text: string, why: string): SwarmError {
  return new SwarmError("InvalidArgument", `invalid generic resource ${JSON.stringify(text.slice(0, 120))}: ${why}`);
}
