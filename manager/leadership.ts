// Where the leader is: here, at another manager, or nowhere at the moment. Callers wait a bounded time for one to appear, so that
// what they do spans a failover. It answers nothing itself.

import { abortable, childOf, type ChildAbort } from "../proto/base/abort.ts";
import type { Clock } from "../proto/base/clock.ts";
import { SwarmError } from "../proto/base/errors.ts";
import type { GroupLog } from "./group-log.ts";
import type { Leading } from "./leading.ts";
import { noLeader } from "./no-leader.ts";
import type { Member } from "./replication/membership.ts";
import type { Store } from "./store/store.ts";

export type Where =
  | { readonly kind: "here"; readonly leading: Leading }
  | { readonly kind: "there"; readonly member: Member }
  | { readonly kind: "nowhere" };

export type Found = Exclude<Where, { readonly kind: "nowhere" }>;

/** Longest a call waits for a leader: an election takes one to two seconds after the last heartbeat. */
const PATIENCE_MS = 3_000;
/** Between two tries while nothing is heard. */
const PAUSE_MS = 50;

export class Leadership {
  readonly #options: { readonly log: GroupLog; readonly store: Store; readonly clock: Clock };
  readonly #waiting = new Set<() => void>();
  #leading: Leading | undefined;

  constructor(options: { readonly log: GroupLog; readonly store: Store; readonly clock: Clock }) {
    this.#options = options;
    options.log.subscribe(() => this.#tell());
  }

  /** What this manager does as the leader; undefined while it is not. */
  get leading(): Leading | undefined {
    return this.#leading;
  }

  set leading(leading: Leading | undefined) {
    this.#leading = leading;
    this.#tell();
  }

  where(): Where {
    if (this.#leading !== undefined) return { kind: "here", leading: this.#leading };
    const { log } = this.#options;
    const { leader } = log.status();
    if (leader === undefined || leader.raftId === log.self.raftId) return { kind: "nowhere" };
    return { kind: "there", member: leader };
  }

  /** A call's patience, which begins to run out at the first failure. */
  patience(): Patience {
    return new Patience(this, this.#options.clock);
  }

  /** Why there is nobody to ask. */
  problem(): SwarmError {
    const { log, store } = this.#options;
    const nodes = store.view().nodes;
    return noLeader(log.members(), (nodeId) => {
      const node = nodes.get(nodeId);
      return node === undefined ? nodeId : node.description.hostname || node.spec.name || nodeId;
    });
  }

  /** A signal that aborts with `parent`, and `graceMs` after the leader is another one. */
  whileLeads(member: Member, options: { readonly parent: AbortSignal; readonly graceMs: number }): ChildAbort {
    const child = childOf(options.parent);
    let cancel: (() => void) | undefined;
    const look = (): void => {
      const where = this.where();
      const leads = where.kind === "there" && where.member.raftId === member.raftId;
      if (leads) {
        cancel?.();
        cancel = undefined;
        return;
      }
      const end = (): void => child.abort(new SwarmError("Unavailable", "the manager that was asked no longer leads"));
      if (options.graceMs === 0) end();
      else cancel ??= this.#options.clock.after(options.graceMs, end);
    };
    this.#waiting.add(look);
    look();
    return {
      signal: child.signal,
      abort: (reason) => child.abort(reason),
      release: () => {
        this.#waiting.delete(look);
        cancel?.();
        child.release();
      },
    };
  }

  /** Settles at the next change, or after `ms`. Rejects with the signal's reason. */
  async change(ms: number, signal: AbortSignal): Promise<void> {
    const changed = Promise.withResolvers<unknown>();
    const wake = (): void => changed.resolve(undefined);
    const cancel = this.#options.clock.after(ms, wake);
    this.#waiting.add(wake);
    try {
      await abortable(changed.promise, signal);
    } finally {
      cancel();
      this.#waiting.delete(wake);
    }
  }

  #tell(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

/** How much longer one call waits for a leader that takes it. */
export class Patience {
  readonly #leadership: Leadership;
  readonly #clock: Clock;
  #untilMs: number | undefined;

  constructor(leadership: Leadership, clock: Clock) {
    this.#leadership = leadership;
    this.#clock = clock;
  }

  /** A leader as soon as there is one. Throws Unavailable with who can be reached when none appears in time. */
  async find(signal: AbortSignal): Promise<Found> {
    for (;;) {
      const where = this.#leadership.where();
      if (where.kind !== "nowhere") return where;
      const leftMs = this.#leftMs();
      if (leftMs <= 0) throw this.#leadership.problem();
      await this.#leadership.change(leftMs, signal);
    }
  }

  /** After a failure that a second try may mend: waits a moment. Throws the failure when it has been long enough. */
  async afterFailure(error: unknown, signal: AbortSignal): Promise<void> {
    const leftMs = this.#leftMs();
    if (leftMs <= 0) throw error;
    await this.#leadership.change(Math.min(PAUSE_MS, leftMs), signal);
  }

  #leftMs(): number {
    this.#untilMs ??= this.#clock.monotonicMs() + PATIENCE_MS;
    return this.#untilMs - this.#clock.monotonicMs();
  }
}
