// `tsswarm service history` and `service diff`: what a service was asked to be, when, by whom, and what changed.

import { SwarmError } from "../../../proto/base/errors.ts";
import { humanDuration } from "../../../proto/base/units.ts";
import { type WholeRevision, wholeRevision } from "../../../proto/model/objects.ts";
import { completionsOf, replicasOf } from "../../../proto/model/service-mode.ts";
import { specDifferences } from "../../../proto/model/spec-diff.ts";
import { type Context, print } from "../context.ts";
import { type Columns, type ListOptions, formatList } from "../format/list.ts";
import { wholeNumber } from "../options.ts";

const COLUMNS: Columns = [
  ["REVISION", "Revision"],
  ["CREATED", "CreatedSince"],
  ["AUTHOR", "Author"],
  ["ACTION", "Action"],
  ["IMAGE", "Image"],
  ["REPLICAS", "Replicas"],
];
const REVISION_MAX = 4_294_967_295;

export async function serviceHistory(context: Context, ref: string, options: ListOptions): Promise<void> {
  const revisions = await revisionsOf(context, ref);
  const rows = revisions.map((revision) => ({
    Revision: String(revision.number),
    CreatedSince: `${humanDuration(Math.max(0, context.now() - revision.meta.createdAtMs))} ago`,
    CreatedAt: new Date(revision.meta.createdAtMs).toISOString(),
    Author: revision.author,
    Action: revision.action,
    Image: revision.spec.task.container.image,
    Replicas: String(replicasOf(revision.spec) ?? completionsOf(revision.spec) ?? ""),
  }));
  context.stdout.write(formatList({ rows, columns: COLUMNS, id: "Revision" }, options));
}

/** Of two revisions; of one and the newest; without any, of the last two. */
export async function serviceDiff(context: Context, ref: string, numbers: readonly string[]): Promise<void> {
  const revisions = await revisionsOf(context, ref);
  const [newest, before] = revisions;
  const [from = before?.number, to = newest?.number] = numbers.map((text) =>
    wholeNumber(text, { flag: "the revision", min: 1, max: REVISION_MAX }),
  );
  if (from === undefined || to === undefined)
    throw new SwarmError("FailedPrecondition", `service ${ref} has one revision only: there is nothing to compare`);
  const lines = specDifferences(find(revisions, { ref, number: from }).spec, find(revisions, { ref, number: to }).spec);
  if (lines.length === 0) print(context, `revisions ${from} and ${to} are the same`);
  for (const line of lines) print(context, line);
}

/** The newest first. */
async function revisionsOf(context: Context, ref: string): Promise<readonly WholeRevision[]> {
  const control = await context.control();
  const { revisions } = await control.listRevisions({ ref }, { signal: context.signal });
  return revisions.map(wholeRevision);
}

function find(
  revisions: readonly WholeRevision[],
  wanted: { readonly ref: string; readonly number: number },
): WholeRevision {
  const found = revisions.find(({ number }) => number === wanted.number);
  if (found !== undefined) return found;
  const there = revisions.map(({ number }) => number).join(", ");
  throw new SwarmError("NotFound", `service ${wanted.ref} has no revision ${wanted.number}: there are ${there}`);
}
