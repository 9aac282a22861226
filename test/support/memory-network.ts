// The messages of a group of managers, carried in memory on the test's clock. A test cuts directions and lets them heal.

import type { Message, RaftId } from "raft-ts";
import type { Clock } from "../../proto/base/clock.ts";
import { errorText } from "../../proto/base/errors.ts";
import type { Logger } from "../../proto/base/log.ts";
import type { Member } from "../../manager/replication/membership.ts";
import type {
  IncomingSnapshot,
  OutgoingSnapshot,
  Transport,
  TransportReceiver,
} from "../../manager/replication/transport.ts";

export interface MemoryNetworkOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of one message, one way. */
  readonly delayMs: number;
  /** Delivers one message. Absent: after the delay. */
  readonly later?: (action: () => void) => void;
}

export class MemoryNetwork {
  readonly #options: MemoryNetworkOptions;
  readonly #ends = new Map<RaftId, { readonly self: Member; readonly receiver: TransportReceiver }>();
  readonly #cut = new Set<string>();
  snapshots = 0;

  constructor(options: MemoryNetworkOptions) {
    this.#options = options;
  }

  /** Loses what goes from one to the other. */
  cut(from: RaftId, to: RaftId): void {
    this.#cut.add(`${from} ${to}`);
  }

  /** Nobody hears the member and it hears nobody. */
  isolate(id: RaftId, others: readonly RaftId[]): void {
    for (const other of others) {
      this.cut(id, other);
      this.cut(other, id);
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  leave(id: RaftId): void {
    this.#ends.delete(id);
  }

  /** The member's end; a later one of the same member takes its place. */
  join(self: Member, receiver: TransportReceiver): Transport {
    const end = { self, receiver };
    this.#ends.set(self.raftId, end);
    let peers: ReadonlySet<RaftId> = new Set();
    const heardMs = new Map<RaftId, number>();
    const isHere = (): boolean => this.#ends.get(self.raftId) === end;
    return {
      setPeers: (members) => {
        peers = new Set(members.map((member) => member.raftId));
      },
      send: (messages) => {
        for (const message of messages) {
          if (!isHere()) return;
          if (!peers.has(message.to)) receiver.unreachable(message.to);
          else this.#carry(self, message);
        }
      },
      sendSnapshot: (snapshot, signal) => this.#carrySnapshot(self, snapshot, signal),
      lastHeardMs: (id) => heardMs.get(id),
    };
  }

  #carry(from: Member, message: Message): void {
    this.#later(() => {
      const to = this.#ends.get(message.to);
      const back = this.#ends.get(from.raftId);
      if (to === undefined || this.#cut.has(`${from.raftId} ${message.to}`)) return;
      if (to.receiver.isRemoved(from.raftId)) {
        if (!this.#cut.has(`${message.to} ${from.raftId}`)) back?.receiver.removed();
        return;
      }
      to.receiver.introduced(from);
      to.receiver.receive([message]);
    });
  }

  #later(action: () => void): void {
    const { clock, delayMs, later } = this.#options;
    if (later === undefined) clock.after(delayMs, action);
    else later(action);
  }

  async #carrySnapshot(from: Member, snapshot: OutgoingSnapshot, signal: AbortSignal): Promise<boolean> {
    const to = this.#ends.get(snapshot.message.to);
    try {
      await this.#options.clock.sleep(this.#options.delayMs, signal);
      if (to === undefined || this.#cut.has(`${from.raftId} ${snapshot.message.to}`)) return false;
      this.snapshots += 1;
      to.receiver.introduced(from);
      const incoming: IncomingSnapshot = snapshot;
      await to.receiver.receiveSnapshot(incoming, signal);
      return true;
    } catch (error) {
      this.#options.logger.info("a snapshot was lost", { error: errorText(error) });
      return false;
    }
  }
}
