// Linearizable reads by the read index (thesis 6.4): a leader notes its commit, asks a quorum in a heartbeat round
// whether it still leads, and answers once they say so. Never by a lease: a paused process serves stale data.
// Rounds are numbered within one leadership; a heartbeat carries the newest, and its answer covers all older ones.
//
// Bound: at most `max` reads wait, in rounds or for the leader's first commit of its term; further ones are refused.

import type { Index, RaftId } from "../ids.ts";

export interface ReadRequest {
  /** Who asked; this node's own id for its own callers. */
  readonly from: RaftId;
  readonly context: Uint8Array;
}

export interface ReadAnswer {
  readonly request: ReadRequest;
  readonly index: Index;
}

export class ReadRounds {
  readonly #max: number;
  #round = 0;
  #waiting: { readonly round: number; readonly index: Index; readonly request: ReadRequest }[] = [];
  /** Invariant: holds no member's answer to a round above #round. */
  readonly #acked = new Map<RaftId, number>();
  #postponed: ReadRequest[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  get isFull(): boolean {
    return this.#waiting.length + this.#postponed.length >= this.#max;
  }

  /** The round a heartbeat should carry; 0 while nobody waits. */
  get pendingRound(): number {
    return this.#waiting.length === 0 ? 0 : this.#round;
  }

  /** Keeps a read until the leader has committed in its term. */
  postpone(request: ReadRequest): void {
    this.#postponed.push(request);
  }

  takePostponed(): readonly ReadRequest[] {
    const postponed = this.#postponed;
    this.#postponed = [];
    return postponed;
  }

  /** Opens a round for a read at the commit index. Returns its number. */
  open(request: ReadRequest, index: Index): number {
    this.#round++;
    this.#waiting.push({ round: this.#round, index, request });
    return this.#round;
  }

  /** A member confirmed the leadership in the round, and so in all before it. */
  ack(from: RaftId, round: number): void {
    if (round > this.#round || round <= (this.#acked.get(from) ?? 0)) return;
    this.#acked.set(from, round);
  }

  /** The newest round the member confirmed. */
  ackedBy(from: RaftId): number {
    return this.#acked.get(from) ?? 0;
  }

  /** Takes out the reads of rounds up to the one a quorum confirmed. */
  takeConfirmed(round: number): readonly ReadAnswer[] {
    const count = this.#waiting.findIndex((read) => read.round > round);
    return this.#waiting.splice(0, count === -1 ? this.#waiting.length : count);
  }

  /** Takes out every read that is not answered, and starts anew. */
  clear(): readonly ReadRequest[] {
    const lost = [...this.#waiting.map((read) => read.request), ...this.#postponed];
    this.#waiting = [];
    this.#postponed = [];
    this.#acked.clear();
    this.#round = 0;
    return lost;
  }
}

const NO_BYTES = new Uint8Array(0);

/** A round as a heartbeat carries it. */
export function encodeRound(round: number): Uint8Array {
  if (round === 0) return NO_BYTES;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(round));
  return bytes;
}

/** 0 for bytes that are no round. */
export function decodeRound(bytes: Uint8Array): number {
  if (bytes.length !== 8) return 0;
  const round = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
  return round <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(round) : 0;
}
