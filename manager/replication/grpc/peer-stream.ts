// The stream to one peer: opened again and again until it is closed, with a hello first and a frame at least every second. A peer that
// acknowledges nothing for a while is given up and dialled anew: a connection that was cut may take much longer to notice.

import type { Message } from "raft-ts";
import { type ChildAbort, childOf } from "../../../proto/base/abort.ts";
import { Backoff } from "../../../proto/base/backoff.ts";
import type { Clock } from "../../../proto/base/clock.ts";
import { SwarmError, errorText, isSwarmError } from "../../../proto/base/errors.ts";
import type { Logger } from "../../../proto/base/log.ts";
import { Notice } from "../../../proto/base/notice.ts";
import type { Random } from "../../../proto/base/random.ts";
import { type RaftFrame, RaftService } from "../../../proto/gen/raft.ts";
import { createClient } from "../../../proto/rpc/call.ts";
import type { RpcChannel } from "../../../proto/rpc/channel.ts";
import type { Member } from "../membership.ts";
import { Outbox } from "./outbox.ts";
import { messageToWire } from "./raft-wire.ts";

/** Said to a member that was removed; the dialer knows it by these words. */
export const REMOVED = "this manager was removed from the cluster's managers";

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 2_000;
/** Longest silence of ours on an open stream. */
const IDLE_FRAME_MS = 1_000;
/** How long a frame waits that would only say how far the leader has committed. */
const BARE_MS = 20;
/** Longest wait for the peer's next acknowledgement. */
const SILENCE_MS_MAX = 4_000;

export interface PeerStreamOptions {
  readonly peer: Member;
  readonly self: Member & { readonly clusterId: string };
  readonly dial: (addr: string) => RpcChannel;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Messages to the peer were lost. */
  readonly onLost: () => void;
  /** The peer says that this member was removed. */
  readonly onRemoved: () => void;
}

export class PeerStream {
  readonly peer: Member;
  readonly #options: PeerStreamOptions;
  readonly #outbox: Outbox = new Outbox();
  readonly #news: Notice = new Notice();
  readonly #closing: AbortController = new AbortController();
  #exchange: ChildAbort | undefined;
  #isOpen = false;
  #isTold = false;

  constructor(options: PeerStreamOptions) {
    this.#options = options;
    this.peer = options.peer;
    void this.#run();
  }

  /** False: it was dropped. */
  send(message: Message): boolean {
    if (!this.#isOpen || !this.#outbox.add(message)) return false;
    this.#news.raise();
    return true;
  }

  /** Opens the stream anew. */
  reconnect(): void {
    this.#exchange?.abort(new SwarmError("Cancelled", "the stream is opened anew"));
  }

  close(): void {
    this.#closing.abort(new SwarmError("Cancelled", "the peer is none any more"));
  }

  async #run(): Promise<void> {
    const { clock, logger, random } = this.#options;
    const backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const [ended] = await Promise.allSettled([this.#open(signal, () => backoff.reset())]);
      this.#isOpen = false;
      this.#outbox.clear();
      const error: unknown = ended.status === "rejected" ? ended.reason : undefined;
      if (error === signal.reason) return;
      this.#options.onLost();
      if (isSwarmError(error, "PermissionDenied") && error.message === REMOVED) this.#options.onRemoved();
      if (!this.#isTold) logger.warn("no connection to a manager", { peer: this.peer.addr, error: errorText(error) });
      this.#isTold = true;
      await Promise.allSettled([clock.sleep(backoff.nextMs(), signal)]);
    }
  }

  async #open(signal: AbortSignal, onOpen: () => void): Promise<void> {
    const { clock, dial, logger } = this.#options;
    const exchange = childOf(signal);
    this.#exchange = exchange;
    let channel: RpcChannel | undefined;
    let disarm = (): void => undefined;
    const expectAck = (): void => {
      disarm();
      const silent = new SwarmError(
        "Unavailable",
        `${this.peer.addr} has not answered for ${SILENCE_MS_MAX / 1_000} s`,
      );
      disarm = clock.after(SILENCE_MS_MAX, () => exchange.abort(silent));
    };
    try {
      channel = dial(this.peer.addr);
      expectAck();
      const acks = createClient(RaftService, channel).messages(this.#frames(exchange.signal), {
        signal: exchange.signal,
      });
      for await (const _ of acks) {
        expectAck();
        if (this.#isOpen) continue;
        this.#isOpen = true;
        if (this.#isTold) logger.info("connected to a manager", { peer: this.peer.addr });
        this.#isTold = false;
        onOpen();
      }
      throw new SwarmError("Unavailable", `${this.peer.addr} ended the stream`);
    } catch (error) {
      throw exchange.signal.aborted ? exchange.signal.reason : error;
    } finally {
      disarm();
      exchange.abort();
      exchange.release();
      channel?.close();
    }
  }

  async *#frames(signal: AbortSignal): AsyncGenerator<RaftFrame, void, undefined> {
    const { raftId, addr, clusterId } = this.#options.self;
    yield { part: { $case: "hello", value: { raftId, addr, clusterId, to: this.peer.raftId } } };
    for (;;) {
      if (this.#outbox.isEmpty) await this.#untilNews(IDLE_FRAME_MS, signal);
      if (this.#outbox.canWait) await this.#untilNews(BARE_MS, signal);
      const messages = this.#outbox.take().flatMap((each) => messageToWire(each) ?? []);
      yield { part: { $case: "messages", value: { messages } } };
    }
  }

  /** Settles at the next message, at the latest after so long. */
  async #untilNews(ms: number, signal: AbortSignal): Promise<void> {
    const cancel = this.#options.clock.after(ms, () => this.#news.raise());
    try {
      await this.#news.wait(signal);
    } finally {
      cancel();
    }
  }
}
