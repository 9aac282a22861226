// Whom this node speaks to: the members that its log names, and those it was told of otherwise while its log is behind. And
// when each was last heard from.

import type { RaftId } from "raft-ts";
import type { Clock } from "../../proto/base/clock.ts";
import { type Member, type Membership, NO_MEMBERSHIP } from "./membership.ts";
import { REACHABLE_MS } from "./membership-view.ts";
import type { Transport } from "./transport.ts";

/** Members that the log does not name, and that are kept nevertheless; the oldest give way. */
const STRANGERS_MAX = 16;

export class Peers {
  readonly #self: RaftId;
  readonly #clock: Clock;
  readonly #transport: Transport;
  #membership: Membership = NO_MEMBERSHIP;
  #removed: ReadonlySet<RaftId> = new Set();
  #known = new Map<RaftId, Member>();
  #strangers: readonly Member[];
  readonly #heardMs = new Map<RaftId, number>();
  /** Counts changes of the membership. */
  version = 0;

  constructor(options: {
    readonly self: RaftId;
    readonly clock: Clock;
    readonly transport: Transport;
    readonly seeds: readonly Member[];
  }) {
    this.#self = options.self;
    this.#clock = options.clock;
    this.#transport = options.transport;
    this.#strangers = options.seeds;
  }

  setMembership(membership: Membership): void {
    this.#membership = membership;
    this.#removed = new Set(membership.removed);
    this.version += 1;
    this.#connect();
  }

  /** A peer says who it is and where, over a connection that proves it. */
  introduced(member: Member): void {
    const { raftId } = member;
    if (this.#membership.members.some((each) => each.raftId === raftId)) return;
    if (raftId === this.#self || this.#removed.has(raftId)) return;
    const known = this.#strangers.find((each) => each.raftId === raftId);
    if (known?.addr === member.addr) return;
    this.#strangers = [...this.#strangers.filter((each) => each.raftId !== raftId), member].slice(-STRANGERS_MAX);
    this.#connect();
  }

  isRemoved(id: RaftId): boolean {
    return this.#removed.has(id);
  }

  find(id: RaftId): Member | undefined {
    if (id === this.#self) return this.#membership.members.find((each) => each.raftId === id);
    return this.#known.get(id);
  }

  heard(id: RaftId): void {
    if (this.#known.has(id)) this.#heardMs.set(id, this.#clock.monotonicMs());
  }

  /** `byAnswers`: its messages alone count, because they are due; otherwise a living connection does too. */
  isReachable(id: RaftId, options: { readonly byAnswers: boolean }): boolean {
    const heardMs = this.#heardMs.get(id) ?? -Infinity;
    const connectedMs = options.byAnswers ? -Infinity : (this.#transport.lastHeardMs(id) ?? -Infinity);
    return this.#clock.monotonicMs() - Math.max(heardMs, connectedMs) < REACHABLE_MS;
  }

  #connect(): void {
    const named = new Set(this.#membership.members.map((each) => each.raftId));
    this.#strangers = this.#strangers.filter((each) => !named.has(each.raftId) && !this.#removed.has(each.raftId));
    const peers = [...this.#membership.members, ...this.#strangers].filter((each) => each.raftId !== this.#self);
    this.#known = new Map(peers.map((each) => [each.raftId, each]));
    for (const id of this.#heardMs.keys()) if (!this.#known.has(id)) this.#heardMs.delete(id);
    this.#transport.setPeers(peers);
  }
}
