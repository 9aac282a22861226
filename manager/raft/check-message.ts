// What a peer's message must obey before its content is looked at. A message that fails here was not made by this
// package's rules: a fault of the wire or of another version, never of Raft.

import { type RaftId, isRaftId } from "./ids.ts";
import type { Message, MessageType } from "./message.ts";

/** What a node may get from itself: its own durable answers, and what it passed on and another member passed back. */
const FROM_SELF: ReadonlySet<MessageType> = new Set(["appResp", "voteResp", "preVoteResp", "prop", "transferLeader"]);

/** Why the message cannot be taken, in a sentence; null where it can. */
export function checkMessage(self: RaftId, m: Message): string | null {
  if (!isRaftId(m.from)) return `${m.type} comes from ${m.from}, which is no raft id`;
  if (m.to !== self) return `${m.type} is addressed to ${m.to}`;
  if (m.from === self && (m.reject || !FROM_SELF.has(m.type))) return `${m.type} claims to come from this node itself`;
  for (const value of [m.term, m.logTerm, m.index, m.commit, m.rejectHint]) {
    if (!Number.isSafeInteger(value) || value < 0) return `${m.type} from ${m.from} carries the number ${value}`;
  }
  const hasNoTerm = m.type === "prop" || m.type === "readIndex";
  if (hasNoTerm !== (m.term === 0)) return `${m.type} from ${m.from} has term ${m.term}`;
  if (m.type === "app") return checkEntries(m);
  if (m.type === "prop" && m.entries.length === 0) return `prop from ${m.from} holds no entry`;
  if (m.type === "snap") return checkSnapshot(m);
  return null;
}

function checkEntries(m: Message): string | null {
  let { index, logTerm: term } = m;
  for (const entry of m.entries) {
    index++;
    if (entry.index !== index) return `app from ${m.from} has entry ${entry.index} in place of ${index}`;
    if (!(entry.term >= term && entry.term <= m.term)) return `app from ${m.from} has term ${entry.term} at ${index}`;
    term = entry.term;
  }
  return null;
}

function checkSnapshot(m: Message): string | null {
  const { snapshot } = m;
  if (snapshot === null) return `snap from ${m.from} holds no snapshot`;
  const { index, term, conf } = snapshot;
  if (!Number.isSafeInteger(index) || index < 1) return `snap from ${m.from} has index ${index}`;
  if (!(term >= 1 && term <= m.term)) return `snap from ${m.from} has term ${term}`;
  if (conf.voters.length === 0) return `snap from ${m.from} has no voters`;
  const isJoint = conf.votersOutgoing.length > 0;
  const wrongLearner = conf.learners.find((id) => conf.voters.includes(id) || conf.votersOutgoing.includes(id));
  if (wrongLearner !== undefined) return `snap from ${m.from} has ${wrongLearner} as voter and learner`;
  const wrongNext = conf.learnersNext.find((id) => !conf.votersOutgoing.includes(id) || conf.voters.includes(id));
  if (wrongNext !== undefined)
    return `snap from ${m.from} has ${wrongNext} as learner to be, but not as outgoing voter`;
  const all = [...conf.voters, ...conf.learners, ...conf.votersOutgoing, ...conf.learnersNext];
  if (!all.every(isRaftId)) return `snap from ${m.from} has a member that is no raft id`;
  if (!isJoint && conf.autoLeave) return `snap from ${m.from} leaves a joint membership that it has not`;
  return null;
}
