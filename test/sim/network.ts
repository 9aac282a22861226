// The network between simulated managers, as the driver's Transport: messages are lost, doubled, held up and overtake each other;
// links are cut, in one direction or both; snapshots travel piece by piece and can be cut in the middle.

import type { Message, RaftId } from "raft-ts";
import type { Member } from "../../manager/replication/membership.ts";
import type { OutgoingSnapshot, Transport, TransportReceiver } from "../../manager/replication/transport.ts";
import { messageFromWire, messageToWire } from "../../manager/replication/grpc/raft-wire.ts";
import { aborted } from "../../proto/base/abort.ts";
import { defined } from "../../proto/base/assert.ts";
import { RaftMessage } from "../../proto/gen/raft.ts";
import type { Random } from "../../proto/base/random.ts";
import { errorText, SwarmError } from "../../proto/base/errors.ts";
import type { SimProcess } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";

/** How the whole network is. The faults change it. */
export interface NetworkState {
  /** Chance of each batch of messages. */
  lose: number;
  double: number;
  overtake: number;
  /** Of one way, about. */
  delayMs: number;
}

/** A manager's place in the network. */
export interface Endpoint {
  readonly name: string;
  readonly addr: string;
  readonly raftId: RaftId;
  readonly process: SimProcess;
  readonly receiver: TransportReceiver;
  /** When each peer was last heard. */
  readonly heard: Map<RaftId, number>;
}

export interface NetworkOptions {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly state: NetworkState;
  /** Sees every message that leaves a manager. */
  readonly onSend: (from: Endpoint, message: Message) => void;
  readonly trace: (line: string) => void;
}

export class Network {
  readonly #options: NetworkOptions;
  readonly #endpoints = new Map<string, Endpoint>();
  /** "from>to" by address. */
  readonly #cuts = new Set<string>();
  /** When the last batch of each link arrives, so that the next one comes after it. */
  readonly #busyUntil = new Map<string, number>();

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  cut(link: { readonly from: string; readonly to: string }): void {
    this.#cuts.add(`${link.from}>${link.to}`);
  }

  healAll(): void {
    this.#cuts.clear();
  }

  isCut(link: { readonly from: string; readonly to: string }): boolean {
    return this.#cuts.has(`${link.from}>${link.to}`);
  }

  /** The manager's end; it takes the place of what was at that address. */
  attach(self: Omit<Endpoint, "heard">): Transport {
    const endpoint: Endpoint = { ...self, heard: new Map() };
    this.#endpoints.set(self.addr, endpoint);
    let peers = new Map<RaftId, Member>();
    return {
      setPeers: (members) => {
        peers = new Map(members.map((member) => [member.raftId, member]));
      },
      send: (messages) => {
        if (!self.process.isAlive) return;
        for (const message of messages) this.#options.onSend(endpoint, message);
        for (const [to, batch] of Map.groupBy(messages, (message) => message.to))
          this.#send({ from: endpoint, to, member: peers.get(to) }, batch);
      },
      sendSnapshot: async (snapshot, signal) => {
        if (!self.process.isAlive) return new Promise<boolean>(() => undefined);
        this.#options.onSend(endpoint, snapshot.message);
        const member = peers.get(snapshot.message.to);
        const isStored =
          member !== undefined && (await this.#sendSnapshot({ from: endpoint, member, snapshot }, signal));
        return new Promise((resolve) => self.process.run(() => resolve(isStored)));
      },
      lastHeardMs: (id) => {
        const member = peers.get(id);
        return member === undefined || !this.#isJoined(endpoint, member) ? undefined : endpoint.heard.get(id);
      },
    };
  }

  #send(
    link: { readonly from: Endpoint; readonly to: RaftId; readonly member: Member | undefined },
    batch: readonly Message[],
  ): void {
    const { random, state, scheduler } = this.#options;
    const { from, member } = link;
    const isLost =
      member === undefined || this.isCut({ from: from.addr, to: member.addr }) || random.float() < state.lose;
    if (isLost) {
      if (random.float() < 0.5) this.#unreachable(link);
      return;
    }
    const name = `${from.addr}>${member.addr}`;
    const delayMs = state.delayMs * (0.3 + random.float() * 1.4);
    let atMs = scheduler.nowMs + delayMs;
    if (random.float() < state.overtake) atMs += state.delayMs * random.float() * 10;
    else {
      atMs = Math.max(atMs, this.#busyUntil.get(name) ?? 0);
      this.#busyUntil.set(name, atMs);
    }
    const carried = batch.map(overTheWire);
    const arrive = (): void => this.#arrive({ from, member }, carried);
    scheduler.after(atMs - scheduler.nowMs, arrive);
    if (random.float() < state.double)
      scheduler.after(atMs - scheduler.nowMs + random.float() * state.delayMs * 20, arrive);
  }

  #arrive({ from, member }: { readonly from: Endpoint; readonly member: Member }, batch: readonly Message[]): void {
    const to = this.#endpoints.get(member.addr);
    if (
      to?.process.isAlive !== true ||
      to.raftId !== member.raftId ||
      this.isCut({ from: from.addr, to: member.addr })
    ) {
      this.#unreachable({ from, to: member.raftId });
      return;
    }
    to.process.run(() => {
      if (to.receiver.isRemoved(from.raftId)) {
        this.#later(from.process, () => from.receiver.removed());
        return;
      }
      if (!to.heard.has(from.raftId))
        to.receiver.introduced({ raftId: from.raftId, nodeId: from.name, addr: from.addr });
      to.heard.set(from.raftId, to.process.clock.monotonicMs());
      to.receiver.receive(batch);
    });
  }

  async #sendSnapshot(
    sending: { readonly from: Endpoint; readonly member: Member; readonly snapshot: OutgoingSnapshot },
    signal: AbortSignal,
  ): Promise<boolean> {
    const { from, member, snapshot } = sending;
    const { random, state, trace } = this.#options;
    const isUp = (to: Endpoint | undefined): to is Endpoint =>
      !signal.aborted &&
      this.#isJoined(from, member) &&
      to?.process.isAlive === true &&
      to.raftId === member.raftId &&
      this.#endpoints.get(member.addr) === to;
    const to = this.#endpoints.get(member.addr);
    await this.#wait(from.process, state.delayMs);
    if (!isUp(to) || to.receiver.isRemoved(from.raftId)) return false;
    const dies = random.float() < state.lose;
    const chunks = async function* (this: Network): AsyncGenerator<Uint8Array, void, undefined> {
      for await (const chunk of untilDeath(snapshot.chunks, from.process)) {
        await this.#wait(to.process, state.delayMs * 2 * random.float());
        if (!isUp(to) || (dies && random.float() < 0.5))
          throw new SwarmError("Unavailable", "the connection broke in the middle of a snapshot");
        yield chunk;
      }
    }.call(this);
    // The receiver is told in its own words, and late.
    const abort = new AbortController();
    const gaveUp = new SwarmError("Cancelled", "the sender gave up");
    signal.addEventListener("abort", () => this.#later(to.process, () => abort.abort(gaveUp)), { once: true });
    const { message, membership } = snapshot;
    const taken = to.receiver.receiveSnapshot({ message, membership, chunks }, abort.signal).then(() => true);
    const broken = aborted(to.process.death).then(() => false);
    try {
      if (!(await Promise.race([taken, broken]))) {
        await this.#wait(from.process, state.delayMs);
        return false;
      }
    } catch (error) {
      if (!(error instanceof SwarmError)) throw error;
      trace(`snapshot ${message.snapshot?.index ?? 0} for ${member.addr} was not taken: ${errorText(error)}`);
      return false;
    }
    await this.#wait(from.process, state.delayMs);
    // The receiver may have it and the sender not know.
    return isUp(to) && !dies;
  }

  #isJoined(from: Endpoint, member: Member): boolean {
    return !this.isCut({ from: from.addr, to: member.addr }) && !this.isCut({ from: member.addr, to: from.addr });
  }

  #unreachable({ from, to }: { readonly from: Endpoint; readonly to: RaftId }): void {
    this.#later(from.process, () => from.receiver.unreachable(to));
  }

  #later(process: SimProcess, action: () => void): void {
    this.#options.scheduler.after(this.#options.state.delayMs, () => process.run(action));
  }

  #wait(process: SimProcess, ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.scheduler.after(ms, () => process.run(resolve));
    });
  }
}

/** What a process sends until it dies: then its connections end, though what it waited for never comes. */
async function* untilDeath(
  chunks: AsyncIterable<Uint8Array>,
  process: SimProcess,
): AsyncGenerator<Uint8Array, void, undefined> {
  const death = aborted(process.death).then(() => undefined);
  const iterator = chunks[Symbol.asyncIterator]();
  for (;;) {
    const next = await Promise.race([iterator.next(), death]);
    if (next === undefined) throw new SwarmError("Unavailable", "the connection broke: its other end died");
    if (next.done === true) return;
    yield next.value;
  }
}

/** What comes out at the other end: read back from bytes, as gRPC would hand it over. */
function overTheWire(message: Message): Message {
  const wire = defined(messageToWire(message), "a message for peers");
  const arrived = messageFromWire(RaftMessage.decode(RaftMessage.encode(wire).finish()));
  return defined(arrived, "a message that makes sense").message;
}
