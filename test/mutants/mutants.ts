// Mistakes in the core that must not stay unseen: each breaks one rule of Raft on purpose, as an edit of the source.
// An edit names text that occurs exactly once in its file (test/raft/mutants.test.ts holds the list to that).

export interface Edit {
  /** Below manager/raft. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  /** What the broken core does, as a sentence's end: "it ...". */
  readonly it: string;
  readonly edits: readonly Edit[];
}

function edit(file: string, text: { readonly find: string; readonly replace: string }): Edit {
  return { file, ...text };
}

const ELECTION: readonly Mutant[] = [
  {
    it: "votes for logs that are longer but of an older term",
    edits: [
      edit("log/raft-log.ts", {
        find: "return id.term > last.term || (id.term === last.term && id.index >= last.index);",
        replace: "return id.index >= last.index;",
      }),
    ],
  },
  {
    it: "votes without looking at the log",
    edits: [
      edit("core/election.ts", {
        find: "const granted = canVote && raft.log.isUpToDate({ term: m.logTerm, index: m.index });",
        replace: "const granted = canVote;",
      }),
    ],
  },
  {
    it: "votes for several candidates in one term",
    edits: [
      edit("core/election.ts", {
        find: "raft.vote === m.from || (raft.vote === NONE",
        replace: 'raft.vote === m.from || type === "vote" || (raft.vote === NONE',
      }),
    ],
  },
  {
    it: "leads by others' votes before its own is durable",
    edits: [
      edit("core/election.ts", {
        find: 'result === "won" && raft.tracker.votes.get(raft.id) === true',
        replace: 'result === "won"',
      }),
    ],
  },
  {
    it: "votes although it hears a leader",
    edits: [
      edit("core/election.ts", {
        find: "raft.config.checkQuorum && raft.leader !== NONE && raft.electionElapsed < raft.config.electionTicks;",
        replace: "raft.config.checkQuorum && raft.electionElapsed < 0;",
      }),
    ],
  },
  {
    it: "enters the term that a pre-vote only asks about",
    edits: [
      edit("core/step.ts", {
        find: 'if (m.type === "preVote" || (m.type === "preVoteResp" && !m.reject)) return true;',
        replace: "",
      }),
    ],
  },
  {
    it: "campaigns with a committed membership change that it has not applied",
    edits: [
      edit("core/election.ts", {
        find: "if (entries.some(isConfChange)) return true;",
        replace: "",
      }),
    ],
  },
  {
    it: "goes on leading although no quorum answers",
    edits: [
      edit("core/leader.ts", {
        find: "if (id !== raft.id) progress.recentActive = false;",
        replace: "",
      }),
    ],
  },
  {
    it: "hands leadership to a member that lags",
    edits: [
      edit("core/transfer.ts", {
        find: "if (progress.match === raft.log.lastIndex()) sendTimeoutNow",
        replace: "if (progress.match > 0) sendTimeoutNow",
      }),
    ],
  },
  {
    it: "takes proposals while it hands leadership over",
    edits: [
      edit("core/propose.ts", {
        find: 'if (raft.transferTo !== NONE) return drop(raft, "transferring");',
        replace: "",
      }),
    ],
  },
];

const LOG: readonly Mutant[] = [
  {
    it: "commits an entry of an older term by counting",
    edits: [
      edit("core/replicate.ts", {
        find: "raft.log.maybeCommit({ term: raft.term, index: raft.tracker.committed() })",
        replace:
          "raft.log.maybeCommit({ term: raft.log.termOrZero(raft.tracker.committed()), index: raft.tracker.committed() })",
      }),
    ],
  },
  {
    it: "commits beyond what the append has shown to agree",
    edits: [
      edit("log/raft-log.ts", {
        find: "this.commitTo(Math.min(append.commit, lastNew));",
        replace: "this.commitTo(Math.min(append.commit, this.lastIndex()));",
      }),
    ],
  },
  {
    it: "tells a follower in a heartbeat to commit what it may not hold",
    edits: [
      edit("core/replicate.ts", {
        find: "const commit = Math.min(progress.match, raft.log.committed);",
        replace: "const commit = raft.log.committed;",
      }),
    ],
  },
  {
    it: "takes entries without comparing the one before them",
    edits: [
      edit("log/raft-log.ts", {
        find: 'if (!this.matches(append.previous)) return { kind: "mismatch" };',
        replace: 'if (append.previous.index > this.lastIndex()) return { kind: "mismatch" };',
      }),
    ],
  },
  {
    it: "cuts its log at every append, also where nothing contradicts it",
    edits: [
      edit("log/raft-log.ts", {
        find: "if (this.matches(entry)) continue;",
        replace: "if (entry.index <= this.#committed) continue;",
      }),
    ],
  },
  {
    it: "sends acknowledgements and votes before they are stored",
    edits: [
      edit("raw-node.ts", {
        find: "const messages = [...this.#raft.messages];",
        replace:
          "const messages = [...this.#raft.messages, ...this.#raft.messagesAfterAppend.filter((m) => m.to !== this.#raft.id)];",
      }),
    ],
  },
  {
    it: "counts its own entries before they are stored",
    edits: [
      edit("core/propose.ts", {
        find: 'raft.send({ type: "appResp", to: raft.id, index: raft.log.append(entries) });',
        replace: "raft.tracker.progress.get(raft.id)?.maybeUpdate(raft.log.append(entries));",
      }),
    ],
  },
  {
    it: "takes an answer of its storage from an earlier term for today's entries",
    edits: [
      edit("core/step.ts", {
        find: 'if (m.index !== 0) raft.trace({ kind: "staleAppendIgnored", messageTerm: m.term, term });',
        replace: "if (m.index !== 0) raft.log.stableTo({ term: m.logTerm, index: m.index });",
      }),
    ],
  },
  {
    it: "does not ask for a durable write when only the vote is new",
    edits: [
      edit("raw-node.ts", {
        find: "(hardState.term !== this.#previousHard.term || hardState.vote !== this.#previousHard.vote)",
        replace: "hardState.term !== this.#previousHard.term",
      }),
    ],
  },
  {
    it: "hands out committed entries that its own storage does not hold yet",
    edits: [
      edit("raw-node.ts", {
        find: "const committedEntries = raft.log.nextCommitted(!this.#async);",
        replace: "const committedEntries = raft.log.nextCommitted(true);",
      }),
    ],
  },
  {
    it: "sends without regard to the window",
    edits: [
      edit("tracker/progress.ts", {
        find: "this.msgAppFlowPaused = this.inflights.full();",
        replace: "if (this.inflights.full()) this.inflights.reset();",
      }),
    ],
  },
];

const MEMBERSHIP: readonly Mutant[] = [
  {
    it: "needs only the incoming half of a joint membership to commit",
    edits: [
      edit("quorum/joint.ts", {
        find: "return Math.min(majorityCommitted(this.incoming, acknowledged), majorityCommitted(this.outgoing, acknowledged));",
        replace: "return majorityCommitted(this.incoming, acknowledged);",
      }),
    ],
  },
  {
    it: "needs only the incoming half of a joint membership to elect",
    edits: [
      edit("quorum/joint.ts", {
        find: "const halves = [majorityVote(this.incoming, votes), majorityVote(this.outgoing, votes)];",
        replace: "const halves = [majorityVote(this.incoming, votes)];",
      }),
    ],
  },
  {
    it: "counts what learners hold",
    edits: [
      edit("tracker/tracker.ts", {
        find: 'import type { VoteResult } from "../quorum/majority.ts";',
        replace: 'import { type VoteResult, majorityCommitted } from "../quorum/majority.ts";',
      }),
      edit("tracker/tracker.ts", {
        find: "return this.config.voters.committedIndex((id) => this.progress.get(id)?.match ?? 0);",
        replace: "return majorityCommitted(new Set(this.progress.keys()), (id) => this.progress.get(id)?.match ?? 0);",
      }),
    ],
  },
  {
    it: "lets a leader that removed itself go on",
    edits: [
      edit("config.ts", {
        find: "stepDownOnRemoval: config.stepDownOnRemoval ?? true",
        replace: "stepDownOnRemoval: false",
      }),
    ],
  },
  {
    it: "begins a membership change before the former one is applied",
    edits: [
      edit("core/propose.ts", {
        find: "if (raft.pendingConfIndex > raft.log.applied) {",
        replace: "if (raft.pendingConfIndex < 0) {",
      }),
    ],
  },
  {
    it: "changes several voters in one step",
    edits: [
      edit("confchange/change.ts", {
        find: "if (differences(voters.incoming, draft.incoming) > 1) {",
        replace: "if (differences(voters.incoming, draft.incoming) > 9) {",
      }),
      edit("conf-change.ts", {
        find: 'if (change.transition === "auto" && change.changes.length <= 1) return { joint: false };',
        replace: 'if (change.transition === "auto") return { joint: false };',
      }),
    ],
  },
  {
    it: "applies a membership change that a snapshot has brought already",
    edits: [edit("core/membership.ts", { find: "if (index <= raft.confIndex) return null;", replace: "" })],
  },
  {
    it: "sends a snapshot with today's membership in place of the snapshot's own",
    edits: [
      edit("core/replicate.ts", {
        find: 'raft.send({ type: "snap", to, snapshot });',
        replace: 'raft.send({ type: "snap", to, snapshot: { ...snapshot, conf: raft.tracker.confState() } });',
      }),
    ],
  },
  {
    it: "sends a snapshot to a member that the snapshot does not know",
    edits: [
      edit("core/replicate.ts", {
        find: 'if (!confStateHas(snapshot.conf, to)) return notSent(raft, to, "lacks-peer");',
        replace: "",
      }),
    ],
  },
  {
    it: "takes a snapshot older than what it has committed",
    edits: [
      edit("core/membership.ts", {
        find: "if (snapshot.index <= raft.log.committed) return false;",
        replace: "",
      }),
    ],
  },
];

const READS: readonly Mutant[] = [
  {
    it: "answers a read for the only voter without being that voter",
    edits: [
      edit("core/read-index.ts", {
        find: "if (!raft.isVoter || !raft.tracker.progress.has(m.from)) return",
        replace: "if (!raft.tracker.progress.has(m.from) && m.from !== raft.id) return",
      }),
      edit("core/read-index.ts", {
        find: "if (raft.tracker.config.voters.isSingleton && raft.isVoter) {",
        replace: "if (raft.tracker.config.voters.isSingleton) {",
      }),
    ],
  },
  {
    it: "answers reads before it has committed in its term",
    edits: [
      edit("core/read-index.ts", {
        find: 'if (!raft.hasCommittedInTerm) {\n    raft.trace({ kind: "readPostponed"',
        replace: 'if (raft.term === 0) {\n    raft.trace({ kind: "readPostponed"',
      }),
    ],
  },
  {
    it: "answers a read as soon as one member confirms it",
    edits: [
      edit("core/read-index.ts", {
        find: "for (const read of raft.reads.takeConfirmed(confirmed)) answer(raft, read);",
        replace: "for (const read of raft.reads.takeConfirmed(Math.max(confirmed, round))) answer(raft, read);",
      }),
    ],
  },
  {
    it: "answers a read by the confirmation of an earlier one",
    edits: [
      edit("core/reads.ts", {
        find: "const count = this.#waiting.findIndex((read) => read.round > round);",
        replace: "const count = round === 0 ? 0 : -1;",
      }),
    ],
  },
  {
    it: "answers its reads although it lost its leadership",
    edits: [
      edit("core/state.ts", {
        find: 'if (from === this.id) this.readStates.push({ kind: "refused", reason: "leadership-lost", context });',
        replace: 'if (from === this.id) this.readStates.push({ kind: "ready", index: this.log.committed, context });',
      }),
    ],
  },
];

export const MUTANTS: readonly Mutant[] = [...ELECTION, ...LOG, ...MEMBERSHIP, ...READS];
