// The door of raft-ts: everything an application or its tests may use.

export type { ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType } from "./conf-change.ts";
export { decodeConfChange, encodeConfChange } from "./conf-change-codec.ts";
export { type ConfState, EMPTY_CONF_STATE, confStateHas } from "./conf-state.ts";
export type { RaftConfig } from "./config.ts";
export {
  ENTRY_CONF_CHANGE,
  ENTRY_CONF_CHANGE_BATCH,
  ENTRY_NORMAL,
  type Entry,
  type EntryId,
  type EntryType,
  entryBytes,
} from "./entry.ts";
export {
  APPEND_THREAD,
  APPLY_THREAD,
  type Index,
  NONE,
  RAFT_ID_MAX,
  type RaftId,
  type Term,
  isRaftId,
  isStorageThread,
} from "./ids.ts";
export { EMPTY_HARD_STATE, type HardState, type LogReader, type SnapshotRef } from "./log-reader.ts";
export { MemoryStorage } from "./log/memory-storage.ts";
export { type Message, type MessageType, isForSelf, message } from "./message.ts";
export { RawNode } from "./raw-node.ts";
export type { ReadState, Ready, Role, SoftState, StepError } from "./ready.ts";
export type { ProgressView, Status } from "./status.ts";
export type { ReadRefusal, TraceEvent, TraceSink } from "./trace.ts";
export { RaftInvariantError } from "./assert.ts";
