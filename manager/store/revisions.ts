// The history of a service's spec: every change of it is a revision of its own, the newest of which is what the service is now. Both
// who asks (control) and who goes back by himself (orchestrator) write it here.

import { Revision } from "../../proto/gen/objects.ts";
import { DEFAULTS } from "../../proto/model/defaults.ts";
import { type WholeRevision, type WholeService, wholeRevision } from "../../proto/model/objects.ts";
import type { ReadTx, WriteTx } from "./tx.ts";

export interface RevisionFacts {
  /** Fresh. */
  readonly id: string;
  readonly author: string;
  readonly action: string;
}

/** Writes the service's spec as its newest revision and forgets the oldest; answers the service that names it, to be written. */
export function addRevision(tx: WriteTx, service: WholeService, facts: RevisionFacts): WholeService {
  const number = service.revision + 1;
  const { id: serviceId, spec } = service;
  tx.revisions.create(wholeRevision(Revision.create({ ...facts, serviceId, number, spec })));
  for (const { id } of revisionsOf(tx, serviceId).slice(DEFAULTS.revisionsMax)) tx.revisions.remove(id);
  return { ...service, revision: number };
}

/** Of one service, the newest first. */
export function revisionsOf(tx: ReadTx, serviceId: string): readonly WholeRevision[] {
  return [...tx.revisions.byService(serviceId)].sort((a, b) => b.number - a.number);
}
