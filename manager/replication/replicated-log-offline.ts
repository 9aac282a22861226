// The log of a new cluster, and the log of a lost one made into that of a new one. Both work on a log that nobody runs.

import { ENTRY_CONF_CHANGE, type Entry, type HardState, type Index, RawNode, encodeConfChange } from "raft-ts";
import { assert } from "../../proto/base/assert.ts";
import { SwarmError } from "../../proto/base/errors.ts";
import { RaftMember } from "../../proto/gen/raft.ts";
import { type Member, type Membership, nextMembership } from "./membership.ts";
import { readConfEntry } from "./membership-change.ts";
import type { LogMeta, LogStorage } from "./replicated-log-storage.ts";
import { ELECTION_TICKS, HEARTBEAT_TICKS } from "./ticker.ts";

/** What the storage of a new cluster's first manager begins with: one committed entry that makes it the only voter. */
export function bootstrapLog(first: { readonly self: Member; readonly clusterId: string }): {
  readonly meta: LogMeta;
  readonly hard: HardState;
  readonly entries: readonly Entry[];
} {
  const { self, clusterId } = first;
  return {
    meta: { raftId: self.raftId, nodeId: self.nodeId, clusterId },
    hard: { term: 1, vote: self.raftId, commit: 1 },
    entries: [confEntry("addNode", { member: self, at: { index: 1, term: 1 } })],
  };
}

/**
 * Makes this node the only manager: every entry of its log counts as committed, and all other members are removed after them.
 * The log must not be in use; it can be opened afterwards. Throws FailedPrecondition when this node has no membership at all,
 * Unavailable when the disk does not take it.
 */
export async function forceNewCluster(
  storage: LogStorage,
  options: { readonly self: { readonly addr: string } },
): Promise<void> {
  const { raftId, nodeId } = storage.meta;
  const snapshot = await storage.loadSnapshot();
  const membership = membershipAtEnd(storage, snapshot?.meta.index ?? 0);
  if (membership.members.length === 0) {
    throw new SwarmError(
      "FailedPrecondition",
      "this manager's log holds no cluster: it joined and received nothing yet; restore a backup or use another manager",
    );
  }
  const { hard } = storage.initialState();
  const term = hard.term + 1;
  let index = storage.lastIndex();
  const member: Member = { raftId, nodeId, addr: options.self.addr };
  const entries: Entry[] = [confEntry("addNode", { member, at: { index: ++index, term } })];
  for (const other of membership.members) {
    if (other.raftId !== raftId) entries.push(confEntry("removeNode", { member: other, at: { index: ++index, term } }));
  }
  const result = await storage.append({ hard: { term, vote: raftId, commit: index }, entries });
  if (result.kind === "full")
    throw new SwarmError("Unavailable", `the disk is full: ${result.reason}; make room first`);
}

function confEntry(
  type: "addNode" | "removeNode",
  what: { readonly member: Member; readonly at: { readonly index: number; readonly term: number } },
): Entry {
  const { member, at } = what;
  const context = type === "addNode" ? RaftMember.encode(member).finish() : new Uint8Array(0);
  const change = { transition: "auto", changes: [{ type, nodeId: member.raftId }], context } as const;
  return { ...at, type: ENTRY_CONF_CHANGE, data: encodeConfChange(change, "single").data };
}

/** The membership once every entry of the log is applied. */
function membershipAtEnd(storage: LogStorage, snapshotIndex: Index): Membership {
  const { hard, conf } = storage.initialState();
  let membership = storage.membership;
  const node = new RawNode({
    id: storage.meta.raftId,
    storage: {
      initialState: () => ({ hard: { ...hard, commit: storage.lastIndex() }, conf }),
      firstIndex: () => storage.firstIndex(),
      lastIndex: () => storage.lastIndex(),
      term: (index) => storage.term(index),
      entries: (lo, hi, maxBytes) => storage.entries(lo, hi, maxBytes),
      snapshot: () => "unavailable",
    },
    applied: snapshotIndex,
    random: () => 0,
    trace: () => undefined,
    electionTicks: ELECTION_TICKS,
    heartbeatTicks: HEARTBEAT_TICKS,
    maxApplyingBytes: 4 * 1_048_576,
  });
  while (node.hasReady()) {
    for (const entry of node.ready().committedEntries) {
      if (entry.type === 0) continue;
      const { change, member } = readConfEntry(entry);
      const next = node.applyConfChange(change, entry.index);
      if (next !== null) membership = nextMembership(membership, { conf: next, member });
    }
    node.advance();
  }
  assert(membership.conf.votersOutgoing.length === 0, "the group changes one member at a time");
  return membership;
}
