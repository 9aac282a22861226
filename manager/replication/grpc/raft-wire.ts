// Raft's messages on the wire, both ways. What comes from the wire is checked and bounded here; what it means is the core's to judge.

import { type Entry, type EntryType, type Message, type MessageType, isRaftId, message } from "raft-ts";
import { type RaftEntry, RaftMessage, RaftMessage_Type } from "../../../proto/gen/raft.ts";
import { type Membership, NO_MEMBERSHIP, membershipFromWire, membershipToWire } from "../membership.ts";

const TYPES: readonly (readonly [MessageType, RaftMessage_Type])[] = [
  ["prop", RaftMessage_Type.PROP],
  ["app", RaftMessage_Type.APP],
  ["appResp", RaftMessage_Type.APP_RESP],
  ["vote", RaftMessage_Type.VOTE],
  ["voteResp", RaftMessage_Type.VOTE_RESP],
  ["preVote", RaftMessage_Type.PRE_VOTE],
  ["preVoteResp", RaftMessage_Type.PRE_VOTE_RESP],
  ["snap", RaftMessage_Type.SNAP],
  ["heartbeat", RaftMessage_Type.HEARTBEAT],
  ["heartbeatResp", RaftMessage_Type.HEARTBEAT_RESP],
  ["transferLeader", RaftMessage_Type.TRANSFER_LEADER],
  ["timeoutNow", RaftMessage_Type.TIMEOUT_NOW],
  ["forgetLeader", RaftMessage_Type.FORGET_LEADER],
  ["readIndex", RaftMessage_Type.READ_INDEX],
  ["readIndexResp", RaftMessage_Type.READ_INDEX_RESP],
];
const TO_WIRE: ReadonlyMap<MessageType, RaftMessage_Type> = new Map(TYPES);
const FROM_WIRE: ReadonlyMap<RaftMessage_Type, MessageType> = new Map(TYPES.map(([type, wire]) => [wire, type]));

const CONTEXT_BYTES_MAX = 1_024;
/** The core fills an append with entries up to its own bound; a hundred thousand empty ones is beyond any. */
const ENTRIES_MAX = 100_000;
/** Far above any group that could still agree on something, and what is kept of removed ids. */
const MEMBERS_MAX = 1_000;
const NAME_LENGTH_MAX = 300;

/** Undefined for what is never said to a peer. `membership` is that of a snapshot's index. */
export function messageToWire(m: Message, membership: Membership = NO_MEMBERSHIP): RaftMessage | undefined {
  const type = TO_WIRE.get(m.type);
  if (type === undefined) return undefined;
  const { to, from, term, logTerm, index, entries, commit, reject, rejectHint, context, snapshot } = m;
  return {
    ...{ type, to, from, term, logTerm, index, entries, commit, reject, rejectHint, context },
    snapshot:
      snapshot === null
        ? undefined
        : { index: snapshot.index, term: snapshot.term, membership: membershipToWire(membership) },
  };
}

/** Bytes that the message takes in a frame, about. */
export function messageBytes(m: Message): number {
  return m.entries.reduce((sum, entry) => sum + entry.data.length + 24, 64 + m.context.length);
}

/** The message, and of a snapshot the membership at its index. Undefined when it makes no sense. */
export function messageFromWire(
  wire: RaftMessage,
): { readonly message: Message; readonly membership: Membership } | undefined {
  const type = FROM_WIRE.get(wire.type);
  const { to, from, term, logTerm, index, commit, reject, rejectHint, context } = wire;
  const numbers = [term, logTerm, index, commit, rejectHint];
  if (type === undefined || !isRaftId(to) || !isRaftId(from) || !numbers.every(Number.isSafeInteger)) return undefined;
  if (context.length > CONTEXT_BYTES_MAX || wire.entries.length > ENTRIES_MAX) return undefined;
  if ((type === "snap") !== (wire.snapshot !== undefined)) return undefined;
  const entries = wire.entries.map(entryFromWire);
  if (!entries.every((entry) => entry !== undefined)) return undefined;
  const membership = membershipOf(wire);
  if (!isMembership(membership)) return undefined;
  const snapshot =
    wire.snapshot === undefined
      ? null
      : { index: wire.snapshot.index, term: wire.snapshot.term, conf: membership.conf, data: new Uint8Array(0) };
  if (snapshot !== null && !(Number.isSafeInteger(snapshot.index) && Number.isSafeInteger(snapshot.term)))
    return undefined;
  return {
    message: message({ type, to, from, term, logTerm, index, entries, commit, reject, rejectHint, context, snapshot }),
    membership,
  };
}

function membershipOf({ snapshot }: RaftMessage): Membership {
  return snapshot?.membership === undefined ? NO_MEMBERSHIP : membershipFromWire(snapshot.membership);
}

/** Whether its ids can be ids, and each list is one that can be kept. Who may be in which list is the core's to judge. */
function isMembership({ conf, members, removed }: Membership): boolean {
  const places = [conf.voters, conf.learners, conf.votersOutgoing, conf.learnersNext, removed];
  const ids = [...places, members.map((each) => each.raftId)];
  return (
    ids.every((each) => each.length <= MEMBERS_MAX && each.every(isRaftId)) &&
    members.every(({ nodeId, addr }) => nodeId.length <= NAME_LENGTH_MAX && addr.length <= NAME_LENGTH_MAX)
  );
}

function entryFromWire({ term, index, type, data }: RaftEntry): Entry | undefined {
  if (!Number.isSafeInteger(term) || !Number.isSafeInteger(index) || type > 2) return undefined;
  return { term, index, type: type as EntryType, data };
}
