// One entry of the log, and how much of it counts against the limits.

import type { Index, Term } from "./ids.ts";

/** An application's proposal; the leader's first entry of a term is an empty one. */
export const ENTRY_NORMAL = 0;
/** One membership change (see conf-change-codec.ts). */
export const ENTRY_CONF_CHANGE = 1;
/** A batch of membership changes with a transition. */
export const ENTRY_CONF_CHANGE_BATCH = 2;

export type EntryType = 0 | 1 | 2;

/** Never changed once made; its bytes are shared by the log, the disk and every message that carries it. */
export interface Entry {
  readonly term: Term;
  readonly index: Index;
  readonly type: EntryType;
  readonly data: Uint8Array;
}

/** Names a place in a log: two logs that hold the same id agree on everything up to it (Raft 5.3). */
export interface EntryId {
  readonly term: Term;
  readonly index: Index;
}

const ENTRY_OVERHEAD_BYTES = 16;

/** What an entry counts in messages and in applied batches: its data and a fixed header. In bytes. */
export function entryBytes(entry: Entry): number {
  return ENTRY_OVERHEAD_BYTES + entry.data.length;
}

export function entriesBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  return bytes;
}

/** The proposals' own bytes; what counts against the limits on uncommitted and inflight data. */
export function payloadBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.data.length;
  return bytes;
}

/** The longest prefix within the limit, but at least one entry where there is one. */
export function limitEntries(entries: readonly Entry[], maxBytes: number): readonly Entry[] {
  let bytes = 0;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i];
    if (entry === undefined) break;
    bytes += entryBytes(entry);
    if (i > 0 && bytes > maxBytes) return entries.slice(0, i);
  }
  return entries;
}
