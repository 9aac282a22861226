// What the driver asks of the log's storage. RaftStorage keeps it on disk; tests hand in one in memory. The reading half is the
// core's: what it answers is durable already.

import type { Entry, HardState, Index, LogReader, RaftId, Term } from "raft-ts";
import type { Membership } from "./membership.ts";

/** Fixed when the log is made. */
export interface LogMeta {
  readonly raftId: RaftId;
  readonly nodeId: string;
  readonly clusterId: string;
}

/** Names a snapshot, with the membership as it was at its index. */
export interface LogSnapshotMeta {
  readonly index: Index;
  readonly term: Term;
  readonly membership: Membership;
}

/** full: nothing was written, and it may be tried again. */
export type LogAppendResult = { readonly kind: "durable" } | { readonly kind: "full"; readonly reason: string };

export interface LogStorage extends LogReader {
  readonly meta: LogMeta;
  /** Of the newest snapshot. */
  readonly membership: Membership;
  loadSnapshot(): Promise<{ readonly meta: LogSnapshotMeta; readonly bytes: Uint8Array } | undefined>;
  /** One record and one sync; null: unchanged. Entries replace what stands at their indices and after. Throws Unavailable: fatal. */
  append(work: { readonly hard: HardState | null; readonly entries: readonly Entry[] }): Promise<LogAppendResult>;
  saveSnapshot(meta: LogSnapshotMeta, pieces: Iterable<Uint8Array>): Promise<void>;
  readSnapshot(index: Index): AsyncIterable<Uint8Array>;
  /** Keeps a peer's snapshot durably, not yet in place of anything. */
  receiveSnapshot(meta: LogSnapshotMeta, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
  /** Puts the received snapshot in place of the log. */
  installSnapshot(work: {
    readonly meta: LogSnapshotMeta;
    readonly hard: HardState | null;
    readonly entries: readonly Entry[];
  }): Promise<{ readonly bytes: Uint8Array }>;
  close(): Promise<void>;
}
