// Who changes the group: machines that ask to join, members that are taken out, learners that are promoted once they have caught up, and
// machines that lost their disk and come back under a new id. One change at a time, through whoever leads.

import type { RaftId } from "raft-ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import type { Machine, Running } from "./machine.ts";

export interface AdminOptions {
  readonly machines: readonly Machine[];
  readonly random: Random;
  readonly trace: (line: string) => void;
  /** Fires after about `ms`; the answer cancels it. */
  readonly after: (ms: number, action: () => void) => () => void;
}

/** A person gives up waiting after this. */
const PATIENCE_MS = 15_000;
const PROMOTE_EVERY_MS = 300;

export class Admin {
  readonly #options: AdminOptions;
  /** Machines that are to be members; the others are out, or on their way out. */
  readonly #wanted = new Set<Machine>();
  /** Ids whose removal was acknowledged. */
  readonly #removed = new Set<RaftId>();
  #isBusy = false;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  /** The machines that are to be in the group. */
  get wanted(): ReadonlySet<Machine> {
    return this.#wanted;
  }

  isRemoved(raftId: RaftId): boolean {
    return this.#removed.has(raftId);
  }

  want(machine: Machine): void {
    this.#wanted.add(machine);
  }

  unwant(machine: Machine): void {
    this.#wanted.delete(machine);
  }

  /** Looks every now and then what is to be done, until the end of the simulation. */
  start(): void {
    this.#options.after(PROMOTE_EVERY_MS, () => {
      this.start();
      if (this.#isBusy) return;
      const leader = this.leader();
      if (leader === undefined) return;
      this.#isBusy = true;
      const abort = new AbortController();
      const done = (): void => {
        cancel();
        this.#isBusy = false;
      };
      const cancel = this.#options.after(PATIENCE_MS, () => {
        abort.abort(new SwarmError("Cancelled", "nobody waits any more"));
        done();
      });
      void this.#step(leader, abort.signal)
        .catch((error: unknown) => {
          if (!(error instanceof SwarmError)) throw error;
          this.#options.trace(`admin: ${errorText(error)}`);
        })
        .finally(done);
    });
  }

  /** Whoever says that it leads in the highest term. */
  leader(): Running | undefined {
    const leaders = this.#options.machines.flatMap(({ running }) => (running?.leads === undefined ? [] : [running]));
    return leaders.sort((a, b) => (b.leads ?? 0) - (a.leads ?? 0))[0];
  }

  /** The first thing that is not as it should be is put right. */
  async #step(leader: Running, signal: AbortSignal): Promise<void> {
    const { machines, trace } = this.#options;
    const members = leader.log.members();
    const odd = members.filter((member) => {
      const machine = machines.find((each) => each.name === member.nodeId);
      return machine === undefined || !this.#wanted.has(machine) || machine.raftId !== member.raftId;
    });
    const gone = odd.find((member) => !member.isSelf);
    if (gone !== undefined) {
      trace(`admin: removes ${gone.nodeId} (${gone.raftId})`);
      await leader.log.removeMember(gone.raftId, signal);
      this.#removed.add(gone.raftId);
      trace(`admin: removed ${gone.nodeId} (${gone.raftId})`);
      return;
    }
    const learner = members.find((member) => member.isLearner && member.isCaughtUp);
    if (learner !== undefined) {
      trace(`admin: promotes ${learner.nodeId}`);
      await leader.log.promote(learner.raftId, signal);
      return;
    }
    const outside = machines.find(
      (each) => this.#wanted.has(each) && !members.some((member) => member.nodeId === each.name),
    );
    if (outside === undefined) {
      if (odd.length === 0) return;
      trace(`admin: ${leader.name} is to hand over before it goes`);
      await leader.log.transferLeadership(undefined, signal);
      return;
    }
    // What it had of an earlier part in the group is no use.
    outside.wipe();
    const { name, addr } = outside;
    const added = await leader.log.addLearner({ nodeId: name, addr }, signal);
    if (outside.isUp || !this.#wanted.has(outside)) return;
    trace(`admin: added ${name} as ${added.raftId}`);
    outside.raftId = added.raftId;
    outside.boot();
  }
}
