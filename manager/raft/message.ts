// What members say to each other, and what the core says to its own storage in asynchronous mode.
// One flat shape for every kind: it maps onto one record on the wire, and unset fields have one meaning (zero or
// empty). A message is never changed once it is made.

import type { Entry } from "./entry.ts";
import type { Index, RaftId, Term } from "./ids.ts";
import { isStorageThread } from "./ids.ts";
import type { SnapshotRef } from "./log-reader.ts";

/** Said by the node to itself; from the network only storage threads' answers are taken. */
export type LocalMessageType =
  | "hup"
  | "beat"
  | "checkQuorum"
  | "unreachable"
  | "snapStatus"
  | "storageAppend"
  | "storageAppendResp"
  | "storageApply"
  | "storageApplyResp";

export type PeerMessageType =
  | "prop"
  | "app"
  | "appResp"
  | "vote"
  | "voteResp"
  | "preVote"
  | "preVoteResp"
  | "snap"
  | "heartbeat"
  | "heartbeatResp"
  | "transferLeader"
  | "timeoutNow"
  | "forgetLeader"
  | "readIndex"
  | "readIndexResp";

export type MessageType = LocalMessageType | PeerMessageType;

export interface Message {
  readonly type: MessageType;
  readonly to: RaftId;
  readonly from: RaftId;
  /** 0 in what has no term: proposals, read requests and the node's own messages. */
  readonly term: Term;
  /** app: the term of the entry before `entries`. Votes: of the candidate's last entry. Rejected appResp: of the hint. */
  readonly logTerm: Term;
  /** app: the index before `entries`. appResp: the last one in agreement, or the one rejected. Votes: the candidate's last. */
  readonly index: Index;
  readonly entries: readonly Entry[];
  readonly commit: Index;
  /** storageAppend only: the vote to store. */
  readonly vote: RaftId;
  readonly snapshot: SnapshotRef | null;
  readonly reject: boolean;
  /** Rejected appResp: where the follower believes the logs may agree. */
  readonly rejectHint: Index;
  /** Heartbeats and their answers: the read round. Read requests: the caller's bytes. Votes: "transfer" or nothing. */
  readonly context: Uint8Array;
  /** storageAppend and storageApply: what to send once the work is durable, in this order. */
  readonly responses: readonly Message[];
}

const NO_BYTES = new Uint8Array(0);
const NO_ENTRIES: readonly Entry[] = [];
const NO_MESSAGES: readonly Message[] = [];

/** A message with every field that is not given at its zero value. */
export function message(fields: Partial<Message> & Pick<Message, "type">): Message {
  return {
    type: fields.type,
    to: fields.to ?? 0,
    from: fields.from ?? 0,
    term: fields.term ?? 0,
    logTerm: fields.logTerm ?? 0,
    index: fields.index ?? 0,
    entries: fields.entries ?? NO_ENTRIES,
    commit: fields.commit ?? 0,
    vote: fields.vote ?? 0,
    snapshot: fields.snapshot ?? null,
    reject: fields.reject ?? false,
    rejectHint: fields.rejectHint ?? 0,
    context: fields.context ?? NO_BYTES,
    responses: fields.responses ?? NO_MESSAGES,
  };
}

const LOCAL: ReadonlySet<MessageType> = new Set<LocalMessageType>([
  "hup",
  "beat",
  "checkQuorum",
  "unreachable",
  "snapStatus",
  "storageAppend",
  "storageAppendResp",
  "storageApply",
  "storageApplyResp",
]);

const RESPONSES: ReadonlySet<MessageType> = new Set<MessageType>([
  "appResp",
  "voteResp",
  "preVoteResp",
  "heartbeatResp",
  "unreachable",
  "readIndexResp",
  "storageAppendResp",
  "storageApplyResp",
]);

export function isLocalMessage(type: MessageType): boolean {
  return LOCAL.has(type);
}

export function isResponse(type: MessageType): boolean {
  return RESPONSES.has(type);
}

/** Whether losing the message would break the node rather than the network: it never leaves the machine. */
export function isForSelf(m: Message): boolean {
  return m.from === m.to || isStorageThread(m.from) || isStorageThread(m.to);
}
