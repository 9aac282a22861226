// The leader's work: the passes below, run over and over until nothing is left to do, each run one transaction of the store.
// It is right though it missed every event before it began: each pass is first shown every object there is.

import type { Clock, UnixMs } from "../proto/base/clock.ts";
import { Backoff } from "../proto/base/backoff.ts";
import { errorText, isSwarmError } from "../proto/base/errors.ts";
import type { Logger } from "../proto/base/log.ts";
import { Notice } from "../proto/base/notice.ts";
import type { Random } from "../proto/base/random.ts";
import { newId } from "../proto/model/ids.ts";
import { AllocatePass } from "./allocator/allocate.ts";
import { EnforcePass } from "./orchestrator/enforce.ts";
import { GlobalPass } from "./orchestrator/global.ts";
import { JobPass } from "./orchestrator/jobs.ts";
import { ReapPass } from "./orchestrator/reap.ts";
import { ReplicatedPass } from "./orchestrator/replicated.ts";
import { RestartPass } from "./orchestrator/restart.ts";
import { SucceedPass } from "./orchestrator/succeed.ts";
import { UpdatePass } from "./orchestrator/update.ts";
import { PassRunner, everything } from "./pass-runner.ts";
import type { NewId, Pass } from "./pass.ts";
import { SchedulePass } from "./scheduler/schedule.ts";
import type { Store } from "./store/store.ts";

/** Everything the leader does, in order. `draw` gives numbers from [0, 1), for jitter; absent: none. */
export function leaderPasses(newTaskId: NewId, draw: () => number = () => 0): readonly Pass[] {
  return [
    new JobPass(newTaskId),
    new GlobalPass(newTaskId),
    new ReplicatedPass(newTaskId),
    new UpdatePass(newTaskId),
    new RestartPass(newTaskId, draw),
    new SucceedPass(),
    new EnforcePass(newTaskId),
    new AllocatePass(),
    new SchedulePass(),
    new ReapPass(),
  ];
}

export interface LeaderOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Tests and the simulator: an exception in a pass ends the leader instead of dropping that pass's changes. */
  readonly strict: boolean;
}

/** Waits after a run that the log did not take. */
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 5_000;
/** After a run that stopped before the end without a change: others get the loop. */
const PAUSE_MS = 5;
/** Objects that a new leader shows to its passes before each run: about as many as a run looks at. */
const SHOWN_AT_ONCE = 500;

export class Leader {
  readonly #options: LeaderOptions;
  readonly #wake: Notice = new Notice();

  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  /** Leads until the signal aborts. Rejects for a failed assertion outside the passes, and in strict mode for any failed pass. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, clock, logger, random, strict } = this.#options;
    const backoff = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    while (!signal.aborted) {
      // Passes that were shown changes which never came to be start anew.
      const passes = leaderPasses(
        () => newId(random),
        () => random.float(),
      );
      const runner = new PassRunner({ passes, logger, strict });
      const unsubscribe = store.subscribe((commit) => {
        runner.observe(commit.events);
        this.#wake.raise();
      });
      try {
        await this.#lead(runner, { signal, onCommit: () => backoff.reset() });
      } catch (error) {
        if (!isSwarmError(error, "Unavailable", "Internal", "ResourceExhausted")) throw error;
        logger.warn("a run of the passes was not committed; it is done again", { error: errorText(error) });
      } finally {
        unsubscribe();
      }
      await this.#wait(clock.now() + backoff.nextMs(), signal);
    }
  }

  /** Runs the passes until the signal aborts; throws when the store does not commit. */
  async #lead(
    runner: PassRunner,
    options: { readonly signal: AbortSignal; readonly onCommit: () => void },
  ): Promise<void> {
    const { store, clock } = this.#options;
    const { signal } = options;
    // What is shown late is no harm: passes keep ids and look at what is. They work off what they have before they are shown more.
    let unseen = everything(store.view());
    while (!signal.aborted) {
      runner.observe(unseen.slice(0, SHOWN_AT_ONCE));
      unseen = unseen.slice(SHOWN_AT_ONCE);
      const now = clock.now();
      const { changed, next } = await store.update((tx) => runner.run(tx, now));
      if (changed) options.onCommit();
      else if (unseen.length > 0) await this.#wait(now, signal);
      else if (next !== null && next <= now) await this.#wait(now + PAUSE_MS, signal);
      else await this.#idle(next, signal);
    }
  }

  /** Settles at the next commit, at `next`, or when the signal aborts. */
  async #idle(next: UnixMs | null, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const cancel = next === null ? undefined : clock.after(Math.max(0, next - clock.now()), () => this.#wake.raise());
    try {
      await this.#wake.wait(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      cancel?.();
    }
  }

  async #wait(until: UnixMs, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    try {
      await clock.sleep(Math.max(0, until - clock.now()), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
