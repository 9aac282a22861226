// Cuts work into what fits a record each. Pure. After any prefix of the parts the log is one that Raft may go on with: the term
// and the vote come first, and nothing counts as committed before it is there.

import type { Entry, HardState } from "raft-ts";
import { assert } from "../../proto/base/assert.ts";
import { entryPayloadBytes } from "./payload.ts";

/** Of a record's payload beside its entries. */
const OVERHEAD_BYTES = 128;

interface Work {
  readonly hard: HardState | null;
  readonly entries: readonly Entry[];
}

/** Nothing where there is nothing to write. */
export function splitWork(work: Work, payloadBytesMax: number): readonly Work[] {
  const groups = groupEntries(work.entries, payloadBytesMax - OVERHEAD_BYTES);
  const { hard } = work;
  if (hard === null) return groups.map((entries) => ({ hard: null, entries }));
  if (groups.length <= 1) return [{ hard, entries: groups[0] ?? [] }];
  return groups.map((entries) => ({
    hard: { ...hard, commit: Math.min(hard.commit, entries.at(-1)?.index ?? 0) },
    entries,
  }));
}

function groupEntries(entries: readonly Entry[], bytesMax: number): readonly (readonly Entry[])[] {
  const groups: Entry[][] = [];
  let bytes = Infinity;
  for (const entry of entries) {
    const size = entryPayloadBytes(entry);
    assert(size <= bytesMax, `entry ${entry.index} of ${size} bytes fits a record`);
    bytes += size;
    if (bytes <= bytesMax) {
      groups.at(-1)?.push(entry);
    } else {
      groups.push([entry]);
      bytes = size;
    }
  }
  return groups;
}
