// Changes of the group, made by its leader one at a time: propose, then wait until the entry is applied or something else
// stands in its place. Which change makes sense when is decided here; who asks for it, elsewhere.

import {
  type ConfChange,
  type ConfChangeType,
  type Entry,
  type Index,
  type RaftId,
  type StepError,
  type Term,
  decodeConfChange,
} from "raft-ts";
import { assert } from "../../proto/base/assert.ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import { RaftMember } from "../../proto/gen/raft.ts";
import type { Member, Membership } from "./membership.ts";
import { type MemberView, hasQuorum, listOf } from "./membership-view.ts";
import { newRaftId } from "./raft-id.ts";
import type { Waits } from "./replicated-log-waits.ts";

const CHANGE_TIMEOUT_MS = 10_000;

export interface ChangeRequest {
  readonly type: ConfChangeType;
  readonly raftId: RaftId;
  /** The member as it is to be known, encoded; empty: nothing is said of it. */
  readonly context: Uint8Array;
}

export interface MembershipChangesOptions {
  readonly random: Random;
  readonly waits: Waits;
  readonly nowMs: () => number;
  readonly membership: () => Membership;
  readonly views: () => readonly MemberView[];
  /** Throws when this node does not lead. */
  readonly assertLeader: () => void;
  /** Where the entry stands in the log, or why it is in none. */
  readonly propose: (change: ChangeRequest) => { readonly index: Index; readonly term: Term } | StepError;
}

interface Pending {
  readonly index: Index;
  readonly term: Term;
  outcome: "pending" | "done" | "refused" | "lost";
}

export class MembershipChanges {
  readonly #options: MembershipChangesOptions;
  /** One after another: the log takes one change at a time. */
  #last: Promise<void> = Promise.resolve();
  #pending: Pending | undefined;

  constructor(options: MembershipChangesOptions) {
    this.#options = options;
  }

  addLearner(member: Omit<Member, "raftId">, signal: AbortSignal): Promise<Member> {
    return this.#inTurn(signal, async () => {
      const membership = this.#options.membership();
      const present = membership.members.find((each) => each.nodeId === member.nodeId);
      if (present !== undefined)
        throw new SwarmError("AlreadyExists", `node ${member.nodeId} is a manager of this cluster already`);
      const added: Member = { ...member, raftId: newRaftId(this.#options.random, membership) };
      await this.#change({ type: "addLearnerNode", member: added }, signal);
      return added;
    });
  }

  promote(raftId: RaftId, signal: AbortSignal): Promise<void> {
    return this.#inTurn(signal, async () => {
      const view = this.#find(raftId);
      if (!view.isLearner) return;
      if (!view.isCaughtUp)
        throw new SwarmError("FailedPrecondition", `manager ${view.addr} has not caught up yet; try again later`);
      // It would count at once, and from one manager to two nothing could be decided any more.
      if (!view.reachable)
        throw new SwarmError("FailedPrecondition", `manager ${view.addr} cannot be reached; start or heal it first`);
      await this.#change({ type: "addNode", member: memberOf(view) }, signal);
    });
  }

  removeMember(raftId: RaftId, signal: AbortSignal): Promise<void> {
    return this.#inTurn(signal, async () => {
      const view = this.#find(raftId);
      if (!view.isLearner) this.#checkQuorumWithout(view);
      await this.#change({ type: "removeNode", member: memberOf(view) }, signal);
    });
  }

  updateAddress(member: Member, signal: AbortSignal): Promise<void> {
    return this.#inTurn(signal, async () => {
      if (this.#find(member.raftId).addr === member.addr) return;
      await this.#change({ type: "updateNode", member }, signal);
    });
  }

  /** An entry of the log was applied. */
  applied(entry: Entry): void {
    const pending = this.#pending;
    if (pending?.outcome !== "pending" || entry.index < pending.index) return;
    if (entry.index === pending.index && entry.term === pending.term)
      pending.outcome = entry.type === 0 ? "refused" : "done";
    else pending.outcome = "lost";
  }

  /** This node leads no longer. */
  leadershipLost(): void {
    if (this.#pending?.outcome === "pending") this.#pending.outcome = "lost";
  }

  #inTurn<T>(signal: AbortSignal, action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      signal.throwIfAborted();
      this.#options.assertLeader();
      return action();
    });
    this.#last = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  #find(raftId: RaftId): MemberView {
    const view = this.#options.views().find((each) => each.raftId === raftId);
    if (view === undefined) throw new SwarmError("NotFound", `no manager has the raft id ${raftId}`);
    return view;
  }

  #checkQuorumWithout(gone: MemberView): void {
    const rest = this.#options.views().filter((view) => !view.isLearner && view.raftId !== gone.raftId);
    if (rest.length === 0)
      throw new SwarmError("FailedPrecondition", `manager ${gone.addr} is the last one: the cluster would be lost`);
    if (hasQuorum(rest)) return;
    const down = rest.filter((view) => !view.reachable);
    throw new SwarmError(
      "FailedPrecondition",
      `without manager ${gone.addr} the others have no majority, because ${listOf(down)} cannot be reached; start or heal them first`,
    );
  }

  async #change(
    change: { readonly type: ConfChangeType; readonly member: Member },
    signal: AbortSignal,
  ): Promise<void> {
    const { type, member } = change;
    const context = type === "removeNode" ? new Uint8Array(0) : RaftMember.encode(member).finish();
    const placed = this.#options.propose({ type, raftId: member.raftId, context });
    if ("kind" in placed)
      throw new SwarmError("Unavailable", "the leader takes no changes at the moment; try again later");
    const pending: Pending = { ...placed, outcome: "pending" };
    this.#pending = pending;
    const outcome = await this.#options.waits.until(
      () => (pending.outcome === "pending" ? undefined : pending.outcome),
      { deadlineMs: this.#options.nowMs() + CHANGE_TIMEOUT_MS, late: () => unknownFate(member), signal },
    );
    if (outcome === "lost") throw unknownFate(member);
    if (outcome === "refused")
      throw new SwarmError("Unavailable", "another change of the managers is under way; try again in a moment");
  }
}

function unknownFate({ addr }: Member): SwarmError {
  return new SwarmError(
    "Unavailable",
    `it is not known whether the change of manager ${addr} was made: the leader lost the majority meanwhile; look before trying again`,
  );
}

function memberOf({ raftId, nodeId, addr }: MemberView): Member {
  return { raftId, nodeId, addr };
}

/** What a membership entry asks for, and whom its context names. Throws FailedPrecondition for what no version known here wrote. */
export function readConfEntry(entry: Entry): {
  readonly change: ConfChange;
  readonly member: Member | undefined;
} {
  assert(entry.type !== 0, "a membership entry is read");
  const change = decodeConfChange(entry.type, entry.data);
  if (change === null) throw unreadable(entry, "it is no membership change");
  if (change.context.length === 0) return { change, member: undefined };
  try {
    const { raftId, nodeId, addr } = RaftMember.decode(change.context);
    return { change, member: { raftId, nodeId, addr } };
  } catch (error) {
    throw unreadable(entry, errorText(error));
  }
}

/** A committed entry that this version cannot read. */
export function unreadable(entry: Entry, detail: string): SwarmError {
  return new SwarmError(
    "FailedPrecondition",
    `entry ${entry.index} of the managers' log cannot be read: ${detail}; it may be of a newer version`,
  );
}
