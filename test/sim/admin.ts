// Who changes the group, as a cluster does it: people give nodes the role of a manager or take it, the leader's real role manager promotes
// and removes, and machines ask the leader's real membership service to join: new ones, removed ones, and those that lost their disk.

import type { RaftId } from "raft-ts";
import { SwarmError, errorText } from "../../proto/base/errors.ts";
import type { Random } from "../../proto/base/random.ts";
import { Node } from "../../proto/gen/objects.ts";
import { NodeRole, NodeSpec, NodeSpec_Availability } from "../../proto/gen/specs.ts";
import { wholeNode } from "../../proto/model/objects.ts";
import type { Store } from "../../manager/store/store.ts";
import type { Machine, Running } from "./machine.ts";

export interface AdminOptions {
  readonly machines: readonly Machine[];
  readonly random: Random;
  readonly clusterId: string;
  readonly trace: (line: string) => void;
  /** Fires after about `ms`; the answer cancels it. */
  readonly after: (ms: number, action: () => void) => () => void;
}

/** A person gives up waiting after this. */
const PATIENCE_MS = 15_000;
const LOOK_EVERY_MS = 300;

/** The machines as nodes of the cluster, the first of them its manager. Throws what the store throws. */
export async function createMachines(store: Store, machines: readonly Machine[]): Promise<void> {
  await store.update((tx) => {
    for (const [place, { name }] of machines.entries()) {
      const role = place === 0 ? NodeRole.MANAGER : NodeRole.WORKER;
      const spec = { ...NodeSpec.create(), availability: NodeSpec_Availability.DRAIN, role };
      tx.nodes.create(wholeNode(Node.create({ id: name, spec, role })));
    }
  });
}

export class Admin {
  readonly #options: AdminOptions;
  /** Machines that are to be members; the others are out, or on their way out. */
  readonly #wanted = new Set<Machine>();
  /** Ids that are or were members. */
  readonly #joined = new Set<RaftId>();
  /** Those of them that are no more. */
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
    this.#options.after(LOOK_EVERY_MS, () => {
      this.start();
      const leader = this.leader();
      if (this.#isBusy || leader === undefined) return;
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
      void leader.process
        .ask(() => this.#step(leader, abort.signal))
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

  /** The first thing that is not as it should be is put right, or begun. */
  async #step(leader: Running, signal: AbortSignal): Promise<void> {
    const { machines, trace } = this.#options;
    // What an old leader believes is no reason to do anything.
    await leader.log.readBarrier(signal);
    const members = leader.log.members();
    for (const { raftId } of members) this.#joined.add(raftId);
    for (const raftId of this.#joined)
      if (!members.some((member) => member.raftId === raftId)) this.#removed.add(raftId);
    for (const machine of machines) {
      const node = leader.store.view().nodes.get(machine.name);
      const role = this.#wanted.has(machine) ? NodeRole.MANAGER : NodeRole.WORKER;
      if (node === undefined) continue;
      if (node.spec.role !== role) {
        trace(`admin: ${machine.name} is to be a ${role === NodeRole.MANAGER ? "manager" : "worker"}`);
        await leader.store.update((tx) => {
          const found = tx.nodes.get(machine.name);
          if (found !== undefined) tx.nodes.update({ ...found, spec: { ...found.spec, role } });
        });
        return;
      }
      const isMember = members.some((member) => member.raftId === machine.raftId);
      if (role !== NodeRole.MANAGER || node.role !== NodeRole.MANAGER || isMember) continue;
      await this.#join({ machine, leader }, signal);
      return;
    }
  }

  async #join(
    { machine, leader }: { readonly machine: Machine; readonly leader: Running },
    signal: AbortSignal,
  ): Promise<void> {
    const { clusterId, trace } = this.#options;
    const { name, addr } = machine;
    // What it had of an earlier part in the group is no use.
    machine.wipe();
    const caller = { kind: "node", nodeId: name, role: "manager", clusterId, addr } as const;
    const joined = await leader.leading?.membership.join({ addr, raftId: 0 }, { caller, signal });
    if (joined === undefined || machine.isUp) return;
    trace(`admin: ${name} joins as ${joined.raftId}`);
    this.#joined.add(joined.raftId);
    machine.raftId = joined.raftId;
    machine.boot();
  }
}
