// How the conformance data writes messages, entries, states and memberships. Pure functions from values to text.

import {
  APPEND_THREAD,
  APPLY_THREAD,
  type ConfChange,
  type ConfChangeSingle,
  type ConfChangeType,
  type ConfState,
  type Entry,
  type HardState,
  type Message,
  type MessageType,
  NONE,
  type ProgressView,
  type RaftId,
  type Ready,
  type Role,
  type SnapshotRef,
  decodeConfChange,
} from "../../../manager/raft/index.ts";

const utf8 = new TextDecoder();

const MESSAGE_WORDS: Readonly<Record<MessageType, string>> = {
  hup: "MsgHup",
  beat: "MsgBeat",
  checkQuorum: "MsgCheckQuorum",
  unreachable: "MsgUnreachable",
  snapStatus: "MsgSnapStatus",
  storageAppend: "MsgStorageAppend",
  storageAppendResp: "MsgStorageAppendResp",
  storageApply: "MsgStorageApply",
  storageApplyResp: "MsgStorageApplyResp",
  prop: "MsgProp",
  app: "MsgApp",
  appResp: "MsgAppResp",
  vote: "MsgVote",
  voteResp: "MsgVoteResp",
  preVote: "MsgPreVote",
  preVoteResp: "MsgPreVoteResp",
  snap: "MsgSnap",
  heartbeat: "MsgHeartbeat",
  heartbeatResp: "MsgHeartbeatResp",
  transferLeader: "MsgTransferLeader",
  timeoutNow: "MsgTimeoutNow",
  forgetLeader: "MsgForgetLeader",
  readIndex: "MsgReadIndex",
  readIndexResp: "MsgReadIndexResp",
};

const ROLE_WORDS: Readonly<Record<Role, string>> = {
  follower: "StateFollower",
  preCandidate: "StatePreCandidate",
  candidate: "StateCandidate",
  leader: "StateLeader",
};

const PROGRESS_WORDS: Readonly<Record<ProgressView["state"], string>> = {
  probe: "StateProbe",
  replicate: "StateReplicate",
  snapshot: "StateSnapshot",
};

const ENTRY_WORDS = ["EntryNormal", "EntryConfChange", "EntryConfChangeV2"] as const;

const CHANGE_LETTERS: Readonly<Record<ConfChangeType, string>> = {
  addNode: "v",
  addLearnerNode: "l",
  removeNode: "r",
  updateNode: "u",
};

const CHANGE_WORDS: Readonly<Record<ConfChangeType, string>> = {
  addNode: "ConfChangeAddNode",
  addLearnerNode: "ConfChangeAddLearnerNode",
  removeNode: "ConfChangeRemoveNode",
  updateNode: "ConfChangeUpdateNode",
};

const TRANSITION_WORDS: Readonly<Record<ConfChange["transition"], string>> = {
  auto: "ConfChangeTransitionAuto",
  implicit: "ConfChangeTransitionJointImplicit",
  explicit: "ConfChangeTransitionJointExplicit",
};

export function messageTypeWord(type: MessageType): string {
  return MESSAGE_WORDS[type];
}

export function messageTypeOf(word: string): MessageType | undefined {
  for (const [type, known] of Object.entries(MESSAGE_WORDS)) if (known === word) return type as MessageType;
  return undefined;
}

export function roleWord(role: Role): string {
  return ROLE_WORDS[role];
}

/** A member as log lines name it: in hexadecimal. */
export function hex(id: RaftId): string {
  return id.toString(16);
}

export function targetWord(id: RaftId): string {
  if (id === NONE) return "None";
  if (id === APPEND_THREAD) return "AppendThread";
  return id === APPLY_THREAD ? "ApplyThread" : hex(id);
}

export function progressWords(p: ProgressView): string {
  let text = `${PROGRESS_WORDS[p.state]} match=${p.match} next=${p.next}`;
  if (p.isLearner) text += " learner";
  if (p.paused) text += " paused";
  if (p.pendingSnapshot > 0) text += ` pendingSnap=${p.pendingSnapshot}`;
  if (!p.recentActive) text += " inactive";
  if (p.inflightCount > 0) text += ` inflight=${p.inflightCount}${p.inflightFull ? "[full]" : ""}`;
  return text;
}

export function membershipWords(conf: ConfState): string {
  const list = (ids: readonly RaftId[]): string => `(${ids.join(" ")})`;
  let text = `voters=${list(conf.voters)}`;
  if (conf.votersOutgoing.length > 0) text += `&&${list(conf.votersOutgoing)}`;
  if (conf.learners.length > 0) text += ` learners=${list(conf.learners)}`;
  if (conf.learnersNext.length > 0) text += ` learners_next=${list(conf.learnersNext)}`;
  if (conf.autoLeave) text += " autoleave";
  return text;
}

export function confStateWords(conf: ConfState): string {
  const list = (ids: readonly RaftId[]): string => `[${ids.join(" ")}]`;
  return (
    `Voters:${list(conf.voters)} VotersOutgoing:${list(conf.votersOutgoing)} Learners:${list(conf.learners)} ` +
    `LearnersNext:${list(conf.learnersNext)} AutoLeave:${conf.autoLeave}`
  );
}

export function snapshotWords(snapshot: SnapshotRef): string {
  return `Index:${snapshot.index} Term:${snapshot.term} ConfState:${confStateWords(snapshot.conf)}`;
}

/** The operations in the input form of propose-conf-change: v1 l2 r3 u4. */
export function changesWords(changes: readonly ConfChangeSingle[]): string {
  return changes.map((change) => `${CHANGE_LETTERS[change.type]}${change.nodeId}`).join(" ");
}

export function parseChanges(text: string): readonly ConfChangeSingle[] {
  const letters = new Map(Object.entries(CHANGE_LETTERS).map(([type, letter]) => [letter, type as ConfChangeType]));
  return text
    .split(/\s+/)
    .filter((word) => word !== "")
    .map((word) => {
      const type = letters.get(word.charAt(0));
      if (type === undefined) throw new Error(`unknown membership operation ${word}`);
      return { type, nodeId: Number(word.slice(1)) };
    });
}

/** A whole change as log lines write it. */
export function changeValueWords(change: ConfChange, form: "single" | "batch"): string {
  const context = `[${[...change.context].join(" ")}]`;
  const singles = change.changes.map((single) => `${CHANGE_WORDS[single.type]} ${single.nodeId}`);
  if (form === "single") return `{${singles.join(" ")} ${context} 0}`;
  const list = singles.map((single) => `{${single}}`).join(" ");
  return `{${TRANSITION_WORDS[change.transition]} [${list}] ${context}}`;
}

export function entryWords(entry: Entry): string {
  let data: string;
  if (entry.type === 0) {
    data = ` ${JSON.stringify(utf8.decode(entry.data))}`;
  } else {
    const change = decodeConfChange(entry.type, entry.data);
    const changes = change === null ? "unreadable" : changesWords(change.changes);
    data = changes === "" ? "" : ` ${changes}`;
  }
  return `${entry.term}/${entry.index} ${ENTRY_WORDS[entry.type]}${data}`;
}

export function entriesWords(entries: readonly Entry[]): string {
  return entries.map((entry) => `${entryWords(entry)}\n`).join("");
}

/** One message, without a newline at its end; nested lines are indented below `indent`. */
export function messageWords(m: Message, indent = ""): string {
  let text =
    `${indent}${targetWord(m.from)}->${targetWord(m.to)} ${MESSAGE_WORDS[m.type]} ` +
    `Term:${m.term} Log:${m.logTerm}/${m.index}`;
  if (m.reject) text += ` Rejected (Hint: ${m.rejectHint})`;
  if (m.commit !== 0) text += ` Commit:${m.commit}`;
  if (m.vote !== 0) text += ` Vote:${m.vote}`;
  const [only] = m.entries;
  if (only !== undefined && m.entries.length === 1) {
    text += ` Entries:[${entryWords(only)}]`;
  } else if (m.entries.length > 1) {
    text += " Entries:[";
    for (const entry of m.entries) text += `\n${indent}  ${entryWords(entry)}`;
    text += `\n${indent}]`;
  }
  if (m.snapshot !== null) text += `\n${indent}  Snapshot: ${snapshotWords(m.snapshot)}`;
  if (m.responses.length > 0) {
    text += " Responses:[";
    for (const response of m.responses) text += `\n${messageWords(response, `${indent}  `)}`;
    text += `\n${indent}]`;
  }
  return text;
}

function hardStateWords(hard: HardState): string {
  return `Term:${hard.term}${hard.vote === NONE ? "" : ` Vote:${hard.vote}`} Commit:${hard.commit}`;
}

function readStateWords(ready: Ready): string {
  const words = ready.readStates.map((read) => {
    const context = utf8.decode(read.context);
    return read.kind === "ready" ? `${context}@${read.index}` : `${context} refused (${read.reason})`;
  });
  return `[${words.join(", ")}]`;
}

/** A Ready with its header, every line with a newline; "<empty Ready>" where it holds nothing. */
export function readyWords(ready: Ready): string {
  let text = "";
  if (ready.softState !== null) {
    text += `Lead:${ready.softState.leader} State:${ROLE_WORDS[ready.softState.role]}\n`;
  }
  if (ready.hardState !== null) text += `HardState ${hardStateWords(ready.hardState)}\n`;
  if (ready.readStates.length > 0) text += `ReadStates ${readStateWords(ready)}\n`;
  if (ready.entries.length > 0) text += `Entries:\n${entriesWords(ready.entries)}`;
  if (ready.snapshot !== null) text += `Snapshot ${snapshotWords(ready.snapshot)}\n`;
  if (ready.committedEntries.length > 0) text += `CommittedEntries:\n${entriesWords(ready.committedEntries)}`;
  if (ready.messages.length > 0) text += "Messages:\n";
  for (const m of ready.messages) text += `${messageWords(m)}\n`;
  return text === "" ? "<empty Ready>" : `Ready MustSync=${ready.mustSync}:\n${text}`;
}
