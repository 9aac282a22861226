// The agent of one node: runs the tasks it knows, with or without managers, and keeps a session with one of them. What a task
// is made of is the executor's; how a manager is dialled is handed in.

import { join } from "node:path";
import { AssertionError } from "../proto/base/assert.ts";
import { childOf } from "../proto/base/abort.ts";
import { Backoff } from "../proto/base/backoff.ts";
import type { Clock } from "../proto/base/clock.ts";
import { errorText } from "../proto/base/errors.ts";
import { Group } from "../proto/base/group.ts";
import type { Logger } from "../proto/base/log.ts";
import { Notice } from "../proto/base/notice.ts";
import type { Random } from "../proto/base/random.ts";
import type { DispatcherService, SessionMessage } from "../proto/gen/dispatcher.ts";
import type { StreamFrame, StreamOpen } from "../proto/gen/streams.ts";
import { DEFAULTS } from "../proto/model/defaults.ts";
import { type WholeNode, type WholeTask, wholeNode } from "../proto/model/objects.ts";
import type { Client } from "../proto/rpc/methods.ts";
import type { Executor } from "./exec/executor.ts";
import { Journal } from "./journal.ts";
import { Managers } from "./managers.ts";
import { Reporter } from "./reporter.ts";
import { type Redirect, runSession } from "./session.ts";
import { Streams } from "./streams.ts";
import { Worker, type WorkerCounts } from "./worker.ts";

/** SwarmKit's figures for sessions that fail. */
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 8_000;
/** A session that held this long was a good one: the next failure starts from the shortest delay. */
const GOOD_SESSION_MS = 10_000;
/** Managers that send the agent on to each other are not followed further than this without a pause. */
const REDIRECTS_MAX = 3;
/** How long managers miss a node grows with the beats they ask for, and so does the longest pause: this many beats. */
const PAUSE_PACES = 1.5;

/** A connection to one manager. */
export interface ManagerLink {
  readonly client: Client<typeof DispatcherService>;
  close(): void;
}

export interface AgentOptions {
  /** `<state>/agent`: journal and list of managers. */
  readonly dir: string;
  /** host:port of managers to try when no list is on disk. */
  readonly managers: readonly string[];
  /** Opens a connection with this node's certificate. Called anew for each session, so that a renewed one is used. */
  readonly dial: (address: string) => ManagerLink;
  readonly executor: Executor;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** This node's own object, whenever a manager sends it (role, availability). */
  readonly onNode?: (node: WholeNode) => void;
}

export type Connection =
  | { readonly kind: "connected"; readonly manager: string }
  /** `error`: why the last try failed; empty before the first one has. */
  | { readonly kind: "connecting"; readonly error: string };

export class Agent {
  readonly #options: AgentOptions;
  readonly #managers: Managers;
  readonly #reporter: Reporter;
  readonly #worker: Worker;
  readonly #leaving = new AbortController();
  /** Raised when a pause is to end. */
  readonly #wake = new Notice();
  #connection: Connection = { kind: "connecting", error: "" };
  #node: WholeNode | undefined;
  /** host:port of the manager to dial next. */
  #next: string | undefined;
  /** Between two beats, as a manager last asked for them. */
  #paceMs: number = DEFAULTS.heartbeatPeriodMs;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { clock, executor, logger, random } = options;
    this.#managers = new Managers({ path: join(options.dir, "managers.json"), random, logger });
    this.#reporter = new Reporter({ clock });
    const journal = new Journal({ dir: join(options.dir, "journal"), logger });
    this.#worker = new Worker({ executor, journal, reporter: this.#reporter, clock, random, logger });
  }

  get connection(): Connection {
    return this.#connection;
  }

  /** As a manager last sent it; undefined before the first session. */
  get node(): WholeNode | undefined {
    return this.#node;
  }

  /** host:port each. */
  get managers(): readonly string[] {
    return this.#managers.addresses;
  }

  counts(): WorkerCounts {
    return this.#worker.counts();
  }

  tasks(): readonly WholeTask[] {
    return this.#worker.tasks();
  }

  /** Serves a stream of a task of this node to somebody on this node. */
  stream(open: StreamOpen, input: AsyncIterable<StreamFrame>, signal: AbortSignal): AsyncIterable<StreamFrame> {
    return this.#worker.stream(open, input, signal);
  }

  /** Runs until `signal` aborts; containers run on after that. Rejects for failed assertions and when the journal cannot be read. */
  async run(signal: AbortSignal): Promise<void> {
    const group = new Group(signal);
    await this.#managers.load(this.#options.managers);
    await this.#worker.start(group.signal);
    group.spawn(() => this.#worker.join());
    group.spawn((stop) => this.#connect(stop));
    await group.join();
  }

  /** There is a manager at host:port now: where no session stands, it is dialled at once. */
  dialNext(address: string): void {
    if (this.#connection.kind === "connected") return;
    this.#next = address;
    this.#wake.raise();
  }

  /** Ends the sessions, then stops and removes every task. For a node that leaves its cluster; `run` goes on idle. */
  async leave(signal: AbortSignal): Promise<void> {
    this.#leaving.abort();
    await this.#worker.removeAll(signal);
  }

  async #connect(signal: AbortSignal): Promise<void> {
    const { clock, logger, random } = this.#options;
    const backoff = new Backoff({ firstMs: BACKOFF_FIRST_MS, maxMs: BACKOFF_MAX_MS, random });
    const child = childOf(signal);
    this.#leaving.signal.addEventListener("abort", () => child.abort(), { once: true });
    if (this.#leaving.signal.aborted) child.abort();
    const stopped = (): boolean => child.signal.aborted;
    let redirects = 0;
    let failures = 0;
    while (!stopped()) {
      const startedMs = clock.monotonicMs();
      const address = this.#next ?? this.#managers.pick();
      this.#next = undefined;
      try {
        if (address === undefined) throw new Error("no manager is known");
        const redirect = await this.#attend(address, child.signal);
        await this.#managers.replace(redirect.managers);
        this.#next = redirect.leaderAddr;
        redirects += 1;
        if (redirects <= REDIRECTS_MAX) continue;
      } catch (error) {
        if (error instanceof AssertionError) throw error;
        if (stopped()) break;
        this.#connection = { kind: "connecting", error: errorText(error) };
        if (address !== undefined) this.#managers.failed(address);
        logger.warn("no session with a manager", { manager: address ?? "", error: errorText(error) });
      }
      const goesInCircles = redirects > REDIRECTS_MAX;
      redirects = 0;
      failures += 1;
      if (clock.monotonicMs() - startedMs >= GOOD_SESSION_MS) {
        backoff.reset();
        failures = 0;
      }
      // The other managers are tried before the pauses grow.
      const roundIsOver = goesInCircles || failures % Math.max(1, this.#managers.addresses.length) === 0;
      const pauseMs = roundIsOver ? backoff.nextMs() : BACKOFF_FIRST_MS;
      await this.#pause(Math.min(pauseMs, this.#paceMs * PAUSE_PACES), child.signal);
    }
    child.release();
    this.#connection = { kind: "connecting", error: "" };
  }

  /** Settles after `ms`, when there is an address to dial next, or when the signal aborts. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const cancel = this.#options.clock.after(ms, () => this.#wake.raise());
    try {
      await this.#wake.wait(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      cancel();
    }
  }

  /** Sessions over one connection, until one fails or the manager sends this node to the leader. */
  async #attend(address: string, signal: AbortSignal): Promise<Redirect> {
    const { clock, executor, logger } = this.#options;
    const link = this.#options.dial(address);
    const streams = new Streams({ client: link.client, worker: this.#worker, logger, signal });
    try {
      let sessionId = "";
      for (;;) {
        const end = await runSession(
          {
            client: link.client,
            sessionId,
            describe: () => executor.describe(),
            worker: this.#worker,
            reporter: this.#reporter,
            clock,
            onPace: (periodMs) => {
              this.#paceMs = periodMs;
            },
            onMessage: (message) => this.#hear(message, { address, streams }),
          },
          streams.signal,
        );
        if (end.kind === "redirect") return end;
        sessionId = end.sessionId;
      }
    } finally {
      await streams.close();
      link.close();
    }
  }

  async #hear(message: SessionMessage, from: { readonly address: string; readonly streams: Streams }): Promise<void> {
    if (this.#connection.kind !== "connected") {
      this.#options.logger.info("session with a manager", { manager: from.address });
      this.#connection = { kind: "connected", manager: from.address };
      this.#managers.worked(from.address);
    }
    if (message.node !== undefined) {
      this.#node = wholeNode(message.node);
      this.#options.onNode?.(this.#node);
    }
    await this.#managers.replace(message.managers);
    for (const request of message.streams) from.streams.open(request);
  }
}
