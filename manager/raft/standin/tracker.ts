import type { ConfState } from "../conf-state.ts";
import type { Index, RaftId } from "../ids.ts";

export class Inflights {
  #items: { index: Index; bytes: number }[] = [];
  #bytes = 0;
  readonly max: number;
  readonly maxBytes: number;
  constructor(max: number, maxBytes: number) {
    this.max = max;
    this.maxBytes = maxBytes;
  }
  get count(): number {
    return this.#items.length;
  }
  full(): boolean {
    return this.#items.length >= this.max || (this.maxBytes !== 0 && this.#bytes >= this.maxBytes);
  }
  add(index: Index, bytes: number): void {
    this.#items.push({ index, bytes });
    this.#bytes += bytes;
  }
  freeLE(index: Index): void {
    for (let head = this.#items[0]; head !== undefined && head.index <= index; head = this.#items[0]) {
      this.#bytes -= head.bytes;
      this.#items.shift();
    }
  }
  reset(): void {
    this.#items = [];
    this.#bytes = 0;
  }
}

export class Progress {
  match: Index;
  next: Index;
  sentCommit: Index = 0;
  state: "probe" | "replicate" | "snapshot" = "probe";
  pendingSnapshot: Index = 0;
  recentActive = false;
  msgAppFlowPaused = false;
  isLearner: boolean;
  inflights: Inflights;
  constructor(o: { match: Index; next: Index; isLearner: boolean; max: number; maxBytes: number; active: boolean }) {
    this.match = o.match;
    this.next = o.next;
    this.isLearner = o.isLearner;
    this.recentActive = o.active;
    this.inflights = new Inflights(o.max, o.maxBytes);
  }
  #reset(state: Progress["state"]): void {
    this.msgAppFlowPaused = false;
    this.pendingSnapshot = 0;
    this.state = state;
    this.inflights.reset();
  }
  becomeProbe(): void {
    if (this.state === "snapshot") {
      const pending = this.pendingSnapshot;
      this.#reset("probe");
      this.next = Math.max(this.match + 1, pending + 1);
    } else {
      this.#reset("probe");
      this.next = this.match + 1;
    }
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }
  becomeReplicate(): void {
    this.#reset("replicate");
    this.next = this.match + 1;
  }
  becomeSnapshot(index: Index): void {
    this.#reset("snapshot");
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }
  onEntriesSent(entries: number, bytes: number): void {
    if (this.state === "replicate") {
      if (entries > 0) {
        this.next += entries;
        this.inflights.add(this.next - 1, bytes);
      }
      this.msgAppFlowPaused = this.inflights.full();
    } else if (entries > 0) this.msgAppFlowPaused = true;
  }
  canBumpCommit(index: Index): boolean {
    return index > this.sentCommit && this.sentCommit < this.next - 1;
  }
  onCommitSent(commit: Index): void {
    this.sentCommit = commit;
  }
  maybeUpdate(n: Index): boolean {
    if (n <= this.match) return false;
    this.match = n;
    this.next = Math.max(this.next, n + 1);
    this.msgAppFlowPaused = false;
    return true;
  }
  maybeDecreaseTo(o: { rejected: Index; matchHint: Index }): boolean {
    if (this.state === "replicate") {
      if (o.rejected <= this.match) return false;
      this.next = this.match + 1;
      this.sentCommit = Math.min(this.sentCommit, this.next - 1);
      return true;
    }
    if (this.next - 1 !== o.rejected) return false;
    this.next = Math.max(Math.min(o.rejected, o.matchHint + 1), this.match + 1);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    this.msgAppFlowPaused = false;
    return true;
  }
  isPaused(): boolean {
    return this.state === "snapshot" || this.msgAppFlowPaused;
  }
}

export class Joint {
  readonly incoming: ReadonlySet<RaftId>;
  readonly outgoing: ReadonlySet<RaftId>;
  constructor(incoming: Iterable<RaftId>, outgoing: Iterable<RaftId>) {
    this.incoming = new Set(incoming);
    this.outgoing = new Set(outgoing);
  }
  get isJoint(): boolean {
    return this.outgoing.size > 0;
  }
  ids(): ReadonlySet<RaftId> {
    return new Set([...this.incoming, ...this.outgoing]);
  }
  committedIndex(acked: (id: RaftId) => Index): Index {
    const one = (s: ReadonlySet<RaftId>): Index => {
      if (s.size === 0) return Infinity;
      const a = [...s].map(acked).sort((x, y) => y - x);
      return a[Math.floor(a.length / 2)] ?? 0;
    };
    return Math.min(one(this.incoming), one(this.outgoing));
  }
  voteResult(votes: ReadonlyMap<RaftId, boolean>): "won" | "lost" | "pending" {
    const one = (s: ReadonlySet<RaftId>): "won" | "lost" | "pending" => {
      if (s.size === 0) return "won";
      let y = 0;
      let missing = 0;
      for (const id of s) {
        const v = votes.get(id);
        if (v === undefined) missing++;
        else if (v) y++;
      }
      const q = Math.floor(s.size / 2) + 1;
      return y >= q ? "won" : y + missing >= q ? "pending" : "lost";
    };
    const a = one(this.incoming);
    const b = one(this.outgoing);
    if (a === b) return a;
    return a === "lost" || b === "lost" ? "lost" : "pending";
  }
}

export interface Conf {
  voters: Joint;
  learners: ReadonlySet<RaftId>;
  learnersNext: ReadonlySet<RaftId>;
  autoLeave: boolean;
}

export class ProgressTracker {
  config: Conf = { voters: new Joint([], []), learners: new Set(), learnersNext: new Set(), autoLeave: false };
  progress: Map<RaftId, Progress> = new Map();
  votes: Map<RaftId, boolean> = new Map();
  readonly max: number;
  readonly maxBytes: number;
  constructor(o: { maxInflightMessages: number; maxInflightBytes: number }) {
    this.max = o.maxInflightMessages;
    this.maxBytes = o.maxInflightBytes;
  }
  newProgress(o: { match: Index; next: Index; isLearner: boolean; active: boolean }): Progress {
    return new Progress({ ...o, max: this.max, maxBytes: this.maxBytes });
  }
  resetVotes(): void {
    this.votes = new Map();
  }
  resetProgress(o: { self: RaftId; lastIndex: Index }): void {
    for (const [id, p] of this.progress) {
      this.progress.set(
        id,
        this.newProgress({
          match: id === o.self ? o.lastIndex : 0,
          next: o.lastIndex + 1,
          isLearner: p.isLearner,
          active: false,
        }),
      );
    }
  }
  sortedIds(): readonly RaftId[] {
    return [...this.progress.keys()].sort((a, b) => a - b);
  }
  committed(): Index {
    return this.config.voters.committedIndex((id) => this.progress.get(id)?.match ?? 0);
  }
  isSingleton(): boolean {
    return this.config.voters.incoming.size === 1 && this.config.voters.outgoing.size === 0;
  }
  quorumActive(_self: RaftId): boolean {
    const votes = new Map<RaftId, boolean>();
    for (const [id, p] of this.progress) if (!p.isLearner) votes.set(id, p.recentActive);
    return this.config.voters.voteResult(votes) === "won";
  }
  recordVote(id: RaftId, v: boolean): void {
    if (!this.votes.has(id)) this.votes.set(id, v);
  }
  tallyVotes(): { granted: number; rejected: number; result: "won" | "lost" | "pending" } {
    let granted = 0;
    let rejected = 0;
    for (const [id, p] of this.progress) {
      if (p.isLearner) continue;
      const v = this.votes.get(id);
      if (v === true) granted++;
      else if (v === false) rejected++;
    }
    return { granted, rejected, result: this.config.voters.voteResult(this.votes) };
  }
  confState(): ConfState {
    const l = (s: Iterable<RaftId>): RaftId[] => [...s].sort((a, b) => a - b);
    return {
      voters: l(this.config.voters.incoming),
      votersOutgoing: l(this.config.voters.outgoing),
      learners: l(this.config.learners),
      learnersNext: l(this.config.learnersNext),
      autoLeave: this.config.autoLeave,
    };
  }
}
